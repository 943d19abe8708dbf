#include "controller/cluster/cluster.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "controller/cluster/app_objects.h"
#include "controller/cluster/apply.h"
#include "controller/cluster/examples.h"
#include "controller/cluster/fake_cluster.h"
#include "controller/cluster/release_objects.h"
#include "controller/cluster/turnover.h"

namespace workflow::controller::cluster {
namespace {

using namespace std::chrono_literals;

struct Scene {
  explicit Scene(Executor executor)
      : cluster(executor),
        server(executor, local(), [this](http::Request& r) { return cluster.handle(r); }),
        client(executor, connection()),
        routers(client, settings),
        place{client, settings, routers} {}
  static http::ServerConfig local() {
    http::ServerConfig config;
    config.address = "127.0.0.1";
    config.drain_timeout = 10ms;
    return config;
  }
  kube::Connection connection() const {
    kube::Connection c;
    c.server = *http::Url::parse("http://127.0.0.1:" + std::to_string(server.port()));
    c.server.path.clear();
    return c;
  }
  Task<DeployOutcome> deploy(ReleaseSpec next, std::optional<ReleaseSpec> previous = {}) {
    auto before = previous ? std::make_shared<const ReleaseSpec>(*previous) : nullptr;
    auto tell = [this](std::string_view line) { progress.emplace_back(line); };
    co_return co_await cluster::deploy(place, {app, std::move(next), before, tell});
  }
  std::string version_of(const std::string& type) const {
    const auto found = cluster.objects.find("/apis/apps/v1/namespaces/shop/deployments/shop-" + type);
    if (found == cluster.objects.end()) return "none";
    return *find_string(found->second, {"spec", "template", "metadata", "labels", "version"}) + " x" +
           std::to_string(*find_integer(found->second, {"spec", "replicas"}));
  }
  bool has(const std::string& path) const { return cluster.objects.contains(path); }

