// Endpoints of settings, whitelist and TLS (spec/controller-api.md, sections 2.11 to 2.13).
#include <algorithm>

#include "controller/jobs.h"
#include "controller/rules.h"
#include "controller/store.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

#define WF_TIMES                                                                         \
  "to_char(s.created AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS created, " \
  "to_char(s.updated AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS updated"
constexpr sql::Query select_settings{
    "select_settings",
    "SELECT s.uuid, u.username AS owner, s.maintenance, s.routable, s.whitelist, s.autoscale, s.label, " WF_TIMES
    " FROM settings s JOIN users u ON u.id = s.owner_id WHERE s.app_uuid = $1::uuid ORDER BY s.serial DESC LIMIT 1"};
constexpr sql::Query insert_settings{
    "insert_settings",
    "INSERT INTO settings (app_uuid, owner_id, maintenance, routable, whitelist, autoscale, label) "
    "VALUES ($1::uuid, $2::bigint, $3::boolean, $4::boolean, $5, $6, $7) RETURNING uuid"};
constexpr sql::Query delete_settings{"delete_settings", "DELETE FROM settings WHERE uuid = $1::uuid"};
constexpr sql::Query select_tls{
    "select_tls",
    "SELECT s.uuid, u.username AS owner, s.https_enforced, s.certs_auto_enabled, " WF_TIMES
    " FROM tls s JOIN users u ON u.id = s.owner_id WHERE s.app_uuid = $1::uuid ORDER BY s.serial DESC LIMIT 1"};
constexpr sql::Query insert_tls{"insert_tls",
                                "INSERT INTO tls (app_uuid, owner_id, https_enforced, certs_auto_enabled) "
                                "VALUES ($1::uuid, $2::bigint, $3::boolean, $4::boolean) RETURNING uuid"};
constexpr sql::Query delete_tls{"delete_tls", "DELETE FROM tls WHERE uuid = $1::uuid"};

struct AppSettings {
  bool maintenance = false, routable = true;
  std::vector<std::string> whitelist;
  json::object autoscale, label;
  bool operator==(const AppSettings&) const = default;
};

AppSettings current_settings(sql::Tx& tx, const App& app) {
  const auto rows = tx.query(select_settings, {app.uuid});
  AppSettings settings;
  if (rows.empty()) return settings;
  settings.maintenance = rows[0].boolean("maintenance");
  settings.routable = rows[0].boolean("routable");
  const auto whitelist = parse_json(rows[0].text("whitelist"));
  for (const auto& address : whitelist->as_array()) settings.whitelist.emplace_back(address.as_string());
  settings.autoscale = object_from(rows[0].text("autoscale"));
  settings.label = object_from(rows[0].text("label"));
  return settings;
}

json::array whitelist_json(const std::vector<std::string>& addresses) {
  return json::array(addresses.begin(), addresses.end());
}

json::object settings_json(sql::Tx& tx, const App& app) {
  const auto row = tx.query(select_settings, {app.uuid});
  if (row.empty()) throw not_found("App");  // destroyed meanwhile
  const auto settings = current_settings(tx, app);
  return {{"uuid", row[0].text("uuid")},       {"app", app.id},
          {"owner", row[0].text("owner")},     {"autoscale", settings.autoscale},
          {"label", settings.label},           {"created", row[0].text("created")},
          {"updated", row[0].text("updated")}, {"maintenance", settings.maintenance},
          {"routable", settings.routable},     {"whitelist", whitelist_json(settings.whitelist)}};
}

std::optional<bool> find_flag(const sql::Row& row, std::string_view name) {
  return row.is_null(name) ? std::nullopt : std::optional(row.boolean(name));
}

json::value or_null(std::optional<bool> flag) { return flag ? json::value(*flag) : json::value(nullptr); }

json::object tls_json(sql::Tx& tx, const App& app) {
  const auto rows = tx.query(select_tls, {app.uuid});
  if (rows.empty()) throw not_found("App");  // destroyed meanwhile
  return {{"uuid", rows[0].text("uuid")},
          {"app", app.id},
          {"owner", rows[0].text("owner")},
          {"created", rows[0].text("created")},
          {"updated", rows[0].text("updated")},
          {"https_enforced", or_null(find_flag(rows[0], "https_enforced"))},
          {"certs_auto_enabled", or_null(find_flag(rows[0], "certs_auto_enabled"))}};
}

// The addresses of a request; problems go to `fields` under `name`.
enum class EmptyList { is_refused, is_fine };
std::vector<std::string> addresses_of(Fields& fields, const json::object& body, std::string_view name,
                                      EmptyList empty_list) {
  std::vector<std::string> addresses;
  const auto* value = body.if_contains(name);
  const auto* list = value ? value->if_array() : nullptr;
  if (!value)
    fields.problem(name, "This field is required.");
  else if (!list)
    fields.problem(name, "Expected a list of items.");
  else if (list->empty() && empty_list == EmptyList::is_refused)
    fields.problem(name, "This list may not be empty.");
  if (!list) return addresses;
  for (const auto& item : *list) {
    const auto text = python_text(item);
    if (!item.is_string() || !is_network(text))
      fields.problem(name, "The address " + text + " is not valid");
    else if (std::ranges::find(addresses, text) == addresses.end())
      addresses.push_back(text);
  }
  return addresses;
}

