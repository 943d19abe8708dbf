#include "lib/kube/objects.h"
#include "controller/cluster/app_objects.h"
#include "controller/cluster/examples.h"
#include "controller/cluster/release_objects.h"
#include "lib/base/golden.h"
#include "lib/kube/yaml.h"

namespace workflow::controller::cluster {
namespace {

std::string yaml(const json::object& object) { return kube::print_yaml(object); }

json::object container_of(const json::object& deployment) {
  return find_path(deployment, {"spec", "template", "spec", "containers"})->get_array().at(0).get_object();
}

// --- apps

TEST(AppObjects, of_a_new_app) {
  auto settings = example_settings();
  settings.namespace_quota = R"({"spec":{"hard":{"pods":"10"}}})";
  const auto app = shop_app();
  expect_golden("new_app",
                kube::print_manifests({namespace_for(app.app), *quota_for(app.app, settings), service_for(app)}));
  EXPECT_FALSE(quota_for(app.app, example_settings()));
}

TEST(AppObjects, with_everything_the_router_knows) {
  auto app = shop_app();
  app.domains = {"shop", "www.example.com", "example.com"};
  app.maintenance = true;
  app.tls_enforced = true;
  app.tls_automatic = true;
  app.whitelist = {"10.0.0.0/8", "192.0.2.7"};
  app.domain_certificates = {{"www.example.com", "example-com"}, {"gone.example.com", "other"}};
  app.certificates = {{"example-com", "CERT\n", Secret("KEY\n")}};
  app.path_services = {{type("api"), {"/api", "/v[0-9]+/"}}};
  expect_golden("routed_app", kube::print_manifests({service_for(app), path_service_for(app, app.path_services[0]),
                                                     certificate_secret_for(app.app, app.certificates[0])}));
}

TEST(AppObjects, what_is_empty_is_not_written_and_removed_where_it_is_left) {
  auto app = shop_app();
  app.domains.clear();
  app.routable = false;
  const auto service = service_for(app);
  EXPECT_EQ(kube::label_of(service, "router.deis.io/routable"), "false");
  EXPECT_EQ(yaml(find_path(service, {"metadata", "annotations"})->get_object()),
            "router.deis.io/maintenance: \"false\"\nrouter.deis.io/ssl.enforce: \"false\"\n");
  EXPECT_TRUE(service_leftovers(app, service).empty());
  app.whitelist = {"10.0.0.0/8"};
  auto live = service_for(app);
  live["metadata"].get_object()["annotations"].get_object()["router.deis.io/nginx.x"] = "an operator's";
  EXPECT_TRUE(service_leftovers(app, live).empty());
  app.whitelist.clear();
  EXPECT_EQ(yaml(service_leftovers(app, live)), "metadata:\n  annotations:\n    router.deis.io/whitelist: null\n");
}

TEST(AppObjects, a_release_decides_where_requests_go) {
  const auto service = service_of_type_for(shop_app().app, *routed_type(image_release()), Selected::pods_that_serve);
  EXPECT_EQ(print_json(*find_path(service, {"spec", "selector"})),
            R"({"app":"shop","heritage":"deis","router.deis.io/serving":"true","type":"cmd"})");
  // Nothing of how the router treats the app: that may have changed since the deploy began.
  EXPECT_EQ(find_path(service, {"metadata", "annotations"}), nullptr);
  EXPECT_EQ(find_path(service_for(shop_app()), {"spec", "selector"}), nullptr);
  auto release = image_release();
  release.processes = {{type("worker"), {.replicas = 1}}};
  EXPECT_FALSE(routed_type(release));
}

// --- releases

TEST(ReleaseObjects, of_a_slug) {
  auto release = shop_release();
  release.config = {{"DATABASE_URL", "postgres://db"}, {"DEIS_APP", "mine"}, {"path", "lower"}};
  expect_golden(
      "slug_release",
      kube::print_manifests({env_secret_for(release), slug_secret_for(release),
                             deployment_for(example_settings(), shop_app(), release, type("web"), {.replicas = 2})}));
}

TEST(ReleaseObjects, of_an_image_with_every_option) {
  auto release = image_release();
  release.config = {{"IMAGE_PULL_POLICY", "Always"},
                    {"DEIS_DEPLOY_BATCHES", "2"},
                    {"DEIS_EXPOSE_POD_IP", "True"},
                    {"KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT", "3"}};
  release.registry = RegistryCredentials{"", "bob", Secret("hunter2")};
  release.tags = {{"ssd", "true"}};
  auto& cmd = release.processes[type("cmd")];
  cmd.command = "serve  --port 8080";
  cmd.memory = {"32Mi", "64Mi"};
  cmd.cpu = {"", "250m"};
  cmd.termination_grace_seconds = 60;
  cmd.post_start = "echo started";
  cmd.pre_stop = "echo stopping";
  cmd.healthcheck = {{"livenessProbe", {{"httpGet", {{"path", "/alive"}}}, {"initialDelaySeconds", 15}}},
                     {"readinessProbe", {{"httpGet", {{"path", "/ready"}, {"port", "9000"}}}}}};
  auto settings = example_settings();
  settings.debug = true;
  expect_golden(
      "image_release",
      kube::print_manifests({*pull_secret_for(release),
                             deployment_for(settings, shop_app(), release, type("cmd"), {.replicas = 3, .nodes = 5})}));
}

TEST(ReleaseObjects, of_a_worker_have_no_probe_and_no_drain) {
  auto release = shop_release();
  release.processes[type("worker")] = {.replicas = 1, .command = "rake work"};
  expect_golden("worker",
                yaml(deployment_for(example_settings(), shop_app(), release, type("worker"), {.replicas = 1})));
}

TEST(ReleaseObjects, what_a_user_wrote_is_not_expanded) {
  auto release = shop_release();
  const auto run = run_pod_for(example_settings(), release, "echo $$ $(HOME)", "7k2mq");
  EXPECT_EQ(find_path(run, {"spec", "containers"})->get_array().at(0).at("args").get_array().at(0).get_string(),
            "echo $$$$ $$(HOME)");
  release.build = BuildKind::dockerfile;
  release.image = "shop:1";
  release.processes[type("web")].command = "serve --pid $$";
  const json::object exec{{"exec", {{"command", {"sh", "-c", "test $$ -gt 1 && echo $(hostname)"}}}}};
  release.processes[type("web")].healthcheck = {{"livenessProbe", exec}};
  release.processes[type("web")].post_start = "echo $$";
  const auto web = container_of(deployment_for(example_settings(), shop_app(), release, type("web"), {.replicas = 1}));
  EXPECT_EQ(print_json(web.at("args")), R"(["serve --pid $$$$"])");
  EXPECT_EQ(print_json(*find_path(web, {"livenessProbe", "exec", "command"})),
            R"x(["sh","-c","test $$$$ -gt 1 && echo $$(hostname)"])x");
  // Kubernetes takes the words of a hook as they are.
  EXPECT_EQ(print_json(*find_path(web, {"lifecycle", "postStart", "exec", "command"})),
            R"(["/bin/bash","-c","echo $$"])");
}

TEST(ReleaseObjects, of_a_one_off_command) {
  auto release = shop_release();
  release.run.memory = {"", "1Gi"};
  expect_golden("run_pod", kube::print_manifests({run_pod_for(example_settings(), release, "rake db:migrate", "7k2mq"),
                                                  run_pod_for(example_settings(), image_release(), "ls -l", "7k2mq")}));
}

TEST(ReleaseObjects, commands_follow_the_build) {
  struct Case {
    BuildKind build;
    std::string type, procfile, command, args;
  };
  const Case cases[] = {
      {BuildKind::slug, "web", "node x", R"(["/runner/init"])", R"(["start","web"])"},
      {BuildKind::slug, "web", "", R"(["/runner/init"])", R"(["start","web"])"},
      {BuildKind::image, "cmd", "", "null", "null"},
      {BuildKind::image, "cmd", "serve --x  1", "null", R"(["serve","--x","1"])"},
      {BuildKind::dockerfile, "web", "serve \"a b\"", R"(["/bin/bash","-c"])", R"(["serve \"a b\""])"}};
  for (const auto& c : cases) {
    auto release = image_release();
    release.build = c.build;
    release.processes = {{type(c.type), {.replicas = 1, .command = c.procfile}}};
    auto container =
        container_of(deployment_for(example_settings(), shop_app(), release, type(c.type), {.replicas = 1}));
    EXPECT_EQ(print_json(container["command"]), c.command) << c.type << ": " << c.procfile;
    EXPECT_EQ(print_json(container["args"]), c.args) << c.type << ": " << c.procfile;
  }
}

TEST(ReleaseObjects, the_drain_leaves_time_to_stop) {
  struct Case {
    int grace;
    std::string seconds;
  };
  const Case cases[] = {{30, "2"}, {3, "1"}, {1, ""}, {0, ""}};
  for (const auto& [grace, expected] : cases) {
    auto release = shop_release();
    release.processes[type("web")].termination_grace_seconds = grace;
    const auto deployment = deployment_for(example_settings(), shop_app(), release, type("web"), {.replicas = 1});
    const auto container = container_of(deployment);
    const auto* command = find_path(container, {"lifecycle", "preStop", "exec", "command"});
    EXPECT_EQ(command == nullptr ? "" : std::string(command->get_array().at(1).get_string()), expected) << grace;
  }
}

TEST(ReleaseObjects, the_limit_grows_with_batches_and_delays) {
  auto release = shop_release();
  const auto limit = [&](int replicas, std::size_t nodes) {
    return rollout_limit(example_settings(), shop_app(), release, type("web"), {.replicas = replicas, .nodes = nodes})
        .count();
  };
  EXPECT_EQ(limit(1, 1), 120);
  EXPECT_EQ(limit(0, 1), 120);
  EXPECT_EQ(limit(5, 2), 360);
  EXPECT_EQ(limit(5, 0), 600) << "no node matches: scheduling will say so";
  release.processes[type("web")].healthcheck = {{"livenessProbe", {{"tcpSocket", json::object{}}}}};
  EXPECT_EQ(limit(1, 1), 170);
  release.config["DEIS_DEPLOY_TIMEOUT"] = "10";
  EXPECT_EQ(limit(1, 1), 60);
}

TEST(ReleaseObjects, surge_is_never_zero_nor_more_than_the_pods) {
  const auto surge = [](int replicas, std::size_t nodes) {
    const auto deployment = deployment_for(example_settings(), shop_app(), shop_release(), type("web"),
                                           {.replicas = replicas, .nodes = nodes});
    return find_integer(deployment, {"spec", "strategy", "rollingUpdate", "maxSurge"});
  };
  EXPECT_EQ(surge(3, 1), 1);
  EXPECT_EQ(surge(3, 2), 2);
  EXPECT_EQ(surge(3, 9), 3);
  EXPECT_EQ(surge(0, 0), 1);
}

TEST(ReleaseObjects, credentials_name_their_registry) {
  struct Case {
    std::string hostname, image, host;
  };
  const Case cases[] = {{"", "registry.example.com/shop:1", "registry.example.com"},
                        {"", "shop:1", "https://index.docker.io/v1/"},
                        {"", "bob/shop", "https://index.docker.io/v1/"},
                        {"", "localhost:5000/shop", "localhost:5000"},
                        {"quay.io", "bob/shop", "quay.io"}};
  for (const auto& c : cases) {
    auto release = image_release();
    release.image = c.image;
    release.registry = RegistryCredentials{c.hostname, "bob", Secret("pw")};
    EXPECT_EQ(kube::secret_values(*pull_secret_for(release)).at(".dockerconfigjson"),
              R"({"auths":{")" + c.host + R"(":{"auth":"Ym9iOnB3"}}})");
  }
}

TEST(CheckRelease, names_everything_that_cannot_run) {
  auto release = image_release();
  release.port.reset();
  release.image.clear();
  release.tags = {{"bad key", "x"}};
  release.processes[type("worker")] = {.replicas = 1};
  release.processes[type(std::string(60, 'x'))] = {};
  try {
    check_release(shop_app(), release);
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(
        error.fields(),
        (Error::Fields{{"PORT", {"Expose a port or make the app non routable by changing the process type"}},
                       {"image", {"is required"}},
                       {"tags", {"bad key=x is not a label"}},
                       {"worker", {"has no command: add a line \"worker: <command>\" to the Procfile"}},
                       {std::string(60, 'x'), {"app name and process type together may have at most 62 characters"}}}));
  }
  EXPECT_NO_THROW(check_release(shop_app(), shop_release()));
  EXPECT_NO_THROW(check_release(shop_app(), image_release()));
}

}  // namespace
}  // namespace workflow::controller::cluster
