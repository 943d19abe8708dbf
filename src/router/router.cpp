#include "router/router.h"

#include <fcntl.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <thread>

#include "lib/async/component.h"
#include "lib/async/supervisor.h"
#include "lib/http/health.h"
#include "lib/http/metrics.h"
#include "router/certificate.h"
#include "router/events.h"
#include "router/nginx.h"
#include "router/observe.h"
#include "router/publish.h"
#include "router/routes.h"
#include "router/traffic.h"

namespace workflow::router {
namespace {

using namespace std::chrono_literals;

constexpr auto shortest_pause = 2ms;  // changes that come together go out together
constexpr auto stop_limit = 22s;      // with the delay before it, within the 30 s that Kubernetes gives

// As many files as we may have: nginx inherits the limit. Returns it.
std::int64_t raise_file_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 1 << 20);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::int64_t>(limit.rlim_cur);
}

// nginx opens its log by name, which fails where our output is a socket or belongs to somebody else.
std::string access_log() {
  const Fd probe(::open("/dev/stdout", O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK));
  if (probe) return "/dev/stdout";
  log::warn("no access log: the standard output cannot be opened by name");
  return "off";
}

Runtime runtime_of(const Config& config) {
  Runtime runtime{.folder = std::filesystem::absolute(config.folder).lexically_normal().string()};
  runtime.http_port = config.http_port;
  runtime.https_port = config.https_port;
  runtime.builder_port = config.builder_port;
  runtime.status_port = config.status_port;
  runtime.router_module = config.router_module;
  runtime.stream_module = config.stream_module;
  runtime.workers = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u));
  // Each costs 0.4 KB in each worker from its start, used or not.
  runtime.connections_per_worker = static_cast<int>(std::clamp<std::int64_t>(raise_file_limit() - 64, 512, 4096));
  runtime.access_log = access_log();
  return runtime;
}

// Brings what the cluster says into effect, again and again.
class Reconciler {
 public:
  struct Parts {
    kube::Client& client;
    Cluster& cluster;
    Publisher& publisher;
    Nginx& nginx;
    Routes& routes;
    TaskGroup& events;  // on their way
    acme::Acme* acme;   // null: no authority
  };
  Reconciler(Parts parts, Runtime runtime)
      : client_(parts.client),
        cluster_(parts.cluster),
        publisher_(parts.publisher),
        nginx_(parts.nginx),
        routes_(parts.routes),
        events_(parts.events),
        acme_(parts.acme),
        runtime_(std::move(runtime)) {}

  Task<> run() {
    co_await cluster_.wait_synced();
    for (;;) {
      const auto seen = cluster_.changes().version();
      bool again = false;
      try {
        co_await once();
      } catch (const Error& error) {
        log::error("the configuration could not be brought into effect, trying again", kv("error", error.message()));
        again = true;
      }
      co_await sleep_for(again ? 1s : std::chrono::milliseconds(shortest_pause));
      if (!again) co_await cluster_.changes().wait(seen);
    }
  }

  std::optional<std::string> why_not_ready() const {
    if (!refused_.empty() && reloads_ == 0) return "nginx refuses the configuration; the log says why";
    if (in_effect_) return std::nullopt;
    return cluster_.synced() ? "nginx does not work with the configuration yet"
                             : "the Kubernetes API has not answered yet";
  }

  // What is in effect survives a reboot, what is not leaves no key behind.
  Task<> keep() {
    if (all_) co_return;
    publisher_.traffic().keep_only(labels());
    nginx_.remove_other_certificates(planner_.model());
    co_await publisher_.keep(planner_.model());
  }

  std::string traffic() { return traffic_text(publisher_.traffic(), labels()); }

  // Whether an authority that asks for it is answered by every worker of ours.
  bool serves_challenge(const std::string& token) const { return challenges_.contains(token); }

