"""Signing in through a directory: a real controller and a real OpenLDAP server."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

from controller_under_test import no_cluster, postgres, said, start_controller  # noqa: E402, F401
from workflow_testing import free_port, run, wait_for  # noqa: E402

CONFIG = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
pidfile {folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=example,dc=com"
rootdn "cn=searcher,dc=example,dc=com"
rootpw searching
directory {folder}/data
access to attrs=userPassword by anonymous auth by * none
access to * by * none
"""
ENTRIES = """dn: dc=example,dc=com
objectClass: dcObject
objectClass: organization
o: Example
dc: example

dn: ou=people,dc=example,dc=com
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=com
objectClass: organizationalUnit
ou: groups

dn: uid=lea,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: lea
cn: Lea Directory
givenName: Lea
sn: Directory
mail: lea@example.com
userPassword: from-the-directory

dn: uid=max,ou=people,dc=example,dc=com
objectClass: inetOrgPerson
uid: max
cn: Max
sn: Max
userPassword: max-password

dn: cn=developers,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: developers
member: uid=lea,ou=people,dc=example,dc=com

dn: cn=others,ou=groups,dc=example,dc=com
objectClass: groupOfNames
cn: others
member: uid=max,ou=people,dc=example,dc=com
"""
REFUSED = (400, {"non_field_errors": ["Unable to log in with provided credentials."]})


class Directory:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="workflow-ldap-"))
        (self.folder / "data").mkdir()
        (self.folder / "slapd.conf").write_text(CONFIG.format(folder=self.folder))
        (self.folder / "entries.ldif").write_text(ENTRIES)
        run("/usr/sbin/slapadd", "-f", self.folder / "slapd.conf", "-l", self.folder / "entries.ldif")
        self.url = f"ldap://127.0.0.1:{free_port()}"
        self.start()

    def start(self):
        self.process = subprocess.Popen(["/usr/sbin/slapd", "-h", self.url, "-f", self.folder / "slapd.conf", "-d", "0"],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for((self.folder / "pid").exists, 20, "the directory answers")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=20)

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def directory():
    if not pathlib.Path("/usr/sbin/slapd").exists():
        pytest.skip("slapd is not installed")
    directory = Directory()
    yield directory
    directory.close()


@pytest.fixture(scope="module")
def controller(start_controller, no_cluster, directory):  # noqa: F811
    return start_controller(no_cluster, LDAP_ENDPOINT=directory.url, LDAP_BIND_DN="cn=searcher,dc=example,dc=com",
                            LDAP_BIND_PASSWORD="searching", LDAP_USER_BASEDN="ou=people,dc=example,dc=com", LDAP_USER_FILTER="uid",
                            LDAP_GROUP_BASEDN="ou=groups,dc=example,dc=com", LDAP_GROUP_FILTER="objectClass=groupOfNames",
                            LOGIN_FAILURES="0")


def login(controller, username, password):
    return controller.anonymous().post("/v2/auth/login/", {"username": username, "password": password})


def test_a_user_of_the_directory_is_let_in_and_known(controller):
    controller.register("local-admin")
    user = controller.login("lea", "from-the-directory").get("/v2/auth/whoami/").json()
    assert (user["username"], user["first_name"], user["last_name"], user["email"], user["groups"], user["is_superuser"]) == (
        "lea", "Lea", "Directory", "lea@example.com", ["developers"], False)
    again = controller.login("lea", "from-the-directory").get("/v2/auth/whoami/").json()
    assert again["id"] == user["id"]


@pytest.mark.parametrize("username, password", [
    ("lea", "wrong"), ("nobody", "x"), ("*", "from-the-directory"), ("l*", "from-the-directory"), ("lea)(uid=*", "from-the-directory"),
    ("max", "from-the-directory"),
])
def test_whom_the_directory_does_not_vouch_for_stays_out(controller, username, password):
    assert said(login(controller, username, password)) == REFUSED


def test_an_empty_password_never_signs_in(controller):
    assert login(controller, "lea", "").status_code == 400


def test_local_users_keep_their_passwords(controller):
    controller.register("locally", "mine")
    assert login(controller, "locally", "mine").status_code == 200
    assert said(login(controller, "locally", "other")) == REFUSED


def test_a_user_of_the_directory_has_no_password_here(controller, directory):
    controller.login("max", "max-password")
    directory.stop()
    try:
        assert said(login(controller, "max", "max-password")) == REFUSED
        assert login(controller, "locally", "mine").status_code == 200  # a directory that is away keeps nobody else out
    finally:
        directory.start()
    wait_for(lambda: login(controller, "max", "max-password").status_code == 200, 10, "the directory is asked again")
    assert "the directory cannot be asked" in controller.output()
    assert "max-password" not in controller.output() and "searching" not in controller.output()
