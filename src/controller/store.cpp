#include "controller/store.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

// A time as every client of the API reads it.
#define WF_TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

#define WF_USER_COLUMNS                                                                                    \
  "u.id, u.username, u.email, u.first_name, u.last_name, u.is_superuser, u.is_active, u.groups, " WF_TIME( \
      "u.last_login") " AS last_login, " WF_TIME("u.date_joined") " AS date_joined"
#define WF_APP_COLUMNS                                                                          \
  "a.uuid, a.id, a.owner_id, o.username AS owner, a.structure, a.procfile_structure, " WF_TIME( \
      "a.created") " AS created, " WF_TIME("a.updated") " AS updated"
#define WF_RELEASE_QUERY \
  "SELECT r.uuid, r.version, r.summary, r.state, r.exception, ro.username AS owner, " WF_TIME("r.created") " AS created, " \
  WF_TIME("r.updated") " AS updated, c.uuid AS config_uuid, co.username AS config_owner, c.vars, c.memory, c.cpu, c.tags, "  \
  "c.registry, c.healthcheck, c.lifecycle_post_start, c.lifecycle_pre_stop, c.termination_grace_period, "           \
  WF_TIME("c.created") " AS config_created, " WF_TIME("c.updated") " AS config_updated, b.uuid AS build_uuid, "      \
  "bo.username AS build_owner, b.port, b.image, b.sha, b.procfile, b.dockerfile, " WF_TIME("b.created") " AS build_created, " \
  WF_TIME("b.updated") " AS build_updated FROM releases r JOIN users ro ON ro.id = r.owner_id "                      \
  "JOIN configs c ON c.uuid = r.config_uuid JOIN users co ON co.id = c.owner_id "                                    \
  "LEFT JOIN builds b ON b.uuid = r.build_uuid LEFT JOIN users bo ON bo.id = b.owner_id "

constexpr sql::Query select_user{"select_user", "SELECT " WF_USER_COLUMNS " FROM users u WHERE username = $1"};
constexpr sql::Query select_users{
    "select_users", "SELECT " WF_USER_COLUMNS " FROM users u ORDER BY u.id LIMIT $1::bigint OFFSET $2::bigint"};
constexpr sql::Query select_bearer{"select_bearer", "SELECT " WF_USER_COLUMNS
                                                    ", t.scope, t.apps FROM tokens t JOIN users u ON u.id = t.user_id "
                                                    "WHERE t.hash = $1 AND (t.expires IS NULL OR t.expires > now())"};
constexpr sql::Query insert_token{
    "insert_token",
    "INSERT INTO tokens (hash, user_id, name, scope, apps, expires) VALUES ($1, $2::bigint, $3, $4, $5, "
    "now() + make_interval(secs => $6::bigint)) RETURNING id"};
constexpr sql::Query select_app{
    "select_app", "SELECT " WF_APP_COLUMNS " FROM apps a JOIN users o ON o.id = a.owner_id WHERE a.id = $1"};
constexpr sql::Query select_all_apps{
    "select_all_apps", "SELECT " WF_APP_COLUMNS " FROM apps a JOIN users o ON o.id = a.owner_id ORDER BY a.id"};
// $3: names that a token is limited to, as JSON; null: none.
#define WF_USABLE                                                                   \
  "($2::boolean OR a.owner_id = $1::bigint OR EXISTS "                              \
  "(SELECT 1 FROM grants g WHERE g.app_uuid = a.uuid AND g.user_id = $1::bigint)) " \
  "AND ($3::json IS NULL OR a.id IN (SELECT json_array_elements_text($3::json)))"
constexpr sql::Query count_usable_apps{"count_usable_apps", "SELECT count(*) AS n FROM apps a WHERE " WF_USABLE};
// Inside: what is skipped is not joined and printed.
constexpr sql::Query select_usable_apps{"select_usable_apps",
                                        "SELECT " WF_APP_COLUMNS " FROM (SELECT * FROM apps a WHERE " WF_USABLE
                                        " ORDER BY a.id LIMIT $4::bigint OFFSET $5::bigint) a "
                                        "JOIN users o ON o.id = a.owner_id ORDER BY a.id"};
constexpr sql::Query lock_app_row{"lock_app", "SELECT 1 FROM apps WHERE uuid = $1::uuid FOR UPDATE"};
constexpr sql::Query select_app_by_uuid{"select_app_by_uuid",
                                        "SELECT " WF_APP_COLUMNS
                                        " FROM apps a JOIN users o ON o.id = a.owner_id WHERE a.uuid = $1::uuid"};
