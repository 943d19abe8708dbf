// Endpoints of domains and path services (spec/controller-api.md, sections 2.9 and 2.10).
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "controller/jobs.h"
#include "controller/rules.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

#define WF_DOMAIN_COLUMNS                                                                                      \
  "d.domain, u.username AS owner, to_char(d.created AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS " \
  "created, "                                                                                                  \
  "to_char(d.updated AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS updated"
constexpr sql::Query count_domains{"count_domains", "SELECT count(*) AS n FROM domains WHERE app_uuid = $1::uuid"};
constexpr sql::Query select_domains{"select_domains",
                                    "SELECT " WF_DOMAIN_COLUMNS
                                    " FROM domains d JOIN users u ON u.id = d.owner_id "
                                    "WHERE d.app_uuid = $1::uuid ORDER BY d.domain LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query select_domain{"select_domain",
                                   "SELECT " WF_DOMAIN_COLUMNS
                                   " FROM domains d JOIN users u ON u.id = d.owner_id WHERE d.domain = $1"};
constexpr sql::Query insert_domain{"insert_domain",
                                   "INSERT INTO domains (app_uuid, owner_id, domain) VALUES ($1::uuid, $2::bigint, $3) "
                                   "ON CONFLICT (domain) DO NOTHING RETURNING id"};
constexpr sql::Query delete_domain{"delete_domain", "DELETE FROM domains WHERE app_uuid = $1::uuid AND domain = $2"};
constexpr sql::Query select_services{
    "select_services", "SELECT procfile_type, path_pattern FROM services WHERE app_uuid = $1::uuid ORDER BY id DESC"};
constexpr sql::Query select_service{
    "select_service", "SELECT path_pattern FROM services WHERE app_uuid = $1::uuid AND procfile_type = $2"};
constexpr sql::Query upsert_service{
    "upsert_service",
    "INSERT INTO services (app_uuid, owner_id, procfile_type, path_pattern) VALUES ($1::uuid, $2::bigint, $3, $4) "
    "ON CONFLICT (app_uuid, procfile_type) DO UPDATE SET path_pattern = $4, updated = now() WHERE "
    "services.path_pattern <> $4"};
constexpr sql::Query delete_service{"delete_service",
                                    "DELETE FROM services WHERE app_uuid = $1::uuid AND procfile_type = $2"};

json::object domain_json(const sql::Row& row, const std::string& app) {
  return {{"owner", row.text("owner")},
          {"created", row.text("created")},
          {"updated", row.text("updated")},
          {"app", app},
          {"domain", row.text("domain")}};
}

// As nginx, which will use it, understands it.
bool is_regular_expression(const std::string& text) {
  int error = 0;
  std::size_t offset = 0;
  auto* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, &error, &offset, nullptr);
  pcre2_code_free(code);
  return code != nullptr;
}

// Paths or nginx's regular expressions, separated by commas. Characters that could end nginx's own syntax are refused.
bool is_path_pattern(const std::string& text) {
  if (text.ends_with(',')) return false;
  for (const auto& part : split(text, ',')) {
    if (trim(part).empty() || part.find_first_of("\n\r\"';{}") != std::string::npos || !is_regular_expression(part))
      return false;
  }
  return true;
}

Task<http::Response> list_domains(Parts& parts, AppCall& call) {
  auto to = [&call](const sql::Row& row) { return domain_json(row, call.app.id); };
  co_return co_await list_rows(parts, call, {count_domains, select_domains}, {call.app.uuid}, to);
}

[[noreturn]] void refuse_domain(std::string why) { throw Error(Error::Fields{{"domain", {std::move(why)}}}); }

// Names below the platform's domain are those of apps, and of the platform's own parts.
void check_owner(const Settings& settings, const App& app, const std::string& domain) {
  const auto label = owning_label(domain, settings.platform_domain);
  if (!label || *label == app.id) return;
  const auto host = host_of_domain(domain, settings.platform_domain);
  if (label->empty() || *label == "*" || settings.reserved_names.contains(*label))
    refuse_domain(host + " belongs to the platform. Use a domain of your own");
  refuse_domain(host + " belongs to the app " + *label + " alone, also before there is one. Use a domain of your own");
}

Task<http::Response> add_domain(Parts& parts, AppCall& call) {
  Fields fields(call.body);
  const auto text = fields.text("domain", {});
  fields.done();
  const auto domain = checked_domain(*text);
  auto insert = [&](sql::Tx& tx) {
    const auto app = lock_app(tx, call.app.uuid);
    // Its own host has two names: that without a dot, and the whole.
    const auto own = host_of_domain(app.id, parts.settings.platform_domain);
    const auto other_name = domain == app.id ? own : domain == own ? app.id : "";
    const bool is_there = !other_name.empty() && !tx.query(select_domain, {other_name}).empty();
    check_owner(parts.settings, app, domain);
    if (is_there || tx.query(insert_domain, {app.uuid, call.caller().id, domain}).empty()) {
      auto typed = *text;
      if (typed == domain) refuse_domain("Domain is already in use by another application");
      if (typed.ends_with('.')) typed.pop_back();
      refuse_domain("The domain " + typed + " is already in use by another app");
    }
    record_event(tx, call.caller().username, call.app, "domain " + domain + " added", {{}, {{"domain", domain}}});
    return domain_json(tx.query(select_domain, {domain})[0], call.app.id);
  };
  const auto added = co_await parts.db.transact(insert);
  auto take_back = [&](sql::Tx& tx) {
    tx.execute(delete_domain, {call.app.uuid, domain});
    record_event(tx, call.caller().username, call.app, "domain " + domain + " taken back: the cluster refused it");
  };
  call.late =
      co_await parts.jobs.bring_into_effect({.app = call.app,
                                             .take_back = take_back,
                                             .refusal = "Could not update Kubernetes Service " + call.app.id,
                                             .hosts = {host_of_domain(domain, parts.settings.platform_domain)}});
  co_return answer(201, added);
}

