// Endpoints of /v2/certs (spec/controller-api.md, section 2.16). Every user sees only certificates of his own.
#include <algorithm>

#include "controller/certificate.h"
#include "controller/jobs.h"
#include "controller/rules.h"

namespace workflow::controller {
namespace {

#define WF_AT(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define WF_CERTIFICATE_COLUMNS \
  "id, name, common_name, san, fingerprint, issuer, subject, " WF_AT("starts") " AS starts, " WF_AT( \
      "expires") " AS expires, " WF_AT("created") " AS created, " WF_AT("updated") " AS updated, "              \
  "(SELECT coalesce(json_agg(d.domain ORDER BY d.domain), '[]') FROM domains d WHERE d.certificate_id = c.id) AS domains"
constexpr sql::Query count_certificates{"count_certificates",
                                        "SELECT count(*) AS n FROM certificates WHERE owner_id = $1::bigint"};
constexpr sql::Query select_certificates{"select_certificates", "SELECT " WF_CERTIFICATE_COLUMNS
                                                                " FROM certificates c WHERE owner_id = $1::bigint "
                                                                "ORDER BY name LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query select_certificate{"select_certificate",
                                        "SELECT " WF_CERTIFICATE_COLUMNS
                                        " FROM certificates c WHERE owner_id = $1::bigint AND name = $2"};
constexpr sql::Query select_apps_of_certificate{
    "select_apps_of_certificate",
    "SELECT DISTINCT a.id AS app FROM domains d JOIN apps a ON a.uuid = d.app_uuid WHERE "
    "d.certificate_id = $1::bigint ORDER BY a.id"};
constexpr sql::Query insert_certificate{"insert_certificate",
                                        "INSERT INTO certificates (owner_id, name, certificate, key, common_name, san, "
                                        "fingerprint, starts, expires, issuer, subject) VALUES "
                                        "($1::bigint, $2, $3, $4, $5, $6, $7, $8::timestamptz, $9::timestamptz, $10, "
                                        "$11) ON CONFLICT (name) DO NOTHING RETURNING id"};
constexpr sql::Query delete_certificate{"delete_certificate", "DELETE FROM certificates WHERE id = $1::bigint"};
constexpr sql::Query select_domain_for_update{"select_domain_for_update",
                                              "SELECT d.id, d.certificate_id, a.id AS app, a.uuid AS app_uuid FROM "
                                              "domains d JOIN apps a ON a.uuid = d.app_uuid WHERE d.domain = $1 "
                                              "FOR UPDATE OF d"};
constexpr sql::Query attach_certificate{
    "attach_certificate", "UPDATE domains SET certificate_id = $2::bigint, updated = now() WHERE id = $1::bigint"};

json::object certificate_json(const sql::Row& row, const std::string& owner) {
  return {{"id", row.integer("id")},
          {"owner", owner},
          {"domains", array_from(row.text("domains"))},
          {"san", array_from(row.text("san"))},
          {"created", row.text("created")},
          {"updated", row.text("updated")},
          {"name", row.text("name")},
          {"common_name", text_or_null(row.find("common_name"))},
          {"fingerprint", row.text("fingerprint")},
          {"expires", row.text("expires")},
          {"starts", row.text("starts")},
          {"issuer", row.text("issuer")},
          {"subject", row.text("subject")}};
}

std::int64_t certificate_id(sql::Tx& tx, const Call& call) {
  const auto rows = tx.query(select_certificate, {call.caller().id, call.param("name")});
  if (rows.empty()) throw not_found("Certificate");
  return rows[0].integer("id");
}

Task<http::Response> list_certificates(Parts& parts, Call& call) {
  auto to = [&call](const sql::Row& row) { return certificate_json(row, call.caller().username); };
  co_return co_await list_rows(parts, call, {count_certificates, select_certificates}, {call.caller().id}, to);
}

Task<http::Response> show_certificate(Parts& parts, Call& call) {
  auto read = [&](sql::Tx& tx) {
    const auto rows = tx.query(select_certificate, {call.caller().id, call.param("name")});
    if (rows.empty()) throw not_found("Certificate");
    return certificate_json(rows[0], call.caller().username);
  };
  co_return answer(200, co_await parts.db.transact(read));
}

Task<http::Response> add_certificate(Parts& parts, Call& call) {
  Fields fields(call.body);
  const auto name = fields.text("name", {.max = 253});
  const auto certificate = fields.text("certificate", {});
  const auto key = fields.text("key", {});
  auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; };
  if (name && !std::ranges::all_of(*name, is_plain))
    fields.problem("name", "Can only contain a-z (lowercase), 0-9 and hyphens");
  fields.done();
  check_key_pair(*certificate, *key);
  const auto facts = certificate_facts(*certificate);
  auto insert = [&](sql::Tx& tx) {
    const auto rows =
        tx.query(insert_certificate, {call.caller().id, *name, *certificate, *key, facts.common_name,
                                      print_json(json::array(facts.san.begin(), facts.san.end())), facts.fingerprint,
                                      rfc3339(facts.starts), rfc3339(facts.expires), facts.issuer, facts.subject});
    if (rows.empty()) throw Error(Error::Fields{{"name", {"certificate with this name already exists."}}});
    record_event(tx, call.caller().username, "certificate " + *name + " added");
    return certificate_json(tx.query(select_certificate, {call.caller().id, *name})[0], call.caller().username);
  };
  co_return answer(201, co_await parts.db.transact(insert));
}

Task<http::Response> remove_certificate(Parts& parts, Call& call) {
  std::vector<App> apps;
  auto remove = [&](sql::Tx& tx) {
    apps.clear();
    const auto id = certificate_id(tx, call);
    const auto attached = tx.query(select_apps_of_certificate, {id});
    for (int i = 0; i < attached.size(); ++i) apps.push_back(get_app(tx, attached[i].text("app")));
    if (tx.execute(delete_certificate, {id}) == 0) throw not_found("Certificate");  // somebody was faster
    record_event(tx, call.caller().username, "certificate " + call.param("name") + " removed");
  };
  co_await parts.db.transact(remove);
  std::vector<std::vector<cluster::Route>> routes;
  for (const auto& app : apps) {
    auto applying = parts.jobs.apply_app(app.uuid);
    routes.push_back(co_await on_platform("", std::move(applying)));
  }
  // Whoever is late with one app is so with all.
  for (std::size_t i = 0; i < apps.size() && call.late.empty(); ++i)
    call.late = co_await parts.jobs.wait_for_routers(apps[i], std::move(routes[i]));
  co_return nothing();
}

struct DomainRow {
  std::int64_t id = 0;
  std::optional<std::string> certificate;
  App app;
};
// The domain, if the caller may change its app: nobody hangs a certificate on another's domain.
DomainRow lock_domain(sql::Tx& tx, const Call& call, const std::string& domain) {
  const auto rows = tx.query(select_domain_for_update, {domain});
  if (rows.empty()) throw not_found("Domain");
  DomainRow row{rows[0].integer("id"), rows[0].find("certificate_id"), get_app(tx, rows[0].text("app"))};
  if (!may_use(tx, call.caller(), row.app)) throw forbidden();
  return row;
}

Task<http::Response> attach(Parts& parts, Call& call) {
  const auto domain = find_string(call.body, {"domain"}).value_or(call.param("domain"));
  if (domain.empty()) throw Error(ErrorKind::invalid, "domain is a required field");
  auto change = [&](sql::Tx& tx) {
    const auto id = certificate_id(tx, call);
    const auto row = lock_domain(tx, call, domain);
    if (row.certificate) throw Error(ErrorKind::conflict, "Domain already has a certificate attached to it");
    tx.execute(attach_certificate, {row.id, id});
    record_event(tx, call.caller().username, row.app, "certificate " + call.param("name") + " attached to " + domain);
    return row.app;
  };
  const auto app = co_await parts.db.transact(change);
  auto take_back = [&](sql::Tx& tx) {
    tx.execute(attach_certificate, {lock_domain(tx, call, domain).id, std::nullopt});
    record_event(tx, call.caller().username, app, "certificate of " + domain + " taken back: the cluster refused it");
  };
  call.late = co_await parts.jobs.bring_into_effect(
      {.app = app, .take_back = take_back, .refusal = "Could not update Kubernetes Service " + app.id});
  co_return nothing(201);
}

Task<http::Response> detach(Parts& parts, Call& call) {
  const auto domain = call.param("domain");
  auto change = [&](sql::Tx& tx) {
    const auto id = certificate_id(tx, call);
    const auto row = lock_domain(tx, call, domain);
    if (row.certificate != std::to_string(id)) throw not_found("Domain");
    tx.execute(attach_certificate, {row.id, std::nullopt});
    record_event(tx, call.caller().username, row.app, "certificate " + call.param("name") + " detached from " + domain);
    return row.app;
  };
  const auto app = co_await parts.db.transact(change);
  auto applying = parts.jobs.bring_into_effect(app);
  call.late = co_await on_platform("", std::move(applying));
  co_return nothing();
}

}  // namespace

