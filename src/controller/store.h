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
User get_user(sql::Tx& tx, const std::string& username);  // throws not_found
std::optional<User> user_of_token(sql::Tx& tx, const std::string& token);
std::string issue_token(sql::Tx& tx, std::int64_t user_id);  // the only moment at which its text exists here

// --- apps
std::optional<App> find_app(sql::Tx& tx, const std::string& id);
App get_app(sql::Tx& tx, const std::string& id);  // throws not_found
// Locks the app until the transaction ends: changes of one app come one after the other.
App lock_app(sql::Tx& tx, const std::string& uuid);
bool may_use(sql::Tx& tx, const User& user, const App& app);
void set_structure(sql::Tx& tx, const std::string& app_uuid, const json::object& structure, const json::object& procfile);

// --- configs, builds, releases
std::string insert_config(sql::Tx& tx, const std::string& app_uuid, std::int64_t owner, const Config& config);
std::string insert_build(sql::Tx& tx, const std::string& app_uuid, std::int64_t owner, const Build& build);
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
bool is_busy(sql::Tx& tx, const App& app);  // work on the app is under way
// Throws conflict when it is.
void refuse_while_busy(sql::Tx& tx, const App& app);

// --- what the cluster should have
cluster::AppSpec app_spec(sql::Tx& tx, const App& app);
void record_event(sql::Tx& tx, const std::string& username, const std::string& app, const std::string& what);

// --- JSON of the API
json::object to_json(const User& user);
json::object to_json(const App& app);
json::object to_json(const App& app, const Config& config);
json::object to_json(const App& app, const Build& build);
json::object to_json(const App& app, const Release& release);
json::value text_or_null(const std::optional<std::string>& text);

json::object object_from(const std::string& text);  // what we stored ourselves

}  // namespace workflow::controller
