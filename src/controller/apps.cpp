// Endpoints of apps and their sharing (spec/controller-api.md, sections 2.4 and 2.14).
#include "controller/cluster/cluster.h"
#include "controller/jobs.h"
#include "controller/rules.h"
#include "controller/words.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr sql::Query insert_app{
    "insert_app", "INSERT INTO apps (id, owner_id) VALUES ($1, $2::bigint) ON CONFLICT (id) DO NOTHING RETURNING uuid"};
constexpr sql::Query insert_settings{"insert_first_settings",
                                     "INSERT INTO settings (app_uuid, owner_id) VALUES ($1::uuid, $2::bigint) "
                                     "RETURNING uuid"};
constexpr sql::Query insert_tls{"insert_first_tls",
                                "INSERT INTO tls (app_uuid, owner_id) VALUES ($1::uuid, $2::bigint)"};
constexpr sql::Query insert_own_domain{"insert_own_domain",
                                       "INSERT INTO domains (app_uuid, owner_id, domain) VALUES ($1::uuid, $2::bigint, "
                                       "$3) ON CONFLICT (domain) DO NOTHING"};
constexpr sql::Query select_host_holder{
    "select_host_holder",
    "SELECT a.id FROM domains d JOIN apps a ON a.uuid = d.app_uuid WHERE d.domain IN ($1, $2) LIMIT 1"};
constexpr sql::Query delete_app{"delete_app", "DELETE FROM apps WHERE uuid = $1::uuid"};
constexpr sql::Query update_owner{"update_owner",
                                  "UPDATE apps SET owner_id = $2::bigint, updated = now() WHERE uuid = $1::uuid"};
// What the old owner made goes along; what others made stays theirs.
constexpr sql::Query hand_over[] = {
    {"hand_over_settings",
     "UPDATE settings SET owner_id = $3::bigint WHERE app_uuid = $1::uuid AND owner_id = $2::bigint"},
    {"hand_over_tls", "UPDATE tls SET owner_id = $3::bigint WHERE app_uuid = $1::uuid AND owner_id = $2::bigint"},
    {"hand_over_configs",
     "UPDATE configs SET owner_id = $3::bigint WHERE app_uuid = $1::uuid AND owner_id = $2::bigint"},
    {"hand_over_builds", "UPDATE builds SET owner_id = $3::bigint WHERE app_uuid = $1::uuid AND owner_id = $2::bigint"},
    {"hand_over_releases",
     "UPDATE releases SET owner_id = $3::bigint WHERE app_uuid = $1::uuid AND owner_id = $2::bigint"},
    {"hand_over_domains",
     "UPDATE domains SET owner_id = $3::bigint WHERE app_uuid = $1::uuid AND owner_id = $2::bigint"},
    {"hand_over_services",
     "UPDATE services SET owner_id = $3::bigint WHERE app_uuid = $1::uuid AND owner_id = $2::bigint"},
};
constexpr sql::Query select_grants{
    "select_grants",
    "SELECT u.username FROM grants g JOIN users u ON u.id = g.user_id WHERE g.app_uuid = $1::uuid ORDER BY u.id"};
constexpr sql::Query insert_grant{
    "insert_grant", "INSERT INTO grants (app_uuid, user_id) VALUES ($1::uuid, $2::bigint) ON CONFLICT DO NOTHING"};
constexpr sql::Query delete_grant{"delete_grant",
                                  "DELETE FROM grants WHERE app_uuid = $1::uuid AND user_id = $2::bigint"};

Task<http::Response> list_apps(Parts& parts, Call& call) {
  const auto page = Page::of(call.request);
  auto read = [&](sql::Tx& tx) { return usable_apps(tx, call.caller(), call.power, page.limit, page.offset); };
  const auto found = co_await parts.db.transact(read);
  json::array apps;
  for (const auto& app : found.apps) apps.push_back(to_json(app));
  co_return page_answer(call.request, page, found.count, std::move(apps));
}

// An app is reached at its own name, or is not made: somebody got the host when that was possible still.
void check_host_is_free(sql::Tx& tx, const std::string& id, const std::string& platform_domain) {
  const auto host = host_of_domain(id, platform_domain);
  const auto holder = tx.query(select_host_holder, {id, host});
  if (holder.empty()) return;
  throw Error(Error::Fields{{"id", {"The domain " + host + " is already in use by another app. Choose another name"}}});
}