  Settings settings = example_settings();
  AppSpec app = shop_app();
  FakeCluster cluster;
  http::Server server;
  kube::Client client;
  Routers routers;
  Place place;
  std::vector<std::string> progress;
};

void with_scene(std::function<Task<>(Scene&)> test) {
  asio::io_context context(1);
  std::exception_ptr error;
  const auto all = [&]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    Scene scene(executor);
    TaskGroup tasks(executor);
    tasks.spawn("server", scene.server.serve());
    co_await with_cleanup(test(scene), [&tasks] { return tasks.stop(); });
  };
  auto limited = with_deadline(20s, "the test hangs", all());
  asio::co_spawn(context.get_executor(), std::move(limited), [&error](const std::exception_ptr& e) { error = e; });
  context.run();
  if (error) std::rethrow_exception(error);
}

ReleaseSpec release(std::int64_t version, std::map<std::string, int> counts) {
  auto r = shop_release(version);
  r.processes.clear();
  for (const auto& [name, count] : counts) r.processes[type(name)] = {.replicas = count, .command = "run " + name};
  return r;
}

TEST(Cluster, a_first_release_brings_its_app_with_it) {
  with_scene([](Scene& s) -> Task<> {
    const auto outcome = co_await s.deploy(release(2, {{"web", 2}}));
    EXPECT_TRUE(outcome.ok) << outcome.message;
    EXPECT_EQ(s.version_of("web"), "v2 x2");
    EXPECT_EQ(s.cluster.served("shop").size(), 2u);
    EXPECT_TRUE(s.has("/api/v1/namespaces/shop/secrets/shop-v2-env"));
    EXPECT_TRUE(s.has("/api/v1/namespaces/shop/secrets/shop-slug"));
    EXPECT_THAT(s.progress, testing::Contains("web: 2 of 2 pods ready"));
  });
}

TEST(Cluster, deploying_again_changes_no_pod) {
  with_scene([](Scene& s) -> Task<> {
    co_await s.deploy(release(2, {{"web", 1}}));
    const auto pods = s.cluster.served("shop");
    const auto outcome = co_await s.deploy(release(2, {{"web", 1}}));
    EXPECT_TRUE(outcome.ok);
    EXPECT_EQ(s.cluster.served("shop"), pods);
  });
}

TEST(Cluster, a_failed_release_leaves_every_type_at_the_old_one) {
  with_scene([](Scene& s) -> Task<> {
    const auto old = release(2, {{"web", 1}, {"worker", 1}});
    co_await s.deploy(old);
    const auto pods = s.cluster.served("shop");
    s.cluster.behaviour["worker/v3"] = "crash";
    const auto outcome = co_await s.deploy(release(3, {{"web", 1}, {"worker", 1}, {"clock", 1}}), old);
    EXPECT_FALSE(outcome.ok);
    EXPECT_EQ(outcome.message,
              "worker: the process exited with status 1 soon after its start. Its last lines:\nboom: cannot connect");
    EXPECT_EQ(s.version_of("web"), "v2 x1");
    EXPECT_EQ(s.version_of("worker"), "v2 x1");
    EXPECT_EQ(s.version_of("clock"), "none");
    EXPECT_EQ(s.cluster.served("shop").size(), pods.size());
  });
}

TEST(Cluster, a_first_release_that_fails_is_removed) {
  with_scene([](Scene& s) -> Task<> {
    s.cluster.behaviour["web/v2"] = "image";
    const auto outcome = co_await s.deploy(release(2, {{"web", 1}}));
    EXPECT_FALSE(outcome.ok);
    EXPECT_TRUE(outcome.message.starts_with("web: image shop:1 not found: not found")) << outcome.message;
    EXPECT_EQ(s.version_of("web"), "none");
  });
}

TEST(Cluster, after_a_broken_release_the_good_one_is_built_anew) {
  with_scene([](Scene& s) -> Task<> {
    const auto good = release(2, {{"web", 1}});
    co_await s.deploy(good);
    co_await s.deploy(release(3, {{"web", 1}}), good);  // as if the controller died before v3 was judged
    s.cluster.behaviour["web/v4"] = "crash";
    const auto outcome = co_await s.deploy(release(4, {{"web", 1}}), good);
    EXPECT_FALSE(outcome.ok);
    EXPECT_EQ(s.version_of("web"), "v2 x1");
  });
}

TEST(Cluster, the_probe_explains_what_never_gets_ready) {
  with_scene([](Scene& s) -> Task<> {
    s.cluster.behaviour["web/v2"] = "never";
    auto next = release(2, {{"web", 1}});
    next.config["DEIS_DEPLOY_TIMEOUT"] = "1";
    const auto outcome = co_await s.deploy(next);
    EXPECT_EQ(outcome.message, "web: not ready within 1 s. Its last lines:\nboom: cannot connect");
  });
}

TEST(Cluster, requests_follow_the_build_from_web_to_cmd) {
  with_scene([](Scene& s) -> Task<> {
    const auto slug = release(2, {{"web", 1}});
    co_await s.deploy(slug);
    s.cluster.writes.clear();
    auto image = image_release();
    image.version = {3};
    image.processes = {{type("cmd"), {.replicas = 1}}, {type("web"), {.replicas = 0, .command = "serve"}}};
    const auto outcome = co_await s.deploy(image, slug);
    EXPECT_TRUE(outcome.ok) << outcome.message;
    EXPECT_EQ(s.version_of("cmd"), "v3 x1");
    EXPECT_EQ(s.version_of("web"), "v3 x0");
    EXPECT_EQ(s.cluster.served("shop").size(), 1u);
    const auto position = [&s](std::string_view text) {
      return std::find_if(s.cluster.writes.begin(), s.cluster.writes.end(),
                          [&](const auto& w) { return w.find(text) != std::string::npos; }) -
             s.cluster.writes.begin();
    };
    EXPECT_LT(position("PUT /apis/apps/v1/namespaces/shop/deployments/shop-cmd"),
              position("PATCH /api/v1/namespaces/shop/services/shop"));
  });
}

TEST(Cluster, many_pods_give_way_one_after_the_other_and_enough_serve_all_the_time) {
  with_scene([](Scene& s) -> Task<> {
    const auto old = release(2, {{"web", 3}});
    co_await s.deploy(old);
    s.cluster.writes.clear();
    std::size_t fewest = 3;
    s.cluster.on_change = [&] { fewest = std::min(fewest, s.cluster.served("shop").size()); };
    const auto outcome = co_await s.deploy(release(3, {{"web", 3}}), old);
    s.cluster.on_change = {};
    EXPECT_TRUE(outcome.ok) << outcome.message;
    EXPECT_EQ(s.cluster.served("shop").size(), 3u);
    EXPECT_EQ(fewest, 3u);
    const auto& deployment = s.cluster.objects.at("/apis/apps/v1/namespaces/shop/deployments/shop-web");
    EXPECT_EQ(find_integer(deployment, {"spec", "minReadySeconds"}), 0);
    EXPECT_EQ(find_integer(deployment, {"spec", "progressDeadlineSeconds"}), 360);
    EXPECT_EQ(find_integer(deployment, {"spec", "strategy", "rollingUpdate", "maxUnavailable"}), 0);
    // Each was out of the endpoints before it was stopped.
    const auto labelled = std::ranges::count_if(
        s.cluster.writes, [](const auto& w) { return w.starts_with("PATCH /api/v1/namespaces/shop/pods/shop-web-"); });
    EXPECT_EQ(labelled, 3);
  });
}

TEST(Cluster, a_release_that_fails_half_way_leaves_no_pod_out_of_the_endpoints) {
  with_scene([](Scene& s) -> Task<> {
    const auto old = release(2, {{"web", 3}, {"worker", 2}});
    co_await s.deploy(old);
    // The first of both come up; later ones do not.
    s.cluster.on_change = [&] {
      if (s.cluster.served("shop").size() > 3) s.cluster.behaviour["web/v3"] = "crash";
    };
    const auto outcome = co_await s.deploy(release(3, {{"web", 3}, {"worker", 2}}), old);
    s.cluster.on_change = {};
    EXPECT_FALSE(outcome.ok);
    EXPECT_EQ(s.version_of("web"), "v2 x3");
    EXPECT_EQ(s.version_of("worker"), "v2 x2");
    EXPECT_EQ(s.cluster.served("shop").size(), 3u);
    const auto& deployment = s.cluster.objects.at("/apis/apps/v1/namespaces/shop/deployments/shop-web");
    EXPECT_FALSE(is_held(deployment));
  });
}

TEST(Cluster, pods_of_before_there_was_a_label_serve_until_those_that_have_it_do) {
  with_scene([](Scene& s) -> Task<> {
    const auto old = release(2, {{"web", 2}});
    co_await apply_app(s.client, s.settings, s.app);
    auto plain = deployment_for(s.settings, s.app, old, type("web"), {.replicas = 2});
    auto& labels = plain["spec"].get_object()["template"].get_object()["metadata"].get_object()["labels"].get_object();
    labels.erase(serving_label);
    co_await put(s.client, kube::resources::deployments, "shop", plain);
    auto service = service_of_type_for(s.app.app, type("web"), Selected::all_pods);
    co_await s.client.apply(kube::resources::services, "shop", service, release_manager);
    const auto selector = [&s]() -> json::object& {
      auto& live = s.cluster.objects.at("/api/v1/namespaces/shop/services/shop");
      return live.at("spec").at("selector").get_object();
    };
    selector().erase(serving_label);
    EXPECT_EQ(s.cluster.served("shop").size(), 2u);
    co_await apply_app(s.client, s.settings, s.app);
    EXPECT_EQ(s.cluster.served("shop").size(), 2u) << "a controller that starts changes nothing";
    std::size_t fewest = 2;
    s.cluster.on_change = [&] { fewest = std::min(fewest, s.cluster.served("shop").size()); };
    const auto outcome = co_await s.deploy(release(3, {{"web", 2}}), old);
    s.cluster.on_change = {};
    EXPECT_TRUE(outcome.ok) << outcome.message;
    EXPECT_EQ(fewest, 2u);
    EXPECT_TRUE(selector().contains(serving_label));
    // Going back to what has no label goes back to selecting without.
    co_await put(s.client, kube::resources::deployments, "shop", std::move(plain));
    s.cluster.behaviour["web/v4"] = "crash";
    co_await s.deploy(release(4, {{"web", 2}}), old);
    EXPECT_EQ(s.version_of("web"), "v2 x2");
  });
}

TEST(Cluster, types_that_a_release_lacks_are_stopped) {
  with_scene([](Scene& s) -> Task<> {
    const auto old = release(2, {{"web", 1}, {"worker", 2}});
    co_await s.deploy(old);
    co_await s.deploy(release(3, {{"web", 1}}), old);
    EXPECT_EQ(s.version_of("worker"), "v2 x0");
  });
}

TEST(Cluster, scales_and_restores_what_fails) {
  with_scene([](Scene& s) -> Task<> {
    auto r = release(2, {{"web", 1}, {"worker", 0}});
    co_await s.deploy(r);
    r.processes[type("web")].replicas = 3;
    auto outcome = co_await scale(s.place, {s.app, r, {{type("web"), 1}}, {}});
    EXPECT_TRUE(outcome.ok) << outcome.message;
    EXPECT_EQ(s.cluster.served("shop").size(), 3u);
    r.processes[type("web")].replicas = 0;
    outcome = co_await scale(s.place, {s.app, r, {{type("web"), 3}}, {}});
    EXPECT_EQ(s.cluster.served("shop").size(), 0u);
    s.cluster.behaviour["worker/v2"] = "crash";
    r.processes[type("worker")].replicas = 2;
    outcome = co_await scale(s.place, {s.app, r, {{type("worker"), 0}}, {}});
    EXPECT_FALSE(outcome.ok);
    EXPECT_EQ(s.version_of("worker"), "v2 x0");
    EXPECT_THROW(co_await scale(s.place, {s.app, r, {{type("ghost"), 0}}, {}}), Error);
  });
}

TEST(Cluster, a_deploy_that_is_taken_over_fails_as_it_would_have_and_puts_back_what_was_there) {
  with_scene([](Scene& s) -> Task<> {
    const auto old = release(2, {{"web", 1}});
    co_await s.deploy(old);
    for (const auto* name : {"web", "worker"}) s.cluster.behaviour[std::string(name) + "/v3"] = "image";
    const auto next = release(3, {{"web", 1}, {"worker", 1}});
    // What the controller that died had written.
    for (const auto* name : {"web", "worker"}) {
      auto deployment = deployment_for(s.settings, s.app, next, type(name), {.replicas = 1});
      co_await put(s.client, kube::resources::deployments, "shop", std::move(deployment));
    }
    const auto outcome = co_await s.deploy(next, old);
    EXPECT_FALSE(outcome.ok);
    EXPECT_NE(outcome.message.find("image shop:1 not found"), std::string::npos) << outcome.message;
    EXPECT_EQ(s.version_of("web"), "v2 x1");
    EXPECT_FALSE(s.has("/apis/apps/v1/namespaces/shop/deployments/shop-worker"));
  });
}

TEST(Cluster, restarts_by_rolling) {
  with_scene([](Scene& s) -> Task<> {
    co_await s.deploy(release(2, {{"web", 1}}));
    const auto before = s.cluster.served("shop");
    const auto pods = co_await restart(s.place, s.app.app, {.name = before.at(0)});
    EXPECT_EQ(pods.size(), 1u);
    EXPECT_NE(s.cluster.served("shop"), before);
    EXPECT_TRUE((co_await restart(s.place, s.app.app, {.name = "ghost"})).empty());
  });
}

TEST(Cluster, lists_pods_and_reads_logs) {
  with_scene([](Scene& s) -> Task<> {
    co_await s.deploy(release(2, {{"web", 2}, {"worker", 1}}));
    const auto all = co_await list_pods(s.client, s.app.app, {});
    EXPECT_EQ(all.size(), 3u);
    EXPECT_EQ(all.at(0).state, "up");
    EXPECT_EQ((co_await list_pods(s.client, s.app.app, {.type = type("worker")})).size(), 1u);
    EXPECT_EQ((co_await logs(s.client, s.app.app, 2)).size(), 3u);
  });
}

TEST(Cluster, what_a_process_said_before_its_restart_is_in_the_log) {
  with_scene([](Scene& s) -> Task<> {
    co_await s.deploy(release(2, {{"web", 1}}));
    s.cluster.log = "2026-01-01T00:00:05Z listening\n";
    s.cluster.log_before = "2026-01-01T00:00:01Z caf\xe9: out of beans\n";
    auto text = [](const std::vector<LogLine>& lines) {
      std::vector<std::string> texts;
      for (const auto& line : lines) texts.push_back(line.text.substr(line.text.find("]: ") + 3));
      return texts;
    };
    EXPECT_THAT(text(co_await logs(s.client, s.app.app, 10)), testing::ElementsAre("listening"));
    for (auto& [path, object] : s.cluster.objects) {
      if (path.find("/pods/") == std::string::npos) continue;
      object["status"].get_object()["containerStatuses"].get_array()[0].get_object()["restartCount"] = 1;
    }
    EXPECT_THAT(text(co_await logs(s.client, s.app.app, 10)),
                testing::ElementsAre("caf\xef\xbf\xbd: out of beans", "listening"));
  });
}

TEST(Cluster, what_a_command_prints_is_text_whatever_it_prints) {
  with_scene([](Scene& s) -> Task<> {
    co_await s.deploy(release(2, {{"web", 1}}));
    s.cluster.log = "caf\xe9\n";
    const auto result = co_await run(s.client, s.settings, {release(2, {}), "printf 'caf\\351\\n'; exit 3", {}});
    EXPECT_EQ(result.output, "caf\xef\xbf\xbd\n");
    EXPECT_EQ(result.exit_code, 3);
  });
}

TEST(Cluster, a_command_outlives_the_connections_of_its_log) {
  with_scene([](Scene& s) -> Task<> {
    co_await s.deploy(release(2, {{"web", 1}}));
    s.cluster.log_cuts = 3;
    std::string streamed;
    const auto result =
        co_await run(s.client, s.settings,
                     {release(2, {}), "rake db:migrate", [&streamed](std::string_view piece) { streamed += piece; }});
    EXPECT_EQ(result.output, "boom: cannot connect\n");
    EXPECT_EQ(streamed, result.output);
    EXPECT_EQ(result.exit_code, 3);
  });
}

TEST(Cluster, runs_a_command_and_takes_its_pod_away) {
  with_scene([](Scene& s) -> Task<> {
    co_await s.deploy(release(2, {{"web", 1}}));
    std::string streamed;
    const auto result =
        co_await run(s.client, s.settings,
                     {release(2, {}), "rake db:migrate", [&streamed](std::string_view piece) { streamed += piece; }});
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_EQ(result.output, "boom: cannot connect\n");
    EXPECT_EQ(streamed, result.output);
    s.cluster.behaviour["run/v2"] = "image";
    try {
      co_await run(s.client, s.settings, {release(2, {}), "ls", {}});
      ADD_FAILURE() << "no exception";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unprocessable);
      EXPECT_NE(error.message().find("image shop:1 not found"), std::string::npos) << error.message();
    }
    for (const auto& [path, object] : s.cluster.objects) EXPECT_EQ(path.find("shop-run-"), std::string::npos) << path;
  });
}