constexpr sql::Query select_grant{"select_grant",
                                  "SELECT 1 FROM grants WHERE app_uuid = $1::uuid AND user_id = $2::bigint"};
constexpr sql::Query update_structure{
    "update_structure",
    "UPDATE apps SET structure = $2, procfile_structure = $3, updated = now() WHERE uuid = $1::uuid"};
constexpr sql::Query insert_config_query{
    "insert_config",
    "INSERT INTO configs (app_uuid, owner_id, vars, memory, cpu, tags, registry, healthcheck, lifecycle_post_start, "
    "lifecycle_pre_stop, termination_grace_period) VALUES ($1::uuid, $2::bigint, $3, $4, $5, $6, $7, $8, $9, $10, $11) "
    "RETURNING uuid"};
constexpr sql::Query insert_build_query{"insert_build",
                                        "INSERT INTO builds (app_uuid, owner_id, image, sha, procfile, dockerfile) "
                                        "VALUES ($1::uuid, $2::bigint, $3, $4, $5, $6) RETURNING uuid"};
constexpr sql::Query insert_release_query{
    "insert_release",
    "INSERT INTO releases (app_uuid, owner_id, version, config_uuid, build_uuid, summary, state) SELECT $1::uuid, "
    "$2::bigint, "
    "coalesce(max(version), 0) + 1, $3::uuid, $4::uuid, $5, $6 FROM releases WHERE app_uuid = $1::uuid RETURNING uuid"};
constexpr sql::Query select_live_release{
    "select_live_release",
    WF_RELEASE_QUERY "WHERE r.app_uuid = $1::uuid AND r.state = 'live' ORDER BY r.version DESC LIMIT 1"};
constexpr sql::Query select_release{"select_release",
                                    WF_RELEASE_QUERY "WHERE r.app_uuid = $1::uuid AND r.version = $2::bigint"};
constexpr sql::Query select_releases{"select_releases", WF_RELEASE_QUERY
                                     "WHERE r.app_uuid = $1::uuid AND r.state <> 'pending' ORDER BY r.version DESC "
                                     "LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query select_release_by_uuid{"select_release_by_uuid", WF_RELEASE_QUERY "WHERE r.uuid = $1::uuid"};
constexpr sql::Query select_running_job{
    "select_running_job", "SELECT kind, structure FROM jobs WHERE app_uuid = $1::uuid AND state = 'running'"};
constexpr sql::Query select_current_settings{"select_current_settings",
                                             "SELECT maintenance, routable, whitelist, autoscale FROM settings WHERE "
                                             "app_uuid = $1::uuid ORDER BY serial DESC LIMIT 1"};
constexpr sql::Query select_current_tls{"select_current_tls",
                                        "SELECT coalesce(https_enforced, false) AS enforced, "
                                        "coalesce(certs_auto_enabled, false) AS automatic FROM tls WHERE app_uuid = "
                                        "$1::uuid ORDER BY serial DESC LIMIT 1"};
constexpr sql::Query select_app_domains{
    "select_app_domains",
    "SELECT d.domain, c.name, c.certificate, c.key FROM domains d LEFT JOIN certificates c ON c.id = d.certificate_id "
    "WHERE d.app_uuid = $1::uuid ORDER BY d.id"};
constexpr sql::Query select_app_services{
    "select_app_services",
    "SELECT procfile_type, path_pattern FROM services WHERE app_uuid = $1::uuid ORDER BY id DESC"};
// Events of one app get their numbers in the order of their commits: whoever reads on from a number misses none.
constexpr sql::Query lock_events{"lock_events", "SELECT pg_advisory_xact_lock(hashtextextended($1, 7305474))"};
constexpr sql::Query insert_event{"insert_event",
                                  "INSERT INTO events (username, app, app_uuid, what, before, after) VALUES ($1, $2, "
                                  "$3::uuid, $4, $5, $6) RETURNING id"};

User user_from(const sql::Row& row) {
  return {row.integer("id"),       row.text("username"),          row.text("email"),        row.text("first_name"),
          row.text("last_name"),   row.boolean("is_superuser"),   row.boolean("is_active"), row.find("last_login"),
          row.text("date_joined"), array_from(row.text("groups"))};
}

App app_from(const sql::Row& row) {
  return {row.text("uuid"),
          row.text("id"),
          row.integer("owner_id"),
          row.text("owner"),
          object_from(row.text("structure")),
          object_from(row.text("procfile_structure")),
          row.text("created"),
          row.text("updated")};
}

Release release_from(const sql::Row& row) {
  Release release;
  release.uuid = row.text("uuid");
  release.owner = row.text("owner");
  release.version = row.integer("version");
  release.summary = row.text("summary");
  release.state = row.text("state");
  release.exception = row.find("exception");
  release.created = row.text("created");
  release.updated = row.text("updated");
  auto& config = release.config;
  config.uuid = row.text("config_uuid");
  config.owner = row.text("config_owner");
  config.created = row.text("config_created");
  config.updated = row.text("config_updated");
  for (const auto& [name, map] : config_maps()) config.*map = object_from(row.text(name == "values" ? "vars" : name));
  if (!row.is_null("build_uuid")) {
    release.build = Build{row.text("build_uuid"),    row.text("build_owner"),          row.text("image"),
                          row.text("sha"),           row.text("dockerfile"),           row.text("build_created"),
                          row.text("build_updated"), object_from(row.text("procfile"))};
    if (!row.is_null("port")) release.build->port = static_cast<int>(row.integer("port"));
  }
  return release;
}

template <typename T>
std::vector<T> each_of(const sql::Rows& rows, T (*from)(const sql::Row&)) {
  std::vector<T> all;
  for (int i = 0; i < rows.size(); ++i) all.push_back(from(rows[i]));
  return all;
}

}  // namespace