// The app with all that belongs to it from the start, or nothing.
App insert_whole_app(sql::Tx& tx, const std::string& id, const User& owner, const Settings& settings) {
  const auto rows = tx.query(insert_app, {id, owner.id});
  if (rows.empty()) throw Error(Error::Fields{{"id", {"Application with this id already exists."}}});
  const auto uuid = rows[0].text("uuid");
  check_host_is_free(tx, id, settings.platform_domain);
  Config config;
  config.tags = settings.default_tags;
  NewRelease release{.app_uuid = uuid, .owner = owner.id, .config_uuid = insert_config(tx, uuid, owner.id, config)};
  release.summary = owner.username + " created initial release";
  release.state = "live";
  insert_release(tx, release);
  const auto settings_uuid = tx.query(insert_settings, {uuid, owner.id})[0].text("uuid");
  tx.execute(insert_tls, {uuid, owner.id});
  tx.execute(insert_own_domain, {uuid, owner.id, id});
  auto app = get_app(tx, id);
  record_event(tx, owner.username, app, "config " + id + "-" + release.config_uuid.substr(0, 7) + " updated");
  record_event(tx, owner.username, app, release.summary, {{}, {{"owner", owner.username}, {"release", 1}}});
  record_event(tx, owner.username, app, "appsettings " + id + "-" + settings_uuid.substr(0, 7) + " updated");
  record_event(tx, owner.username, app, "domain " + id + " added", {{}, {{"domain", id}}});
  return app;
}

Task<std::string> free_name(Parts& parts) {
  for (;;) {
    const auto name = random_app_name();
    const auto host = host_of_domain(name, parts.settings.platform_domain);
    const auto taken = co_await parts.db.transact([&](sql::Tx& tx) {
      return find_app(tx, name).has_value() || !tx.query(select_host_holder, {name, host}).empty();
    });
    if (taken || parts.settings.reserved_names.contains(name)) continue;
    auto existing = cluster::namespace_exists(parts.kube, *AppName::parse(name));
    if (!co_await on_platform("", std::move(existing))) co_return name;
  }
}

Task<http::Response> create_app(Parts& parts, Call& call) {
  Fields fields(call.body);
  std::string id;
  if (fields.has("id") && !fields.is_null("id")) {
    const auto text = fields.text("id", {});
    if (text) {
      for (auto& problem : app_name_problems(*text, parts.settings.reserved_names))
        fields.problem("id", std::move(problem));
      id = *text;
    }
    fields.done();
    const auto taken = co_await parts.db.transact([&](sql::Tx& tx) { return find_app(tx, id).has_value(); });
    if (taken) throw Error(Error::Fields{{"id", {"Application with this id already exists."}}});
    auto existing = cluster::namespace_exists(parts.kube, *AppName::parse(id));
    if (co_await on_platform("", std::move(existing))) {
      throw Error(ErrorKind::conflict, id + " already exists as a namespace in this kuberenetes setup");
    }
  } else {
    id = co_await free_name(parts);
  }
  auto insert = [&](sql::Tx& tx) { return insert_whole_app(tx, id, call.caller(), parts.settings); };
  const auto app = co_await parts.db.transact(insert);
  std::exception_ptr failure;
  try {
    co_await parts.jobs.apply_app(app.uuid);
  } catch (const Error&) {
    failure = std::current_exception();
  }
  if (failure) {
    // Nothing half-done: the name is free again.
    co_await parts.db.transact([&](sql::Tx& tx) { tx.execute(delete_app, {app.uuid}); });
    throw Error(ErrorKind::unavailable, "Kubernetes resources could not be created").with_detail(describe(failure));
  }
  parts.jobs.announce(app, co_await parts.db.transact([&](sql::Tx& tx) { return live_release(tx, app.uuid); }));
  co_return answer(201, to_json(app));
}

Task<http::Response> update_app(Parts& parts, AppCall& call) {
  const auto owner = find_string(call.body, {"owner"});
  if (owner) {
    if (!owns(call.caller(), call.app)) throw forbidden();
    auto transfer = [&](sql::Tx& tx) {
      const auto user = get_user(tx, *owner);
      const auto app = lock_app(tx, call.app.uuid);
      for (const auto& query : hand_over) tx.execute(query, {app.uuid, app.owner_id, user.id});
      tx.execute(update_owner, {app.uuid, user.id});
      record_event(tx, call.caller().username, app, "owner changed to " + user.username,
                   {{{"owner", app.owner}}, {{"owner", user.username}}});
    };
    co_await parts.db.transact(transfer);
  } else {
    auto applying = parts.jobs.bring_into_effect(call.app);
    call.late = co_await on_platform("Kubernetes resources could not be created: ", std::move(applying));
  }
  co_return nothing(200);
}

