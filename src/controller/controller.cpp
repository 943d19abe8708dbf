#include "controller/controller.h"

#include <malloc.h>

#include "controller/api.h"
#include "controller/cluster/routers.h"
#include "controller/feed.h"
#include "controller/jobs.h"
#include "controller/migrations.h"
#include "lib/async/component.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

std::vector<std::string> comma_list(const std::string& text) {
  std::vector<std::string> out;
  for (const auto& part : split(text, ',')) {
    if (!trim(part).empty()) out.emplace_back(trim(part));
  }
  return out;
}

// The database may come up after us: asks until it is there, then brings the schema up to date.
Task<> migrate(sql::Db& db) {
  for (auto pause = 50ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 2s)) {
    std::string trouble;
    try {
      co_await offload([&db] { db.migrate(migrations()); });
      co_return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unavailable) throw;
      trouble = describe(std::current_exception());
    }
    log::info("waiting for the database", kv("reason", trouble));
    co_await sleep_for(pause);
  }
}

Task<> work(http::Server& server, Jobs& jobs, sql::Db& db, bool& ready) {
  auto start = [](Jobs& its_jobs, sql::Db& its_db, bool& its_ready) -> Task<> {
    co_await migrate(its_db);
    its_jobs.run();
    its_ready = true;
    log::info("controller ready");
  };
  TaskGroup tasks(co_await asio::this_coro::executor);
  tasks.spawn("start", start(jobs, db, ready));
  co_await with_cleanup(server.serve(), [&tasks] { return tasks.stop(); });
}

// Health is asked without a token, often, and by programs that know no versions of ours.
void add_health_routes(Api& api, const bool& ready) {
  auto page = [](std::string text) { return http::Response::text(200, std::move(text), "text/html; charset=utf-8"); };
  api.add("GET", "/healthz", Who::everybody, {"healthz", "Whether the process lives", "", {{200, "text"}}},
          [page](Call&) -> Task<http::Response> { co_return page("OK"); });
  api.add("GET", "/readiness", Who::everybody, {"readiness", "Whether requests can be answered", "", {{200, "text"}}},
          [page, &db = api.parts().db, &jobs = api.parts().jobs, &ready](Call&) -> Task<http::Response> {
            if (!ready) co_return http::Response::text(503, "starting: waiting for the database");
            if (!co_await db.reachable()) co_return http::Response::text(503, "the database cannot be reached");
            if (const auto problem = jobs.supervisor().problem()) co_return http::Response::text(503, *problem);
            co_return page("OK");
          });
  api.add("GET", "/metrics", Who::everybody, {"metrics", "Figures, as Prometheus reads them", "", {{200, "text"}}},
          [&metrics = api.metrics(), &jobs = api.parts().jobs](Call&) -> Task<http::Response> {
            auto text = metrics.text() + jobs.supervisor().metrics();
            co_return http::Response::text(200, std::move(text), "text/plain; version=0.0.4");
          });
}

}  // namespace