json::array array_from(const std::string& text) {
  auto value = parse_json(text);
  if (!value || !value->is_array()) throw Error(ErrorKind::internal, "a stored list is damaged");
  return std::move(value->get_array());
}

json::object object_from(const std::string& text) {
  auto value = parse_json(text);
  if (!value || !value->is_object()) throw Error(ErrorKind::internal, "a stored map is damaged");
  return std::move(value->get_object());
}

std::optional<User> find_user(sql::Tx& tx, const std::string& username) {
  const auto rows = tx.query(select_user, {username});
  return rows.empty() ? std::nullopt : std::optional(user_from(rows[0]));
}
User get_user(sql::Tx& tx, const std::string& username) {
  auto user = find_user(tx, username);
  if (!user) throw Error(ErrorKind::not_found, "No User matches the given query.");
  return *user;
}

std::vector<User> users_in_order(sql::Tx& tx, std::int64_t limit, std::int64_t offset) {
  return each_of(tx.query(select_users, {limit, offset}), user_from);
}

std::optional<Bearer> bearer_of(sql::Tx& tx, const std::string& token) {
  const auto rows = tx.query(select_bearer, {to_hex(sha256(token))});
  if (rows.empty()) return std::nullopt;
  Bearer bearer{user_from(rows[0]), {.read_only = rows[0].text("scope") == "read"}};
  if (const auto apps = rows[0].find("apps")) {
    auto& names = bearer.power.apps.emplace();
    for (const auto& name : array_from(*apps)) names.emplace_back(name.as_string());
  }
  return bearer;
}

IssuedToken issue_token(sql::Tx& tx, std::int64_t user_id, const NewToken& token) {
  IssuedToken issued{.text = random_hex(40)};
  std::optional<std::string> apps;
  if (token.power.apps) apps = print_json(json::array(token.power.apps->begin(), token.power.apps->end()));
  issued.id = tx.query(insert_token, {to_hex(sha256(issued.text)), user_id, token.name,
                                      token.power.read_only ? "read" : "all", apps, token.lives_seconds})[0]
                  .integer("id");
  return issued;
}

std::optional<App> find_app(sql::Tx& tx, const std::string& id) {
  const auto rows = tx.query(select_app, {id});
  return rows.empty() ? std::nullopt : std::optional(app_from(rows[0]));
}
App get_app(sql::Tx& tx, const std::string& id) {
  auto app = find_app(tx, id);
  if (!app) throw Error(ErrorKind::not_found, "No App matches the given query.");
  return *app;
}
std::vector<App> all_apps(sql::Tx& tx) { return each_of(tx.query(select_all_apps), app_from); }
UsableApps usable_apps(sql::Tx& tx, const User& user, const TokenPower& power, std::int64_t limit,
                       std::int64_t offset) {
  std::optional<std::string> names;
  if (power.apps) names = print_json(json::array(power.apps->begin(), power.apps->end()));
  const auto count = tx.query(count_usable_apps, {user.id, user.is_superuser, names})[0].integer("n");
  return {count, each_of(tx.query(select_usable_apps, {user.id, user.is_superuser, names, limit, offset}), app_from)};
}
App lock_app(sql::Tx& tx, const std::string& uuid) {
  // In two steps: a join that waited for the lock would compare the new owner with the old one's row.
  tx.query(lock_app_row, {uuid});
  const auto rows = tx.query(select_app_by_uuid, {uuid});
  if (rows.empty()) throw Error(ErrorKind::not_found, "No App matches the given query.");
  return app_from(rows[0]);
}