Task<http::Response> destroy_app(Parts& parts, AppCall& call) {
  co_await parts.jobs.abandon(call.app.uuid);
  auto destroying = cluster::destroy_app(parts.kube, call.app.name());
  co_await on_platform("Could not delete Kubernetes Namespace " + call.app.id + ": ", std::move(destroying));
  auto remove = [&](sql::Tx& tx) {
    tx.execute(delete_app, {call.app.uuid});
    record_event(tx, call.caller().username, call.app, "destroyed");
  };
  co_await parts.db.transact(remove);
  // A change that was under way may have made the namespace again; one that comes later removes it itself.
  if (co_await cluster::namespace_exists(parts.kube, call.app.name()))
    co_await cluster::destroy_app(parts.kube, call.app.name());
  co_return nothing();
}

Task<http::Response> list_grants(Parts& parts, AppCall& call) {
  json::array users;
  co_await parts.db.transact([&](sql::Tx& tx) {
    users.clear();
    const auto rows = tx.query(select_grants, {call.app.uuid});
    for (int i = 0; i < rows.size(); ++i) users.push_back(json::string(rows[i].text("username")));
  });
  co_return answer(200, json::object{{"users", std::move(users)}});
}

Task<http::Response> add_grant(Parts& parts, AppCall& call) {
  Fields fields(call.body);
  const auto username = fields.text("username", {});
  fields.done();
  auto grant = [&](sql::Tx& tx) {
    lock_app(tx, call.app.uuid);
    tx.execute(insert_grant, {call.app.uuid, get_user(tx, *username).id});
    record_event(tx, call.caller().username, call.app, "User " + *username + " was granted access to " + call.app.id);
  };
  co_await parts.db.transact(grant);
  co_return nothing(201);
}

// Its own permission rule: the owner, an administrator, or the user who leaves.
Task<http::Response> remove_grant(Parts& parts, Call& call) {
  const auto username = call.param("username");
  auto revoke = [&](sql::Tx& tx) {
    const auto app = get_app(tx, call.param("app"));
    const auto user = get_user(tx, username);
    if (!owns(call.caller(), app) && user.id != call.caller().id) throw forbidden();
    if (tx.execute(delete_grant, {app.uuid, user.id}) == 0) {
      if (user.is_superuser) return;
      throw forbidden();
    }
    record_event(tx, call.caller().username, app, "User " + username + " was revoked access to " + app.id);
  };
  co_await parts.db.transact(revoke);
  co_return nothing();
}

}  // namespace

void add_app_routes(Api& api) {
  auto& parts = api.parts();
  api.add("GET", "/v2/apps/", Who::user,
          {.id = "listApps",
           .summary = "Apps that the caller may use, by name",
           .answers = {{200, "App[]"}},
           .for_any_token = true},
          [&parts](Call& call) { return list_apps(parts, call); });
  api.add("POST", "/v2/apps/", Who::user,
          {"createApp", "Create an app; a name is made up when none is given", "AppRequest", {{201, "App"}}, {409}},
          [&parts](Call& call) { return create_app(parts, call); });
  api.add_app("GET", "/", Access::use, {"getApp", "One app", "", {{200, "App"}}},
              [](AppCall& call) -> Task<http::Response> { co_return answer(200, to_json(call.app)); });
  api.add_app("POST", "/", Access::use, {"transferApp", "Give the app to another owner", "Transfer", {{200, ""}}},
              [&parts](AppCall& call) { return update_app(parts, call); });
  api.add_app("DELETE", "/", Access::own, {"destroyApp", "Destroy the app and all that belongs to it", "", {{204, ""}}},
              [&parts](AppCall& call) { return destroy_app(parts, call); });
  api.add_app("GET", "/perms/", Access::use,
              {"listCollaborators", "Who may use the app beside its owner", "", {{200, "Users"}}},
              [&parts](AppCall& call) { return list_grants(parts, call); });
  api.add_app("POST", "/perms/", Access::own,
              {"addCollaborator", "Let another user use the app", "UserName", {{201, ""}}},
              [&parts](AppCall& call) { return add_grant(parts, call); });
  api.add("DELETE", "/v2/apps/{app}/perms/{username}/", Who::user,
          {"removeCollaborator", "Take a user's access away", "", {{204, ""}}, {404}},
          [&parts](Call& call) { return remove_grant(parts, call); });
}

}  // namespace workflow::controller