Settings Settings::from(Env& env) {
  Settings settings;
  settings.port = static_cast<std::uint16_t>(env.integer("CONTROLLER_PORT", 8000, 1, 65535));
  settings.database.host = env.required("DATABASE_HOST");
  settings.database.port = env.text("DATABASE_PORT", "5432");
  settings.database.database = env.text("DATABASE_NAME", "workflow");
  settings.database.user = env.secret_or_file("DATABASE_USER").reveal();
  settings.database.password = env.secret_or_file("DATABASE_PASSWORD");
  settings.database.connections = static_cast<int>(env.integer("DATABASE_CONNECTIONS", 8, 1, 100));
  settings.builder_key = env.secret_or_file("BUILDER_KEY");
  const auto mode = env.text("REGISTRATION_MODE", "admin_only");
  if (mode == "enabled")
    settings.registration = Registration::enabled;
  else if (mode == "disabled")
    settings.registration = Registration::disabled;
  else if (mode != "admin_only")
    env.problem("REGISTRATION_MODE", "must be enabled, admin_only or disabled, not \"" + mode + "\"");
  settings.login_failures = static_cast<int>(env.integer("LOGIN_FAILURES", 10, 0, 1'000'000));
  if (auto endpoint = env.text("LDAP_ENDPOINT", ""); !endpoint.empty()) {
    settings.directory = DirectorySettings{.endpoint = std::move(endpoint),
                                           .bind_dn = env.text("LDAP_BIND_DN", ""),
                                           .bind_password = Secret(env.text("LDAP_BIND_PASSWORD", "")),
                                           .user_base = env.text("LDAP_USER_BASEDN", ""),
                                           .user_attribute = env.text("LDAP_USER_FILTER", "username"),
                                           .group_base = env.text("LDAP_GROUP_BASEDN", ""),
                                           .group_filter = env.text("LDAP_GROUP_FILTER", "")};
  }
  for (auto& name : comma_list(env.text("RESERVED_NAMES", "deis, deis-builder, deis-workflow-manager, grafana"))) {
    settings.reserved_names.insert(std::move(name));
  }
  settings.platform_domain = lower(env.text("PLATFORM_DOMAIN", ""));
  if (!settings.platform_domain.empty() && !DomainName::parse(settings.platform_domain))
    env.problem("PLATFORM_DOMAIN", "must be a domain name");
  settings.reject_missing_procfile = env.flag("DEIS_DEPLOY_REJECT_IF_PROCFILE_MISSING", false);
  settings.remove_missing_procfile = env.flag("DEIS_DEPLOY_PROCFILE_MISSING_REMOVE", true);
  settings.hook_urls = comma_list(env.text("DEIS_DEPLOY_HOOK_URLS", ""));
  for (const auto& url : settings.hook_urls) {
    const auto number = std::to_string(&url - settings.hook_urls.data() + 1);
    if (!http::Url::parse(url)) env.problem("DEIS_DEPLOY_HOOK_URLS", "item " + number + " is not a URL");
  }
  if (auto key = env.text("DEIS_DEPLOY_HOOK_SECRET_KEY", ""); !key.empty()) settings.hook_key = Secret(std::move(key));
  if (const auto tags = env.text("DEIS_DEFAULT_CONFIG_TAGS", ""); !tags.empty()) {
    auto value = parse_json(tags);
    if (value && value->is_object())
      settings.default_tags = std::move(value->get_object());
    else
      env.problem("DEIS_DEFAULT_CONFIG_TAGS", "must be a JSON object");
  }
  if (!env.text("S3_ENDPOINT", "").empty()) settings.store = s3::Endpoint::from(env);
  settings.bucket = env.text("BUILDER_BUCKET", "builder");
  settings.cluster = cluster::Settings::from(env);
  settings.registries.own_host = env.text("DEIS_REGISTRY_HOST", "localhost:5555");
  const auto registry = "http://" +
                        env.text("DEIS_REGISTRY_SERVICE_HOST", "deis-registry." + settings.cluster.platform_namespace) +
                        ":" + std::to_string(env.integer("DEIS_REGISTRY_SERVICE_PORT", 80, 1, 65535));
  settings.registries.own = http::Url::parse(registry);
  if (!settings.registries.own) env.problem("DEIS_REGISTRY_SERVICE_HOST", "must be the name of a host");
  return settings;
}

Task<> serve(Executor executor, Settings settings) {
  SystemClock clock;
  settings.database.application = "controller-" + random_uuid();
  sql::Db db(settings.database);
  kube::Client kube(executor, kube::Connection::from_env(Env::from_process().all()));
  std::optional<s3::Client> store;
  if (settings.store) store.emplace(executor, *settings.store, clock);
  struct Wiring {
    Feed feed;
    cluster::Routers routers;
    Parts parts;
    Jobs jobs;
    Wiring(Executor ex, const Settings& s, sql::Db& d, kube::Client& k, s3::Client* st, Clock& c)
        : feed(ex, d),
          routers(k, s.cluster),
          parts{s, d, k, routers, st, jobs, c, feed, s.database.application},
          jobs(ex, parts) {}
  };
  Wiring wiring(executor, settings, db, kube, store ? &*store : nullptr, clock);
  Api api(wiring.parts);
  for (auto* add : {add_account_routes, add_app_routes, add_log_routes, add_key_routes, add_release_routes,
                    add_pod_routes, add_domain_routes, add_setting_routes, add_certificate_routes, add_hook_routes,
                    add_token_routes, add_event_routes}) {
    add(api);
  }
  bool ready = false;
  add_health_routes(api, ready);
  add_description_route(api);
  // A deploy may take long and its client waits for it: only a stalled body or a stalled reader ends a request.
  http::Server server(executor, {.port = settings.port}, api.handler());
  server.on_error(render_error);
  auto stop = [&]() -> Task<> {
    ready = false;
    co_await wiring.jobs.stop();
  };
  co_await with_cleanup(work(server, wiring.jobs, db, ready), stop);
}

int controller_main(int, char**) {
  // What a password check takes (16 MiB) goes back to the system at once; left alone, the heap of each of the pool's
  // threads would learn to keep it.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_ARENA_MAX, 4);
  return run_component<Settings>("controller", serve);
}

}  // namespace workflow::controller