bool may_use(sql::Tx& tx, const User& user, const App& app) {
  if (user.is_superuser || user.id == app.owner_id) return true;
  return !tx.query(select_grant, {app.uuid, user.id}).empty();
}

void set_structure(sql::Tx& tx, const std::string& app_uuid, const json::object& structure,
                   const json::object& procfile) {
  tx.execute(update_structure, {app_uuid, print_json(structure), print_json(procfile)});
}

std::string insert_config(sql::Tx& tx, const std::string& app_uuid, std::int64_t owner, const Config& c) {
  return tx
      .query(insert_config_query,
             {app_uuid, owner, print_json(c.values), print_json(c.memory), print_json(c.cpu), print_json(c.tags),
              print_json(c.registry), print_json(c.healthcheck), print_json(c.lifecycle_post_start),
              print_json(c.lifecycle_pre_stop), print_json(c.termination_grace_period)})[0]
      .text("uuid");
}

std::string insert_build(sql::Tx& tx, const std::string& app_uuid, std::int64_t owner, const Build& build) {
  return tx
      .query(insert_build_query,
             {app_uuid, owner, build.image, build.sha, print_json(build.procfile), build.dockerfile})[0]
      .text("uuid");
}

void set_port(sql::Tx& tx, const std::string& build_uuid, int port) {
  constexpr sql::Query update_port{"update_port", "UPDATE builds SET port = $2::integer WHERE uuid = $1::uuid"};
  tx.execute(update_port, {build_uuid, port});
}

Release insert_release(sql::Tx& tx, const NewRelease& release) {
  const auto rows = tx.query(insert_release_query, {release.app_uuid, release.owner, release.config_uuid,
                                                    release.build_uuid, release.summary, release.state});
  return get_release(tx, rows[0].text("uuid"));
}

Release live_release(sql::Tx& tx, const std::string& app_uuid) {
  const auto rows = tx.query(select_live_release, {app_uuid});
  // Every app has one: it was destroyed meanwhile.
  if (rows.empty()) throw Error(ErrorKind::not_found, "No App matches the given query.");
  return release_from(rows[0]);
}
std::optional<Release> find_release(sql::Tx& tx, const std::string& app_uuid, std::int64_t version) {
  const auto rows = tx.query(select_release, {app_uuid, version});
  return rows.empty() ? std::nullopt : std::optional(release_from(rows[0]));
}
Release get_release(sql::Tx& tx, const std::string& uuid) {
  const auto rows = tx.query(select_release_by_uuid, {uuid});
  if (rows.empty()) throw Error(ErrorKind::not_found, "No Release matches the given query.");
  return release_from(rows[0]);
}

std::vector<Release> releases_of(sql::Tx& tx, const std::string& app_uuid, std::int64_t limit, std::int64_t offset) {
  return each_of(tx.query(select_releases, {app_uuid, limit, offset}), release_from);
}

bool is_busy(sql::Tx& tx, const App& app) { return !tx.query(select_running_job, {app.uuid}).empty(); }

void refuse_while_busy(sql::Tx& tx, const App& app, ErrorKind kind) {
  const auto rows = tx.query(select_running_job, {app.uuid});
  if (rows.empty()) return;
  const auto structure = object_from(rows[0].text("structure"));
  const auto type = structure.empty() ? std::string() : "-" + std::string(structure.begin()->key());
  throw Error(kind, "Deployment for " + app.id + type + " is already in progress");
}

