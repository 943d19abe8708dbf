#include "controller/hephy/takeover.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "controller/rules.h"
#include "lib/base/certificate.h"
#include "lib/base/clock.h"
#include "lib/base/domain.h"
#include "lib/base/encoding.h"

namespace workflow::controller::hephy {
namespace {

constexpr std::size_t rows_of_a_statement = 500;

using Read = std::map<std::string, std::vector<std::string>, std::less<>>;

// Columns that hold a JSON object as text.
const Read json_columns = {
    {"api_app", {"structure", "procfile_structure"}},
    {"api_config",
     {"values", "memory", "cpu", "tags", "registry", "healthcheck", "lifecycle_post_start", "lifecycle_pre_stop",
      "termination_grace_period"}},
    {"api_build", {"procfile"}},
    {"api_appsettings", {"autoscale", "label"}},
};

// Columns that are not the original's, but computed here.
const Read computed_columns = {{"authtoken_token", {"hash"}}, {"api_key", {"sha256"}}};

std::string text_of(const json::object& row, std::string_view column) {
  const auto* value = row.if_contains(column);
  return value && value->is_string() ? std::string(value->get_string()) : std::string();
}

json::array rows_of(const Table& table, const std::vector<std::string>& wanted) {
  json::array rows;
  for (const auto& cells : table.rows) {
    json::object row;
    for (const auto& column : wanted) row[column] = nullptr;
    for (std::size_t i = 0; i < cells.size(); ++i) {
      const auto found = row.find(table.columns[i]);
      if (found != row.end() && cells[i]) found->value() = *cells[i];
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

// Values of config were whatever JSON the client sent; here they are text.
json::object with_text_values(json::object values) {
  for (auto& entry : values) {
    if (!entry.value().is_string() && !entry.value().is_null()) entry.value() = print_json(entry.value());
  }
  return values;
}

void check_json(Takeover& out, const std::string& table, json::object& row) {
  const auto columns = json_columns.find(table);
  if (columns == json_columns.end()) return;
  for (const auto& column : columns->second) {
    if (row[column].is_null() || row[column] == "") {
      row[column] = "{}";
      continue;
    }
    auto value = parse_json(text_of(row, column));
    if (!value || !value->is_object()) {
      out.problems.push_back(table + " " + text_of(row, "uuid") + ": " + column + " is not a JSON object");
      continue;
    }
    if (column == "values") row[column] = print_json(with_text_values(std::move(value->get_object())));
  }
}

// Adds what is kept beside a key here; false when it is not one.
bool is_usable_key(json::object& row) {
  const auto key = parse_public_key(text_of(row, "public"));
  if (!key) return false;
  row["fingerprint"] = key->md5;
  row["sha256"] = key->sha256;
  return true;
}

// Adds what the certificate says; false when nothing can be served with it.
bool is_usable_certificate(json::object& row) {
  const auto chain = read_certificates(text_of(row, "certificate"));
  const auto key = read_private_key(text_of(row, "key"));
  if (!chain || !key || !is_pair(chain->front().get(), key->get())) return false;
  const auto facts = facts_of(chain->front().get());
  row["common_name"] = facts.common_name ? json::value(*facts.common_name) : json::value(nullptr);
  row["san"] = print_json(json::array(facts.san.begin(), facts.san.end()));
  row["fingerprint"] = facts.fingerprint;
  row["starts"] = rfc3339(facts.starts);
  row["expires"] = rfc3339(facts.expires);
  row["issuer"] = facts.issuer;
  row["subject"] = facts.subject;
  return true;
}

// Whether the row is taken over. What is computed from it is added.
bool is_taken(Takeover& out, const std::string& table, json::object& row) {
  if (table == "auth_user") return text_of(row, "username") != "AnonymousUser";  // of the original's permissions
  if (table == "authtoken_token") row["hash"] = to_hex(sha256(text_of(row, "key")));
  if (table == "authtoken_token") row["key"] = nullptr;
  if (table == "api_key" && !is_usable_key(row)) {
    out.left_out.push_back("key " + text_of(row, "id") + ": it is not a public key that can log in");
    return false;
  }
  if (table == "api_certificate" && !is_usable_certificate(row)) {
    out.left_out.push_back("certificate " + text_of(row, "name") +
                           ": certificate and key are not a pair that can be read");
    return false;
  }
  if (table == "api_app" && !AppName::parse(text_of(row, "id")))
    out.problems.push_back("app \"" + text_of(row, "id") + "\": its name cannot be that of an app here");
  return true;
}

std::vector<std::string> slugs_of(const json::array& builds) {
  std::set<std::string> slugs;
  for (const auto& build : builds) {
    const auto image = text_of(build.as_object(), "image");
    if (image.starts_with("home/")) slugs.insert(image.ends_with(".tgz") ? image : image + "/slug.tgz");
  }
  return {slugs.begin(), slugs.end()};
}

std::string in_quotes(std::string_view column) { return "\"" + std::string(column) + "\""; }

std::string columns_of(const std::string& table) {
  std::string columns;
  auto add = [&](const std::vector<std::string>& names) {
    for (const auto& name : names) columns += (columns.empty() ? "" : ", ") + in_quotes(name) + " text";
  };
  add(tables_read().at(table));
  if (const auto more = computed_columns.find(table); more != computed_columns.end()) add(more->second);
  return columns;
}

// The dump's rows as temporary tables of text, so that PostgreSQL converts them.
void stage(sql::Tx& tx, const std::string& table, const json::array& rows) {
  const auto columns = columns_of(table);
  const auto name = "stage_" + table, create = "CREATE TEMPORARY TABLE " + table + " (" + columns + ") ON COMMIT DROP";
  tx.execute({name, create});
  const auto fill = "fill_" + table;
  const auto insert = "INSERT INTO " + table + " SELECT * FROM json_to_recordset($1::json) AS r (" + columns + ")";
  for (std::size_t from = 0; from < rows.size(); from += rows_of_a_statement) {
    const auto to = std::min(rows.size(), from + rows_of_a_statement);
    tx.execute({fill, insert}, {print_json(json::array(rows.begin() + static_cast<std::ptrdiff_t>(from),
                                                       rows.begin() + static_cast<std::ptrdiff_t>(to)))});
  }
}

constexpr sql::Query lock_users{"hephy_lock_users",
                                "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE"};  // nobody registers meanwhile
constexpr sql::Query any_user{"hephy_any_user", "SELECT 1 FROM users LIMIT 1"};
// In the order in which one needs the other. A password that is not PBKDF2 is none: its user cannot log in until an
// administrator sets one. What a table of the original says last counts, so its order is that of creation.
constexpr sql::Query conversions[] = {
    {"hephy_users",
     "INSERT INTO users (id, username, password, email, first_name, last_name, is_superuser, is_active, last_login, "
     "date_joined) "
     "OVERRIDING SYSTEM VALUE SELECT id::bigint, username, CASE WHEN password LIKE 'pbkdf2_sha256$%' THEN password "
     "ELSE '!' END, "
     "coalesce(email, ''), coalesce(first_name, ''), coalesce(last_name, ''), is_superuser::boolean, "
     "is_active::boolean, "
     "last_login::timestamptz, date_joined::timestamptz FROM auth_user ORDER BY id::bigint"},
    {"hephy_users_next",
     "SELECT setval(pg_get_serial_sequence('users', 'id'), greatest(1, (SELECT max(id) FROM users)))"},
    {"hephy_tokens",
     "INSERT INTO tokens (hash, user_id, created) SELECT t.hash, u.id, t.created::timestamptz FROM authtoken_token t "
     "JOIN users u ON u.id = t.user_id::bigint"},
    {"hephy_keys",
     "INSERT INTO keys (uuid, owner_id, id, public, fingerprint, sha256, created, updated) SELECT uuid::uuid, "
     "owner_id::bigint, id, public, fingerprint, sha256, created::timestamptz, updated::timestamptz FROM api_key"},
    {"hephy_apps",
     "INSERT INTO apps (uuid, id, owner_id, structure, procfile_structure, created, updated) SELECT uuid::uuid, id, "
     "owner_id::bigint, structure, procfile_structure, created::timestamptz, updated::timestamptz FROM api_app"},
    {"hephy_grants",
     "INSERT INTO grants (app_uuid, user_id) SELECT DISTINCT a.uuid, u.id FROM guardian_userobjectpermission g "
     "JOIN auth_permission p ON p.id = g.permission_id AND p.codename = 'use_app' "
     "JOIN apps a ON replace(a.uuid::text, '-', '') = replace(g.object_pk, '-', '') JOIN users u ON u.id = "
     "g.user_id::bigint"},
    {"hephy_configs",
     "INSERT INTO configs (uuid, app_uuid, owner_id, vars, memory, cpu, tags, registry, healthcheck, "
     "lifecycle_post_start, "
     "lifecycle_pre_stop, termination_grace_period, created, updated) SELECT uuid::uuid, app_id::uuid, "
     "owner_id::bigint, "
     "\"values\", memory, cpu, tags, registry, healthcheck, lifecycle_post_start, lifecycle_pre_stop, "
     "termination_grace_period, created::timestamptz, updated::timestamptz FROM api_config"},
    {"hephy_builds",
     "INSERT INTO builds (uuid, app_uuid, owner_id, image, sha, procfile, dockerfile, created, updated) SELECT "
     "uuid::uuid, "
     "app_id::uuid, owner_id::bigint, image, coalesce(sha, ''), procfile, coalesce(dockerfile, ''), "
     "created::timestamptz, "
     "updated::timestamptz FROM api_build"},
    {"hephy_releases",
     "INSERT INTO releases (uuid, app_uuid, owner_id, version, config_uuid, build_uuid, summary, state, exception, "
     "created, "
     "updated) SELECT uuid::uuid, app_id::uuid, owner_id::bigint, version::bigint, config_id::uuid, build_id::uuid, "
     "coalesce(summary, ''), CASE WHEN coalesce(failed, 'f')::boolean THEN 'failed' ELSE 'live' END, exception, "
     "created::timestamptz, updated::timestamptz FROM api_release"},
    {"hephy_certificates",
     "INSERT INTO certificates (id, owner_id, name, certificate, key, common_name, san, fingerprint, starts, expires, "
     "issuer, "
     "subject, created, updated) OVERRIDING SYSTEM VALUE SELECT id::bigint, owner_id::bigint, name, certificate, key, "
     "common_name, san, fingerprint, starts::timestamptz, expires::timestamptz, issuer, subject, created::timestamptz, "
     "updated::timestamptz FROM api_certificate"},
    {"hephy_certificates_next",
     "SELECT setval(pg_get_serial_sequence('certificates', 'id'), greatest(1, (SELECT max(id) FROM certificates)))"},
    {"hephy_domains",
     "INSERT INTO domains (app_uuid, owner_id, domain, certificate_id, created, updated) SELECT d.app_id::uuid, "
     "d.owner_id::bigint, lower(d.domain), c.id, d.created::timestamptz, d.updated::timestamptz FROM api_domain d "
     "LEFT JOIN certificates c ON c.id = d.certificate_id::bigint"},
    {"hephy_services",
     "INSERT INTO services (app_uuid, owner_id, procfile_type, path_pattern, created, updated) SELECT app_id::uuid, "
     "owner_id::bigint, procfile_type, path_pattern, created::timestamptz, updated::timestamptz FROM api_service"},
    {"hephy_settings",
     "INSERT INTO settings (uuid, app_uuid, owner_id, maintenance, routable, whitelist, autoscale, label, created, "
     "updated) "
     "SELECT uuid::uuid, app_id::uuid, owner_id::bigint, coalesce(maintenance::boolean, false), "
     "coalesce(routable::boolean, "
     "true), coalesce(to_json(whitelist::text[])::text, '[]'), autoscale, label, created::timestamptz, "
     "updated::timestamptz FROM api_appsettings ORDER BY created::timestamptz"},
    {"hephy_tls",
     "INSERT INTO tls (uuid, app_uuid, owner_id, https_enforced, created, updated) SELECT uuid::uuid, app_id::uuid, "
     "owner_id::bigint, https_enforced::boolean, created::timestamptz, updated::timestamptz FROM api_tls "
     "ORDER BY created::timestamptz"},
    // Apps from the time before these tables.
    {"hephy_settings_missing",
     "INSERT INTO settings (app_uuid, owner_id) SELECT uuid, owner_id FROM apps a WHERE NOT EXISTS (SELECT 1 FROM "
     "settings "
     "s WHERE s.app_uuid = a.uuid)"},
    {"hephy_tls_missing",
     "INSERT INTO tls (app_uuid, owner_id) SELECT uuid, owner_id FROM apps a WHERE NOT EXISTS (SELECT 1 FROM tls t "
     "WHERE "
     "t.app_uuid = a.uuid)"},
    {"hephy_event",
     "INSERT INTO events (username, app, app_uuid, what) SELECT u.username, a.id, a.uuid, 'came from Hephy' FROM apps "
     "a "
     "JOIN users u ON u.id = a.owner_id"},
};
constexpr sql::Query apps_without_release{
    "hephy_apps_without_release",
    "SELECT id FROM apps a WHERE NOT EXISTS (SELECT 1 FROM releases r WHERE r.app_uuid = a.uuid AND r.state = 'live') "
    "ORDER BY id LIMIT 5"};
constexpr sql::Query count_all{
    "hephy_counts",
    "SELECT (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM keys) AS keys, (SELECT count(*) FROM apps) AS "
    "apps, (SELECT count(*) FROM releases) AS releases, (SELECT count(*) FROM domains) AS domains, (SELECT count(*) "
    "FROM "
    "certificates) AS certificates"};

}  // namespace

const Read& tables_read() {
  static const Read tables = {
      {"auth_user",
       {"id", "password", "last_login", "is_superuser", "username", "first_name", "last_name", "email", "is_active",
        "date_joined"}},
      {"auth_permission", {"id", "codename"}},
      {"authtoken_token", {"key", "created", "user_id"}},
      {"guardian_userobjectpermission", {"permission_id", "object_pk", "user_id"}},
      {"api_key", {"uuid", "owner_id", "id", "public", "fingerprint", "created", "updated"}},
      {"api_app", {"uuid", "id", "owner_id", "structure", "procfile_structure", "created", "updated"}},
      {"api_config",
       {"uuid", "owner_id", "app_id", "values", "memory", "cpu", "tags", "registry", "healthcheck",
        "lifecycle_post_start", "lifecycle_pre_stop", "termination_grace_period", "created", "updated"}},
      {"api_build", {"uuid", "owner_id", "app_id", "image", "sha", "procfile", "dockerfile", "created", "updated"}},
      {"api_release",
       {"uuid", "owner_id", "app_id", "version", "config_id", "build_id", "summary", "failed", "exception", "created",
        "updated"}},
      {"api_certificate",
       {"id", "owner_id", "name", "certificate", "key", "common_name", "san", "fingerprint", "starts", "expires",
        "issuer", "subject", "created", "updated"}},
      {"api_domain", {"owner_id", "app_id", "domain", "certificate_id", "created", "updated"}},
      {"api_service", {"owner_id", "app_id", "procfile_type", "path_pattern", "created", "updated"}},
      {"api_appsettings",
       {"uuid", "owner_id", "app_id", "maintenance", "routable", "whitelist", "autoscale", "label", "created",
        "updated"}},
      {"api_tls", {"uuid", "owner_id", "app_id", "https_enforced", "created", "updated"}},
  };
  return tables;
}

std::set<std::string, std::less<>> names_of_tables_read() {
  std::set<std::string, std::less<>> names;
  for (const auto& [name, columns] : tables_read()) names.insert(name);
  return names;
}

Takeover takeover_of(const Dump& dump) {
  Takeover out;
  for (const auto* name : {"auth_user", "api_app", "api_config", "api_release"}) {
    if (!dump.contains(name))
      out.problems.push_back("the dump has no table " + std::string(name) +
                             "; dump the original's whole database, with COPY");
  }
  for (const auto& [name, columns] : tables_read()) {
    auto& kept = out.rows[name];
    const auto table = dump.find(name);
    if (table == dump.end()) continue;
    for (auto& value : rows_of(table->second, columns)) {
      auto& row = value.as_object();
      if (!is_taken(out, name, row)) continue;
      check_json(out, name, row);
      kept.push_back(std::move(value));
    }
  }
  out.slugs = slugs_of(out.rows["api_build"]);
  return out;
}

Counts take_over(sql::Tx& tx, const Takeover& takeover) {
  tx.execute(lock_users);
  if (!tx.query(any_user).empty()) {
    throw Error(ErrorKind::unprocessable,
                "this platform has users already; the original's can only be taken over into a new one");
  }
  for (const auto& [table, rows] : takeover.rows) stage(tx, table, rows);
  for (const auto& conversion : conversions) tx.execute(conversion);
  if (const auto bare = tx.query(apps_without_release); !bare.empty()) {
    throw Error(ErrorKind::unprocessable,
                "app " + bare[0].text("id") + " has no release that worked; destroy it there first");
  }
  const auto counted = tx.query(count_all);
  const auto row = counted[0];
  return {.users = row.integer("users"),
          .keys = row.integer("keys"),
          .apps = row.integer("apps"),
          .releases = row.integer("releases"),
          .domains = row.integer("domains"),
          .certificates = row.integer("certificates")};
}

}  // namespace workflow::controller::hephy