  void describe(http::Metrics& metrics) {
    metrics.gauge("router_services", "Services that are routed",
                  [this] { return static_cast<double>(planner_.places().size()); });
    metrics.gauge("router_problems", "Annotations that were not honoured", [this] {
      std::size_t count = 0;
      for (const auto& [service, problems] : told_) count += problems.size();
      return static_cast<double>(count);
    });
    metrics.gauge("router_reloads", "Configurations brought into effect",
                  [this] { return static_cast<double>(reloads_); });
    metrics.gauge("router_refused", "Configurations that nginx refused",
                  [this] { return static_cast<double>(refusals_); });
    metrics.gauge("router_nginx_restarts", "How often nginx had to be started again",
                  [this] { return static_cast<double>(nginx_.restarts()); });
    metrics.gauge("router_last_change_seconds", "How long the last change took",
                  [this] { return last_change_.count(); });
  }

 private:
  Task<> once() {
    const auto begin = std::chrono::steady_clock::now();
    auto changes = cluster_.take_changes();
    auto touched = changes && !all_ ? planner_.update(*changes) : std::nullopt;
    if (touched) {
      co_await some_anew(*changes, *touched);
    } else {
      co_await all_anew();
    }
    last_change_ = std::chrono::steady_clock::now() - begin;
  }

  Task<> all_anew() {
    all_ = true;  // until this is in effect
    planner_ = Planner(cluster_.observe());
    tell_all(planner_.problems());
    nginx_.keep_certificates(planner_.model());
    publisher_.publish(planner_.model());
    co_await publisher_.confirm();
    co_await configure(planner_.model());
    nginx_.remove_other_certificates(planner_.model());
    routes_.publish(publisher_.generation(), routes_of(planner_));
    follow_certificates();
    in_effect_ = true;
    all_ = false;
  }

  // Pods come and go all the time, annotations often: that costs nothing for apps that are not concerned.
  Task<> some_anew(const Changes& changes, const Touched& touched) {
    all_ = true;  // until this is in effect
    Routes::Changed routes;
    const auto follow = [&](const std::string& service) { routes.emplace(service, route_of(planner_, service)); };
    for (const auto& [service, change] : changes.services) follow(service);
    for (const auto place : touched.places) {
      const auto& name = planner_.model().backends[place].name;
      if (!name.empty()) follow(name.substr(0, name.find('.')) + "/" + name.substr(name.find('.') + 1));
    }
    for (const auto& [secret, change] : changes.certificates) {
      const auto prefix = secret.substr(0, secret.find('/') + 1);
      const auto& all = planner_.places();
      for (auto at = all.lower_bound(prefix); at != all.end() && at->first.starts_with(prefix); ++at) follow(at->first);
    }
    for (const auto& [service, route] : routes) tell(service, planner_.problems_of(service));
    nginx_.keep_certificates(planner_.model(), touched);
    publisher_.publish(planner_.model(), touched);
    co_await publisher_.confirm();
    routes_.publish(publisher_.generation(), std::move(routes));
    follow_certificates();
    all_ = false;
  }

  // Once the model is in effect.
  void follow_certificates() {
    challenges_.clear();
    for (const auto& challenge : planner_.model().challenges) challenges_.insert(challenge.token);
    if (acme_) acme_->want(planner_.model().automatic);
  }

  // Of all that may be counted, once each.
  std::vector<std::string_view> labels() const {
    std::vector<std::string_view> labels{"router-default-vhost"};
    const auto& own = planner_.model().settings.default_app_name;
    if (!own.empty()) labels.push_back(own);
    for (const auto& app : planner_.model().apps) {
      if (!app.label.empty()) labels.push_back(app.label);
    }
    std::ranges::sort(labels);
    labels.erase(std::ranges::unique(labels).begin(), labels.end());
    return labels;
  }

  // What nginx fixes when it starts; it changes with the router's own annotations only.
  Task<> configure(const Model& model) {
    auto text = render(model, runtime_);
    if (text == refused_) co_return;
    if (text == nginx_.text()) {
      co_await nginx_.confirm();
    } else if (const auto refusal = co_await nginx_.apply(text)) {
      ++refusals_;
      refused_ = std::move(text);
      log::error("nginx refuses the new configuration; the last good one stays", kv("nginx", *refusal));
      co_return;
    } else {
      ++reloads_;
      log::info("configuration in effect", kv("services", planner_.places().size()));
      co_await publisher_.confirm();
    }
    refused_.clear();
  }