void add_certificate_routes(Api& api) {
  auto& parts = api.parts();
  api.add("GET", "/v2/certs/", Who::user,
          {"listCertificates", "Certificates of the caller", "", {{200, "Certificate[]"}}},
          [&parts](Call& call) { return list_certificates(parts, call); });
  api.add("POST", "/v2/certs/", Who::user,
          {"createCertificate", "Add a certificate and its key", "CertificateRequest", {{201, "Certificate"}}},
          [&parts](Call& call) { return add_certificate(parts, call); });
  api.add("GET", "/v2/certs/{name}/", Who::user,
          {"getCertificate", "One certificate", "", {{200, "Certificate"}}, {404}},
          [&parts](Call& call) { return show_certificate(parts, call); });
  api.add("DELETE", "/v2/certs/{name}/", Who::user,
          {"deleteCertificate", "Remove a certificate from its domains and for good", "", {{204, ""}}, {404}},
          [&parts](Call& call) { return remove_certificate(parts, call); });
  api.add("POST", "/v2/certs/{name}/domain/", Who::user,
          {"attachCertificate", "Attach a certificate to a domain", "DomainRequest", {{201, ""}}, {404, 409}},
          [&parts](Call& call) { return attach(parts, call); });
  api.add("POST", "/v2/certs/{name}/domain/{domain}", Who::user,
          {"attachCertificateByPath",
           "Attach a certificate to a domain",
           "DomainRequestOrNothing",
           {{201, ""}},
           {404, 409}},
          [&parts](Call& call) { return attach(parts, call); });
  api.add("DELETE", "/v2/certs/{name}/domain/{domain}", Who::user,
          {"detachCertificate", "Detach a certificate from a domain", "", {{204, ""}}, {404}},
          [&parts](Call& call) { return detach(parts, call); });
}

}  // namespace workflow::controller
