// src/controller/store.h: the controller's queries. Each function runs inside its caller's transaction.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "controller/model.h"
#include "lib/sql/sql.h"

namespace workflow::controller {

// --- users and tokens
std::optional<User> find_user(sql::Tx& tx, const std::string& username);
User get_user(sql::Tx& tx, const std::string& username);                                 // throws not_found
std::vector<User> users_in_order(sql::Tx& tx, std::int64_t limit, std::int64_t offset);  // of their registration
struct Bearer {
  User user;
  TokenPower power;
};
std::optional<Bearer> bearer_of(sql::Tx& tx, const std::string& token);  // nullopt for one that has ended, too
struct NewToken {
  std::string name;
  TokenPower power;
  std::optional<std::int64_t> lives_seconds;  // nullopt: until it is removed
};
struct IssuedToken {
  std::int64_t id = 0;
  std::string text;  // the only moment at which it exists here
};
IssuedToken issue_token(sql::Tx& tx, std::int64_t user_id, const NewToken& token = {});

// --- apps
std::optional<App> find_app(sql::Tx& tx, const std::string& id);
App get_app(sql::Tx& tx, const std::string& id);  // throws not_found
std::vector<App> all_apps(sql::Tx& tx);           // by name
// A slice of what the user may use and the token covers, by name, and how many there are.
struct UsableApps {
  std::int64_t count = 0;
  std::vector<App> apps;
};
UsableApps usable_apps(sql::Tx& tx, const User& user, const TokenPower& power, std::int64_t limit, std::int64_t offset);
// Locks the app until the transaction ends: changes of one app come one after the other.
App lock_app(sql::Tx& tx, const std::string& uuid);
bool may_use(sql::Tx& tx, const User& user, const App& app);
void set_structure(sql::Tx& tx, const std::string& app_uuid, const json::object& structure,
                   const json::object& procfile);

// --- configs, builds, releases
std::string insert_config(sql::Tx& tx, const std::string& app_uuid, std::int64_t owner, const Config& config);
std::string insert_build(sql::Tx& tx, const std::string& app_uuid, std::int64_t owner, const Build& build);
void set_port(sql::Tx& tx, const std::string& build_uuid, int port);
struct NewRelease {
  std::string app_uuid;
  std::int64_t owner = 0;
  std::string config_uuid;
  std::optional<std::string> build_uuid;
  std::string summary, state;
};
Release insert_release(sql::Tx& tx, const NewRelease& release);  // numbers it
Release live_release(sql::Tx& tx, const std::string& app_uuid);  // an app always has one
std::optional<Release> find_release(sql::Tx& tx, const std::string& app_uuid, std::int64_t version);
Release get_release(sql::Tx& tx, const std::string& uuid);
// Newest first; those under way are not told.
std::vector<Release> releases_of(sql::Tx& tx, const std::string& app_uuid, std::int64_t limit, std::int64_t offset);
bool is_busy(sql::Tx& tx, const App& app);  // work on the app is under way
// Throws when it is: conflict, or what the route's clients know.
void refuse_while_busy(sql::Tx& tx, const App& app, ErrorKind kind = ErrorKind::conflict);

// --- what the cluster should have
cluster::AppSpec app_spec(sql::Tx& tx, const App& app);

// --- events: who changed what; append only, and told to every controller once the transaction is committed
void record_event(sql::Tx& tx, const std::string& username, const std::string& what,
                  const BeforeAfter& change = {});  // of accounts
void record_event(sql::Tx& tx, const std::string& username, const App& app, const std::string& what,
                  const BeforeAfter& change = {});
void tell(sql::Tx& tx, json::object message);  // to every controller's Feed, on commit

// --- JSON of the API
json::object to_json(const User& user);
json::object to_json(const App& app);
json::object to_json(const App& app, const Config& config);
json::object to_json(const App& app, const Build& build);
json::object to_json(const App& app, const Release& release);
json::value text_or_null(const std::optional<std::string>& text);

// What we stored ourselves.
json::object object_from(const std::string& text);
json::array array_from(const std::string& text);

}  // namespace workflow::controller