  // Each problem is said once, until it is gone: in the log, and on its object.
  void tell(const std::string& service, const std::vector<Problem>& problems) {
    auto& told = told_[service];
    std::vector<Problem> fresh;
    for (const auto& problem : problems) {
      if (std::ranges::find(told, problem) != told.end()) continue;
      log::warn("annotation not honoured", kv("service", problem.service), kv("key", problem.key),
                kv("problem", problem.what));
      fresh.push_back(problem);
    }
    if (!fresh.empty()) events_.spawn("events", record(client_, std::move(fresh), std::chrono::system_clock::now()));
    told = problems;
    if (told.empty()) told_.erase(service);
  }

  void tell_all(const std::vector<Problem>& problems) {
    std::map<std::string, std::vector<Problem>> now;
    for (const auto& [service, told] : told_) now[service];
    for (const auto& problem : problems) now[problem.service].push_back(problem);
    for (const auto& [service, list] : now) tell(service, list);
  }

  kube::Client& client_;
  Cluster& cluster_;
  Publisher& publisher_;
  Nginx& nginx_;
  Routes& routes_;
  TaskGroup& events_;
  acme::Acme* acme_;
  std::set<std::string> challenges_;  // tokens, in effect
  Runtime runtime_;
  Planner planner_{Observed{}};
  bool all_ = true;                                   // the whole model has to be made and brought into effect
  std::map<std::string, std::vector<Problem>> told_;  // by service
  std::string refused_;
  bool in_effect_ = false;
  std::uint64_t reloads_ = 0, refusals_ = 0;
  std::chrono::duration<double> last_change_{};
};

// The self-signed certificate is kept, so that an unchanged cluster gives an unchanged configuration after a restart.
Certificate fallback_certificate(const std::string& folder) {
  std::filesystem::create_directories(folder);
  const auto crt = folder + "/fallback.crt", key = folder + "/fallback.key";
  const auto certificate_pem = find_file(crt), key_pem = find_file(key);
  if (certificate_pem && key_pem) {
    if (auto kept = check_certificate(*certificate_pem, *key_pem).certificate) return *kept;
  }
  auto made = make_self_signed_certificate();
  write_file_atomically(crt, made.certificate_pem, 0600);
  write_file_atomically(key, made.key_pem, 0600);
  return made;
}

// A while after the last change: a table that came and went need not survive a reboot.
Task<> keep_tables(Reconciler& reconciler, Routes& routes) {
  for (;;) {
    const auto seen = routes.changes().version();
    co_await reconciler.keep();
    co_await routes.changes().wait(seen);
    co_await sleep_for(1s);
  }
}

}  // namespace

Config Config::from(Env& env) {
  Config config;
  const auto port = [&env](const char* name, std::uint16_t fallback) {
    return static_cast<std::uint16_t>(env.integer(name, fallback, 1, 65535));
  };
  config.ns = env.text("POD_NAMESPACE", "deis");
  config.platform_domain = env.text("PLATFORM_DOMAIN", "");
  if (!config.platform_domain.empty() && !parse_platform_domain(config.platform_domain)) {
    env.problem("PLATFORM_DOMAIN", "must be a domain name");
  }
  config.folder = env.text("ROUTER_STATE_DIR", "/var/lib/workflow/router");
  config.nginx = env.text("ROUTER_NGINX", "/usr/sbin/nginx");
  config.router_module = env.text("ROUTER_MODULE", "/usr/lib/nginx/modules/ngx_http_router_module.so");
  config.stream_module = env.text("ROUTER_STREAM_MODULE", "/usr/lib/nginx/modules/ngx_stream_module.so");
  config.http_port = port("ROUTER_HTTP_PORT", 8080);
  config.https_port = port("ROUTER_HTTPS_PORT", 6443);
  config.builder_port = port("ROUTER_BUILDER_PORT", 2222);
  config.status_port = port("ROUTER_STATUS_PORT", 9090);
  config.health_port = port("ROUTER_HEALTH_PORT", 9091);
  config.stop_delay = env.duration("ROUTER_STOP_DELAY", 2s);
  config.acme = acme::Config::from(env);
  config.environment = env.all();
  // Both become words of nginx's configuration.
  for (const auto& [name, path] :
       {std::pair("ROUTER_STATE_DIR", config.folder), std::pair("ROUTER_MODULE", config.router_module),
        std::pair("ROUTER_STREAM_MODULE", config.stream_module)}) {
    const bool plain = std::ranges::all_of(path, [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) || std::string_view("/._-+").contains(c);
    });
    if (!plain) env.problem(name, "must consist of letters, digits and / . _ - +");
  }
  return config;
}