void merge_autoscale(json::object& autoscale, const json::object& change) {
  for (const auto& [type, value] : change) {
    if (value.is_null()) {
      if (autoscale.erase(type) == 0)
        throw Error(ErrorKind::unprocessable, std::string(type) + " does not exist under autoscale");
      continue;
    }
    if (!is_process_type(std::string(type))) {
      throw Error(Error::Fields{{"autoscale", {"Process types can only contain lowercase alphanumeric characters"}}});
    }
    auto number = [&](std::string_view name) {
      const auto found = find_integer(value, {name});
      if (!found) {
        throw Error(Error::Fields{
            {"autoscale",
             {"could not validate " + json::serialize(value) + ": " + std::string(name) + " must be a whole number"}}});
      }
      return *found;
    };
    const auto least = number("min"), most = number("max"), percent = number("cpu_percent");
    if (least < 1) throw Error(ErrorKind::invalid, "min replicas needs to be 1 or higher");
    if (most < least) throw Error(ErrorKind::invalid, "max replicas can not be smaller than min replicas");
    if (most > 1000) throw Error(ErrorKind::invalid, "max replicas can not be larger than 1000");
    if (percent > 10'000) throw Error(ErrorKind::invalid, "cpu_percent can not be larger than 10000");
    if (percent < 1) throw Error(ErrorKind::invalid, "cpu_percent needs to be 1 or higher");
    autoscale[type] = json::object{{"min", least}, {"max", most}, {"cpu_percent", percent}};
  }
}

json::object told(const AppSettings& settings) {
  return {{"maintenance", settings.maintenance},
          {"routable", settings.routable},
          {"whitelist", whitelist_json(settings.whitelist)},
          {"autoscale", settings.autoscale},
          {"label", settings.label}};
}

// Stores the settings and makes them so; when the cluster refuses, nothing is stored.
Task<> store_settings(Parts& parts, AppCall& call, std::function<AppSettings(AppSettings)> change) {
  auto insert = [&](sql::Tx& tx) {
    const auto app = lock_app(tx, call.app.uuid);
    const auto before = current_settings(tx, app);
    const auto after = change(before);
    if (after == before) throw Error(ErrorKind::conflict, call.caller().username + " changed nothing");
    const auto uuid = tx.query(insert_settings, {app.uuid, call.caller().id, after.maintenance, after.routable,
                                                 print_json(whitelist_json(after.whitelist)),
                                                 print_json(after.autoscale), print_json(after.label)})[0]
                          .text("uuid");
    record_event(tx, call.caller().username, app, "appsettings " + app.id + "-" + uuid.substr(0, 7) + " updated",
                 object_difference(told(before), told(after)));
    return uuid;
  };
  const auto uuid = co_await parts.db.transact(insert);
  auto take_back = [&](sql::Tx& tx) {
    tx.execute(delete_settings, {uuid});
    record_event(tx, call.caller().username, call.app,
                 "appsettings " + call.app.id + "-" + uuid.substr(0, 7) + " taken back: the cluster refused them");
  };
  call.late =
      co_await parts.jobs.bring_into_effect({.app = call.app, .take_back = take_back, .kind = ErrorKind::invalid});
}

Task<http::Response> show_settings(Parts& parts, AppCall& call) {
  co_return answer(200, co_await parts.db.transact([&](sql::Tx& tx) { return settings_json(tx, call.app); }));
}

Task<http::Response> set_settings(Parts& parts, AppCall& call) {
  Fields fields(call.body);
  const auto maintenance = fields.boolean("maintenance");
  const auto routable = fields.boolean("routable");
  std::optional<std::vector<std::string>> whitelist;
  if (fields.is_null("whitelist"))
    fields.problem("whitelist", "This field may not be null.");
  else if (fields.has("whitelist"))
    whitelist = addresses_of(fields, call.body, "whitelist", EmptyList::is_refused);
  const auto autoscale = fields.map("autoscale");
  const auto label = fields.map("label");
  fields.done();
  auto change = [&](AppSettings settings) {
    if (maintenance) settings.maintenance = *maintenance;
    if (routable) settings.routable = *routable;
    // As sets: another order is no change.
    if (whitelist && !std::ranges::is_permutation(*whitelist, settings.whitelist)) settings.whitelist = *whitelist;
    if (autoscale) merge_autoscale(settings.autoscale, *autoscale);
    if (label) settings.label = merge_map(std::move(settings.label), *label, "label");
    return settings;
  };
  co_await store_settings(parts, call, change);
  co_return answer(201, co_await parts.db.transact([&](sql::Tx& tx) { return settings_json(tx, call.app); }));
}

Task<http::Response> show_whitelist(Parts& parts, AppCall& call) {
  const auto settings = co_await parts.db.transact([&](sql::Tx& tx) { return current_settings(tx, call.app); });
  co_return answer(200, json::object{{"addresses", whitelist_json(settings.whitelist)}});
}

enum class Whitelist { add, remove };
Task<http::Response> change_whitelist(Parts& parts, AppCall& call, Whitelist how) {
  const bool add = how == Whitelist::add;
  Fields fields(call.body);
  const auto addresses = addresses_of(fields, call.body, "addresses", EmptyList::is_fine);
  fields.done();
  std::vector<std::string> all;
  auto change = [&](AppSettings settings) {
    std::vector<std::string> unknown;
    for (const auto& address : addresses) {
      const auto at = std::ranges::find(settings.whitelist, address);
      if (add && at == settings.whitelist.end()) settings.whitelist.push_back(address);
      if (!add && at == settings.whitelist.end())
        unknown.push_back("'" + address + "'");
      else if (!add)
        settings.whitelist.erase(at);
    }
    if (!unknown.empty()) {
      throw Error(ErrorKind::unprocessable, "addresses {" + join(unknown, ", ") + "} does not exist in whitelist");
    }
    all = settings.whitelist;
    return settings;
  };
  co_await store_settings(parts, call, change);
  if (!add) co_return nothing();
  co_return answer(201, json::object{{"addresses", whitelist_json(all)}});
}

Task<http::Response> show_tls(Parts& parts, AppCall& call) {
  co_return answer(200, co_await parts.db.transact([&](sql::Tx& tx) { return tls_json(tx, call.app); }));
}

Task<http::Response> set_tls(Parts& parts, AppCall& call) {
  Fields fields(call.body);
  const auto sent_enforced = fields.boolean("https_enforced"), sent_automatic = fields.boolean("certs_auto_enabled");
  fields.done();
  auto insert = [&](sql::Tx& tx) {
    lock_app(tx, call.app.uuid);
    const auto rows = tx.query(select_tls, {call.app.uuid});
    const auto enforced_before = find_flag(rows[0], "https_enforced"),
               automatic_before = find_flag(rows[0], "certs_auto_enabled");
    // A request that speaks of certificates alone leaves the other as it is. One that says nothing resets that, as
    // ever.
    const auto enforced = sent_enforced || !sent_automatic ? sent_enforced : enforced_before;
    const auto automatic = sent_automatic ? sent_automatic : automatic_before;
    const bool says_something = sent_enforced || sent_automatic;
    if (says_something && enforced == enforced_before && automatic == automatic_before) {
      throw Error(ErrorKind::conflict, call.caller().username + " changed nothing");
    }
    record_event(tx, call.caller().username, call.app, "tls updated",
                 {{{"https_enforced", or_null(enforced_before)}, {"certs_auto_enabled", or_null(automatic_before)}},
                  {{"https_enforced", or_null(enforced)}, {"certs_auto_enabled", or_null(automatic)}}});
    return tx.query(insert_tls, {call.app.uuid, call.caller().id, enforced, automatic})[0].text("uuid");
  };
  const auto uuid = co_await parts.db.transact(insert);
  auto take_back = [&](sql::Tx& tx) {
    tx.execute(delete_tls, {uuid});
    record_event(tx, call.caller().username, call.app, "tls taken back: the cluster refused it");
  };
  call.late = co_await parts.jobs.bring_into_effect({.app = call.app, .take_back = take_back});
  co_return answer(201, co_await parts.db.transact([&](sql::Tx& tx) { return tls_json(tx, call.app); }));
}

}  // namespace