TEST(Cluster, applies_and_destroys_an_app) {
  with_scene([](Scene& s) -> Task<> {
    auto app = shop_app();
    app.path_services = {{type("api"), {"/api"}}};
    app.certificates = {{"one", "C", Secret("K")}};
    app.autoscale = {{type("web"), {2, 5, 40}}};
    const std::string autoscaler = "/apis/autoscaling/v2/namespaces/shop/horizontalpodautoscalers/shop-web";
    auto routes = co_await apply_app(s.client, s.settings, app);
    const auto version_of = [&s](const std::string& path) {
      return *find_string(s.cluster.objects.at("/api/v1/namespaces/shop/" + path), {"metadata", "resourceVersion"});
    };
    const std::map<std::string, std::string> certificates = {{"one-cert", version_of("secrets/one-cert")}};
    EXPECT_EQ(
        routes,
        (std::vector<Route>{
            {.ns = "shop", .service = "shop-api", .version = version_of("services/shop-api")},
            {.ns = "shop", .service = "shop", .version = version_of("services/shop"), .certificates = certificates}}));
    EXPECT_TRUE(s.has("/api/v1/namespaces/shop/services/shop-api"));
    EXPECT_TRUE(s.has("/api/v1/namespaces/shop/secrets/one-cert"));
    EXPECT_EQ(find_integer(s.cluster.objects.at(autoscaler), {"spec", "maxReplicas"}), 5);
    EXPECT_TRUE(co_await namespace_exists(s.client, app.app));
    app.path_services.clear();
    app.certificates.clear();
    app.autoscale.clear();
    app.maintenance = true;
    routes = co_await apply_app(s.client, s.settings, app);
    EXPECT_EQ(routes, (std::vector<Route>{{.ns = "shop", .service = "shop-api", .absent = true},
                                          {.ns = "shop", .service = "shop", .version = version_of("services/shop")}}));
    EXPECT_FALSE(s.has("/api/v1/namespaces/shop/services/shop-api"));
    EXPECT_FALSE(s.has("/api/v1/namespaces/shop/secrets/one-cert"));
    EXPECT_FALSE(s.has(autoscaler));
    EXPECT_EQ(kube::annotation_of(s.cluster.objects.at("/api/v1/namespaces/shop/services/shop"),
                                  "router.deis.io/maintenance"),
              "true");
    app.routable = false;
    routes = co_await apply_app(s.client, s.settings, app);
    EXPECT_EQ(routes, (std::vector<Route>{{.ns = "shop", .service = "shop", .absent = true}}));
    co_await destroy_app(s.client, app.app);
    EXPECT_FALSE(co_await namespace_exists(s.client, app.app));
    co_await destroy_app(s.client, app.app);
  });
}

TEST(Cluster, clean_up_keeps_what_is_referred_to) {
  with_scene([](Scene& s) -> Task<> {
    const auto old = release(2, {{"web", 1}});
    co_await s.deploy(old);
    co_await s.deploy(release(3, {{"web", 1}}), old);
    co_await clean_up(s.client, s.app.app, {3});
    EXPECT_FALSE(s.has("/api/v1/namespaces/shop/secrets/shop-v2-env"));
    EXPECT_TRUE(s.has("/api/v1/namespaces/shop/secrets/shop-v3-env"));
    const auto& slug = s.cluster.objects.at("/api/v1/namespaces/shop/secrets/shop-slug");
    EXPECT_EQ(string_map(find_path(slug, {"data"})).size(), 1u);
  });
}

}  // namespace
}  // namespace workflow::controller::cluster
