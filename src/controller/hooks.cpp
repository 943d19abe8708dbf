// Endpoints of the builder (spec/controller-api.md, section 2.17).
#include "controller/api.h"
#include "controller/releases.h"
#include "controller/repeats.h"
#include "controller/rules.h"
#include "controller/store.h"

namespace workflow::controller {
namespace {

constexpr sql::Query select_key_owner{"select_key_owner",
                                      "SELECT u.username FROM keys k JOIN users u ON u.id = k.owner_id "
                                      "WHERE (k.fingerprint = $1 OR k.sha256 = $1) AND u.is_active"};
// The apps that the user may push to.
constexpr sql::Query select_pushable_apps{
    "select_pushable_apps",
    "SELECT a.id FROM apps a JOIN users u ON u.username = $1 WHERE u.is_superuser OR a.owner_id = u.id OR EXISTS "
    "(SELECT 1 FROM grants g WHERE g.app_uuid = a.uuid AND g.user_id = u.id) ORDER BY a.id"};
constexpr sql::Query select_granted_keys{"select_granted_keys",
                                         "SELECT u.username, k.public, k.fingerprint FROM grants g JOIN users u ON "
                                         "u.id = g.user_id JOIN keys k ON k.owner_id = u.id "
                                         "WHERE g.app_uuid = $1::uuid ORDER BY u.username, k.created"};
// What a release runs that can still be rolled back to, or is about to serve.
constexpr sql::Query select_needed_images{
    "select_needed_images",
    "SELECT DISTINCT b.image FROM builds b JOIN releases r ON r.build_uuid = b.uuid "
    "WHERE r.app_uuid = $1::uuid AND r.state <> 'failed' ORDER BY b.image"};
constexpr sql::Query select_user_keys{
    "select_user_keys", "SELECT public, fingerprint FROM keys WHERE owner_id = $1::bigint ORDER BY created"};

json::object key_json(const sql::Row& row) {
  return {{"key", row.text("public")}, {"fingerprint", row.text("fingerprint")}};
}

Task<http::Response> who_has_key(Parts& parts, Call& call) {
  auto read = [fingerprint = call.param("fingerprint")](sql::Tx& tx) {
    const auto owner = tx.query(select_key_owner, {fingerprint});
    if (owner.empty()) throw not_found("Key");
    const auto username = owner[0].text("username");
    json::array apps;
    const auto rows = tx.query(select_pushable_apps, {username});
    for (int i = 0; i < rows.size(); ++i) apps.push_back(json::string(rows[i].text("id")));
    return json::object{{"username", username}, {"apps", std::move(apps)}};
  };
  co_return answer(200, co_await parts.db.transact(read));
}

Task<http::Response> keys_of_app(Parts& parts, Call& call) {
  if (call.request.path.ends_with('/')) throw not_found("User");  // one whose name is empty
  auto read = [id = call.param("app")](sql::Tx& tx) {
    const auto app = get_app(tx, id);
    json::object users;
    const auto rows = tx.query(select_granted_keys, {app.uuid});
    for (int i = 0; i < rows.size(); ++i) {
      auto& keys = users[rows[i].text("username")];
      if (!keys.is_array()) keys = json::array();
      keys.get_array().push_back(key_json(rows[i]));
    }
    return users;
  };
  co_return answer(200, co_await parts.db.transact(read));
}

Task<http::Response> keys_of_user(Parts& parts, Call& call) {
  auto read = [&](sql::Tx& tx) {
    const auto app = get_app(tx, call.param("app"));
    const auto user = get_user(tx, call.param("username"));
    if (!may_use(tx, user, app)) throw forbidden();
    const auto rows = tx.query(select_user_keys, {user.id});
    if (rows.empty()) throw Error(ErrorKind::not_found, "No Keys match the given query.");
    json::array keys;
    for (int i = 0; i < rows.size(); ++i) keys.push_back(key_json(rows[i]));
    return json::object{{user.username, std::move(keys)}};
  };
  co_return answer(200, co_await parts.db.transact(read));
}

Task<http::Response> needed_images(Parts& parts, Call& call) {
  auto read = [id = call.param("app")](sql::Tx& tx) {
    json::array images;
    const auto rows = tx.query(select_needed_images, {get_app(tx, id).uuid});
    for (int i = 0; i < rows.size(); ++i) images.push_back(json::string(rows[i].text("image")));
    return json::object{{"images", std::move(images)}};
  };
  co_return answer(200, co_await parts.db.transact(read));
}

struct Pusher {
  App app;
  User user;
};
Task<Pusher> pusher_of(Parts& parts, Call& call) {
  Fields fields(call.body);
  const auto username = fields.text("receive_user", {});
  const auto repo = fields.text("receive_repo", {});
  fields.done();
  auto read = [&](sql::Tx& tx) {
    Pusher pusher{get_app(tx, *repo), get_user(tx, *username)};
    if (!pusher.user.is_active || !may_use(tx, pusher.user, pusher.app)) throw forbidden();
    return pusher;
  };
  co_return co_await parts.db.transact(read);
}

Task<http::Response> build_hook(Parts& parts, Call& call) {
  const auto pusher = co_await pusher_of(parts, call);
  call.user = pusher.user;  // on whose behalf: a builder that lost its connection to us sends the request again
  auto work = [&parts, pusher](Call& once) -> Task<http::Response> {
    const auto release = co_await deploy_build(parts, once, pusher.app, pusher.user);
    co_return answer(200, json::object{{"release", {{"version", release.version}}}});
  };
  co_return co_await done_once(parts, call, std::move(work));
}

Task<http::Response> config_hook(Parts& parts, Call& call) {
  const auto pusher = co_await pusher_of(parts, call);
  const auto live = co_await parts.db.transact([&](sql::Tx& tx) { return live_release(tx, pusher.app.uuid); });
  co_return answer(200, to_json(pusher.app, live.config));
}

}  // namespace

void add_hook_routes(Api& api) {
  auto& parts = api.parts();
  api.add("GET", "/v2/hooks/key/{fingerprint...}", Who::builder,
          {"findKey", "Who has an SSH key, and the apps that he may push to", "", {{200, "KeyOwner"}}, {404}},
          [&parts](Call& call) { return who_has_key(parts, call); });
  api.add("GET", "/v2/hooks/keys/{app}/", Who::builder,
          {"listKeysOfApp", "Keys of the app's collaborators", "", {{200, "KeysByUser"}}, {404}},
          [&parts](Call& call) { return keys_of_app(parts, call); });
  api.add("GET", "/v2/hooks/keys/{app}/{username}", Who::builder,
          {"listKeysOfUser", "Keys of one user of the app", "", {{200, "KeysByUser"}}, {404}},
          [&parts](Call& call) { return keys_of_user(parts, call); });
  api.add("GET", "/v2/hooks/images/{app}/", Who::builder,
          {"listNeededImages",
           "What the app's releases run, of those that serve, are to serve or can be rolled back to",
           "",
           {{200, "NeededImages"}},
           {404}},
          [&parts](Call& call) { return needed_images(parts, call); });
  api.add("POST", "/v2/hooks/build/", Who::builder,
          {"pushBuild", "Release and deploy what was pushed", "PushedBuild", {{200, "PushedRelease"}}, {404, 409, 422}},
          [&parts](Call& call) { return build_hook(parts, call); });
  api.add("POST", "/v2/hooks/config/", Who::builder,
          {"configForBuild", "The config that a build gets", "Push", {{200, "Config"}}, {404}},
          [&parts](Call& call) { return config_hook(parts, call); });
}

}  // namespace workflow::controller