cluster::AppSpec app_spec(sql::Tx& tx, const App& app) {
  cluster::AppSpec spec{.app = app.name()};
  const auto settings = tx.query(select_current_settings, {app.uuid});
  if (!settings.empty()) {
    spec.maintenance = settings[0].boolean("maintenance");
    spec.routable = settings[0].boolean("routable");
    const auto whitelist = parse_json(settings[0].text("whitelist"));
    for (const auto& address : whitelist->as_array()) spec.whitelist.emplace_back(address.as_string());
  }
  const auto autoscale = settings.empty() ? json::object{} : object_from(settings[0].text("autoscale"));
  for (const auto& [type, rule] : autoscale) {
    auto number = [&](std::string_view name) { return static_cast<int>(find_integer(rule, {name}).value_or(1)); };
    if (const auto name = ProcessType::parse(std::string(type)))
      spec.autoscale[*name] = {number("min"), number("max"), number("cpu_percent")};
  }
  const auto tls = tx.query(select_current_tls, {app.uuid});
  spec.tls_enforced = !tls.empty() && tls[0].boolean("enforced");
  spec.tls_automatic = !tls.empty() && tls[0].boolean("automatic");
  const auto domains = tx.query(select_app_domains, {app.uuid});
  for (int i = 0; i < domains.size(); ++i) {
    const auto domain = domains[i].text("domain");
    spec.domains.push_back(domain);
    const auto name = domains[i].find("name");
    if (!name) continue;
    spec.domain_certificates[domain] = *name;
    const bool known =
        std::ranges::any_of(spec.certificates, [&](const auto& known_one) { return known_one.name == *name; });
    if (!known) spec.certificates.push_back({*name, domains[i].text("certificate"), Secret(domains[i].text("key"))});
  }
  const auto services = tx.query(select_app_services, {app.uuid});
  for (int i = 0; i < services.size(); ++i) {
    spec.path_services.push_back(
        {*ProcessType::parse(services[i].text("procfile_type")), split(services[i].text("path_pattern"), ',')});
  }
  return spec;
}

void tell(sql::Tx& tx, json::object message) { tx.notify("workflow", print_json(message)); }

namespace {
void insert_event_row(sql::Tx& tx, const std::string& username, const std::string& app,
                      const std::optional<std::string>& app_uuid, const std::string& what, const BeforeAfter& change) {
  tx.query(lock_events, {app_uuid.value_or("")});
  tx.query(insert_event, {username, app, app_uuid, what, print_json(change.before), print_json(change.after)});
  if (app_uuid) tell(tx, {{"event", *app_uuid}});
  log::info(app.empty() ? "accounts changed" : "app changed", kv("app", app), kv("user", username), kv("what", what));
}
}  // namespace

void record_event(sql::Tx& tx, const std::string& username, const std::string& what, const BeforeAfter& change) {
  insert_event_row(tx, username, "", std::nullopt, what, change);
}
void record_event(sql::Tx& tx, const std::string& username, const App& app, const std::string& what,
                  const BeforeAfter& change) {
  insert_event_row(tx, username, app.id, app.uuid, what, change);
}

json::value text_or_null(const std::optional<std::string>& text) {
  return text ? json::value(json::string(*text)) : json::value(nullptr);
}

json::object to_json(const User& user) {
  return {{"email", user.email},
          {"username", user.username},
          {"first_name", user.first_name},
          {"last_name", user.last_name},
          {"is_superuser", user.is_superuser},
          {"is_staff", user.is_superuser},
          {"groups", user.groups},
          {"user_permissions", json::array()},
          {"last_login", text_or_null(user.last_login)},
          {"date_joined", user.date_joined},
          {"is_active", user.is_active},
          {"id", user.id}};
}

json::object to_json(const App& app) {
  return {{"uuid", app.uuid},
          {"id", app.id},
          {"owner", app.owner},
          {"structure", app.structure},
          {"procfile_structure", app.procfile_structure},
          {"created", app.created},
          {"updated", app.updated}};
}

json::object to_json(const App& app, const Config& config) {
  json::object out{{"uuid", config.uuid}, {"app", app.id}, {"owner", config.owner}};
  for (const char* name : {"values", "memory", "lifecycle_post_start", "lifecycle_pre_stop", "cpu", "tags", "registry",
                           "healthcheck", "termination_grace_period"}) {
    for (const auto& [map_name, map] : config_maps()) {
      if (map_name != name) continue;
      json::object shown;
      for (const auto& [key, value] : config.*map) {
        shown[key] = map_name == "healthcheck" ? value : json::value(json::string(python_text(value)));
      }
      out[name] = std::move(shown);
    }
  }
  out["created"] = config.created;
  out["updated"] = config.updated;
  return out;
}

json::object to_json(const App& app, const Build& build) {
  return {{"owner", build.owner},       {"app", app.id},
          {"image", build.image},       {"sha", build.sha},
          {"procfile", build.procfile}, {"dockerfile", build.dockerfile},
          {"created", build.created},   {"updated", build.updated},
          {"uuid", build.uuid}};
}

json::object to_json(const App& app, const Release& release) {
  return {{"uuid", release.uuid},
          {"app", app.id},
          {"owner", release.owner},
          {"created", release.created},
          {"updated", release.updated},
          {"version", release.version},
          {"summary", release.summary},
          {"failed", release.state == "failed"},
          {"exception", text_or_null(release.exception)},
          {"config", release.config.uuid},
          {"build", text_or_null(release.build ? std::optional(release.build->uuid) : std::nullopt)}};
}

}  // namespace workflow::controller