void add_setting_routes(Api& api) {
  auto& parts = api.parts();
  api.add_app("GET", "/settings/", Access::use, {"getSettings", "Settings of the app", "", {{200, "Settings"}}},
              [&parts](AppCall& call) { return show_settings(parts, call); });
  api.add_app("POST", "/settings/", Access::use,
              {"setSettings", "Merge a change over the settings", "SettingsChange", {{201, "Settings"}}, {409, 422}},
              [&parts](AppCall& call) { return set_settings(parts, call); });
  api.add_app("GET", "/whitelist/", Access::use,
              {"getWhitelist", "Addresses that may reach the app; none: all", "", {{200, "Addresses"}}},
              [&parts](AppCall& call) { return show_whitelist(parts, call); });
  api.add_app("POST", "/whitelist/", Access::use,
              {"addToWhitelist", "Let more addresses in", "Addresses", {{201, "Addresses"}}, {409, 422}},
              [&parts](AppCall& call) { return change_whitelist(parts, call, Whitelist::add); });
  api.add_app("DELETE", "/whitelist/", Access::own,
              {"removeFromWhitelist", "Keep addresses out again", "Addresses", {{204, ""}}, {409, 422}},
              [&parts](AppCall& call) { return change_whitelist(parts, call, Whitelist::remove); });
  api.add_app("GET", "/tls/", Access::use, {"getTls", "Whether requests are sent on to HTTPS", "", {{200, "Tls"}}},
              [&parts](AppCall& call) { return show_tls(parts, call); });
  api.add_app("POST", "/tls/", Access::use,
              {"setTls", "Send requests on to HTTPS, or not", "TlsChange", {{201, "Tls"}}, {409}},
              [&parts](AppCall& call) { return set_tls(parts, call); });
}

}  // namespace workflow::controller