Task<> serve(Executor executor, Config config) {
  auto runtime = runtime_of(config);
  const auto fallback = fallback_certificate(runtime.folder);
  runtime.fallback_certificate = fallback.id;
  kube::Client client(executor, kube::Connection::from_env(config.environment));
  Publisher publisher(runtime.folder);
  Nginx nginx(executor, config.nginx, runtime);
  Cluster cluster(client,
                  {.ns = config.ns, .platform_domain = config.platform_domain, .has_authority = config.acme.enabled()});
  Routes in_effect(executor);
  TaskGroup tasks(executor), nginx_task(executor);
  std::optional<acme::Acme> acme;
  if (config.acme.enabled()) {
    auto report = [&](const std::string& service, const std::string& problem) {
      std::vector<Problem> problems{{service, "router.deis.io/tls.auto", problem}};
      tasks.spawn("events", record(client, std::move(problems), std::chrono::system_clock::now()));
    };
    acme.emplace(acme::Acme::Parts{client, config.ns, config.health_port, report}, config.acme);
  }
  Reconciler reconciler({client, cluster, publisher, nginx, in_effect, tasks, acme ? &*acme : nullptr}, runtime);
  http::Metrics metrics;
  reconciler.describe(metrics);
  if (acme) {
    metrics.gauge("router_certificates_waited_for", "Names that are to have a certificate and have none",
                  [&acme] { return static_cast<double>(acme->waiting()); });
  }
  auto routes = std::make_shared<http::Router>();
  Supervisor supervisor(executor);
  http::add_health(*routes, {.supervisor = supervisor,
                             .why_not_ready = http::at_once([&] { return reconciler.why_not_ready(); }),
                             .metrics = [&] { return metrics.text() + reconciler.traffic(); }});
  routes->add("GET", "/v1/routes/{namespace}/{service}",
              [&](http::Request& request) { return in_effect.answer(request); });
  routes->add("GET", "/v1/challenges/{token}", [&](http::Request& request) -> Task<http::Response> {
    if (reconciler.serves_challenge(request.params.at("token"))) co_return http::Response{};
    throw Error(ErrorKind::not_found, "no such challenge is answered here");
  });
  http::Server health(executor, {.port = config.health_port, .drain_timeout = 1s}, http::handler_of(routes));
  Model nothing;
  nothing.certificates.emplace(fallback.id, fallback);
  nginx.keep_certificates(nothing);
  tasks.spawn("health", health.serve());
  cluster.watch(supervisor);
  if (acme) {
    supervisor.keep("watch certificates on demand", [&acme] { return acme->watch(); });
    supervisor.keep("certificates on demand", [&acme] { return acme->run(); },
                    {.role = Supervisor::Role::housekeeping});
  }
  supervisor.keep("keep tables", [&] { return keep_tables(reconciler, in_effect); },
                  {.role = Supervisor::Role::housekeeping});
  nginx_task.spawn("nginx", nginx.run(render(Planner(Observed{}).model(), runtime)));
  log::info("router started", kv("http", config.http_port), kv("https", config.https_port),
            kv("domain", config.platform_domain));
  // Others go on sending us requests until they learn that we stop.
  auto stop = [&]() -> Task<> {
    co_await sleep_for(config.stop_delay);
    co_await nginx_task.stop();
    co_await nginx.stop(stop_limit);
    co_await supervisor.stop();
    co_await tasks.stop();
  };
  co_await with_cleanup(reconciler.run(), stop);
}

int router_main(int, char**) { return run_component<Config>("router", serve); }

}  // namespace workflow::router