Task<http::Response> remove_domain(Parts& parts, AppCall& call) {
  std::string domain;
  try {
    domain = checked_domain(call.param("domain"));
  } catch (const Error&) {
    throw not_found("Domain");
  }
  auto remove = [&](sql::Tx& tx) {
    if (tx.execute(delete_domain, {call.app.uuid, domain}) == 0) throw not_found("Domain");
    record_event(tx, call.caller().username, call.app, "domain " + domain + " removed", {{{"domain", domain}}, {}});
  };
  co_await parts.db.transact(remove);
  // The database is the truth: should this fail, the next change or start of a controller takes the route away.
  auto applying = parts.jobs.bring_into_effect(call.app);
  call.late = co_await on_platform("Could not update Kubernetes Service " + call.app.id + ": ", std::move(applying));
  co_return nothing();
}

Task<http::Response> list_services(Parts& parts, AppCall& call) {
  json::array services;
  co_await parts.db.transact([&](sql::Tx& tx) {
    services.clear();
    const auto rows = tx.query(select_services, {call.app.uuid});
    for (int i = 0; i < rows.size(); ++i) {
      services.push_back(json::object{{"procfile_type", rows[i].text("procfile_type")},
                                      {"path_pattern", rows[i].text("path_pattern")}});
    }
  });
  co_return answer(200, json::object{{"services", std::move(services)}});
}

Task<http::Response> set_service(Parts& parts, AppCall& call) {
  Fields fields(call.body);
  const auto type = fields.text("procfile_type", {});
  const auto pattern = fields.text("path_pattern", {});
  if (type && !is_process_type(*type))
    fields.problem("procfile_type", "Process types can only contain lowercase alphanumeric characters");
  if (pattern && !is_path_pattern(*pattern)) {
    fields.problem("path_pattern", "Service value should be valid regex (or set of regex split by comma)");
  }
  fields.done();
  std::optional<std::string> before;
  auto store = [&](sql::Tx& tx) {
    const auto app = lock_app(tx, call.app.uuid);
    const auto rows = tx.query(select_service, {app.uuid, *type});
    before = rows.empty() ? std::nullopt : std::optional(rows[0].text("path_pattern"));
    if (before == *pattern) return false;
    tx.execute(upsert_service, {app.uuid, app.owner_id, *type, *pattern});
    record_event(tx, call.caller().username, app, "service " + *type + (before ? " changed" : " added"),
                 {before ? json::object{{*type, *before}} : json::object{}, {{*type, *pattern}}});
    return true;
  };
  if (!co_await parts.db.transact(store)) co_return nothing();
  auto take_back = [&](sql::Tx& tx) {
    if (before)
      tx.execute(upsert_service, {call.app.uuid, call.app.owner_id, *type, *before});
    else
      tx.execute(delete_service, {call.app.uuid, *type});
    record_event(tx, call.caller().username, call.app, "service " + *type + " taken back: the cluster refused it");
  };
  call.late = co_await parts.jobs.bring_into_effect(
      {.app = call.app, .take_back = take_back, .refusal = "Could not update Kubernetes Service " + call.app.id});
  co_return nothing(201);
}

Task<http::Response> remove_service(Parts& parts, AppCall& call) {
  Fields fields(call.body);
  const auto type = fields.text("procfile_type", {});
  fields.done();
  auto remove = [&](sql::Tx& tx) {
    if (tx.execute(delete_service, {call.app.uuid, *type}) == 0) throw not_found("Service");
    record_event(tx, call.caller().username, call.app, "service " + *type + " removed");
  };
  co_await parts.db.transact(remove);
  auto applying = parts.jobs.bring_into_effect(call.app);
  call.late = co_await on_platform("", std::move(applying));
  co_return nothing();
}

}  // namespace

void add_domain_routes(Api& api) {
  auto& parts = api.parts();
  api.add_app("GET", "/domains/", Access::use, {"listDomains", "Domains of the app", "", {{200, "Domain[]"}}},
              [&parts](AppCall& call) { return list_domains(parts, call); });
  api.add_app("POST", "/domains/", Access::use, {"createDomain", "Add a domain", "DomainRequest", {{201, "Domain"}}},
              [&parts](AppCall& call) { return add_domain(parts, call); });
  api.add_app("DELETE", "/domains/{domain}/", Access::own, {"deleteDomain", "Remove a domain", "", {{204, ""}}},
              [&parts](AppCall& call) { return remove_domain(parts, call); });
  api.add_app("GET", "/services/", Access::use,
              {"listServices", "Process types that get requests by path", "", {{200, "Services"}}},
              [&parts](AppCall& call) { return list_services(parts, call); });
  api.add_app(
      "POST", "/services/", Access::use,
      {"setService", "Send requests of some paths to another process type", "ServiceRequest", {{201, ""}, {204, ""}}},
      [&parts](AppCall& call) { return set_service(parts, call); });
  api.add_app("DELETE", "/services/", Access::own,
              {"deleteService", "Send them to the app's own process again", "ServiceType", {{204, ""}}},
              [&parts](AppCall& call) { return remove_service(parts, call); });
}

}  // namespace workflow::controller
