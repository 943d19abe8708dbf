"""Lists: what a page costs does not grow with what is on it."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import (  # noqa: E402, F401
    admin, alice, app, cluster, controller, postgres, start_controller)

# One of each of what lists show, for app $1 (by name) and user alice; %n makes names differ.
FILL = """
insert into apps (id, owner_id) select 'more-%n', id from users where username = 'alice';
insert into users (username, password, email, is_superuser) values ('user-%n', '!', '', true);
insert into keys (owner_id, id, public, fingerprint, sha256) select id, 'k-%n', 'p-%n', 'f-%n', 's-%n' from users where username = 'alice';
insert into tokens (hash, user_id, name) select 'h-%n', id, 't-%n' from users where username = 'alice';
insert into certificates (owner_id, name, certificate, key, fingerprint, starts, expires, issuer, subject)
  select id, 'c-%n', '', '', '', now(), now(), '', '' from users where username = 'alice';
insert into domains (app_uuid, owner_id, domain, certificate_id)
  select a.uuid, a.owner_id, 'd-%n.example.com', c.id from apps a, certificates c where a.id = '%app' and c.name = 'c-%n';
insert into services (app_uuid, owner_id, procfile_type, path_pattern) select uuid, owner_id, 'w%n', '/' from apps where id = '%app';
insert into grants (app_uuid, user_id) select a.uuid, u.id from apps a, users u where a.id = '%app' and u.username = 'user-%n';
insert into builds (app_uuid, owner_id, image) select uuid, owner_id, 'i' from apps where id = '%app';
insert into releases (app_uuid, owner_id, version, config_uuid, summary, state)
  select a.uuid, a.owner_id, 100 + %n, r.config_uuid, '', 'live' from apps a join releases r on r.app_uuid = a.uuid and r.version = 1 where a.id = '%app';
insert into jobs (app_uuid, kind, release_uuid, structure, state, lease_holder, lease_until)
  select r.app_uuid, 'deploy', r.uuid, '{}', 'done', '', now() from releases r join apps a on a.uuid = r.app_uuid where a.id = '%app' and r.version = 100 + %n;
insert into events (username, app, app_uuid, what) select 'alice', id, uuid, 'x' from apps where id = '%app';
"""
LISTS = ["/v2/apps/", "/v2/users/", "/v2/admin/perms/", "/v2/events/", "/v2/keys/", "/v2/tokens/", "/v2/certs/"]
OF_APP = ["builds", "releases", "domains", "services", "perms", "events", "jobs"]
BESIDE = ("UPDATE jobs", "UPDATE requests")  # leases are renewed meanwhile


@pytest.fixture
def costs(controller, postgres, admin, alice, app):  # noqa: F811
    """costs(): how many statements each list is now."""
    def measure():
        found = {}
        for path in [*LISTS, *(f"/v2/apps/{app}/{name}/" for name in OF_APP)]:
            user = admin if path in ("/v2/users/", "/v2/admin/perms/", "/v2/events/") else alice
            answers = []
            connections = postgres.statements(controller.database, lambda: answers.append(user.get(path)))  # noqa: B023
            assert answers[0].status_code == 200, answers[0].text
            transactions = []
            for statements in connections:
                current = []
                for statement in statements:
                    current.append(statement)
                    if statement == "COMMIT":
                        transactions.append(current)
                        current = []
            kept = [s for t in transactions if not any(s.startswith(BESIDE) for s in t) for s in t]
            shown = answers[0].json()
            found[path] = len(kept), len(shown.get("results", shown.get("services", shown.get("users"))))
        return found
    return measure


def test_a_page_of_many_costs_as_many_statements_as_one_of_few(costs, controller, app):  # noqa: F811
    controller.sql(FILL.replace("%n", "0").replace("%app", app))
    before = costs()
    for n in range(1, 10):
        controller.sql(FILL.replace("%n", str(n)).replace("%app", app))
    after = costs()
    for path, (statements, rows) in after.items():
        assert rows >= before[path][1] + 9, path
        # One may come from what the controller does beside; a query for each row would be nine.
        assert abs(statements - before[path][0]) <= 1, (path, before[path], after[path])
        assert statements <= 8, (path, statements)
