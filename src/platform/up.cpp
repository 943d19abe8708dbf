// workflow up: from an installed machine to a platform that is ready.
#include <sys/ioctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <optional>

#include "lib/async/process.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/private_folder.h"
#include "lib/base/text.h"
#include "lib/http/http.h"
#include "lib/kube/yaml.h"
#include "platform/components.h"
#include "platform/keeper.h"
#include "platform/machine.h"
#include "platform/manifest.h"
#include "platform/options.h"
#include "platform/platform.h"
#include "platform/secrets.h"

namespace workflow::platform {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

void say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// The API server's first answer. Nothing tells when a socket begins to listen, so this asks again, briefly. A keeper
// that was started and has not written its number yet may still do so, however busy the machine is.
Task<kube::Connection> connected(fs::path state, std::optional<ProcessId> starting, Executor executor) {
  for (;;) {
    try {
      const bool is_starting = starting && identify(starting->pid) == starting;
      if (!is_starting && !read_process_file(keeper_file(state)) && !read_process_file(engine_file(state))) {
        throw Error(ErrorKind::unprocessable, "the engine did not start; see " + (state / "log/engine.log").string());
      }
      if (fs::exists(state / "kubeconfig")) {
        auto connection = kube::Connection::from_kubeconfig((state / "kubeconfig").string());
        kube::Client client(executor, connection);
        co_await client.server_version();
        co_return connection;
      }
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unavailable && error.kind() != ErrorKind::timeout) throw;
    }
    co_await sleep_for(20ms);
  }
}

Task<std::string> ctr(fs::path state, std::vector<std::string> arguments) {
  std::vector<std::string> argv{"ctr", "-a", (state / "containerd/containerd.sock").string(), "-n", "k8s.io", "images"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  ProcessSpec spec{.argv = std::move(argv)};
  spec.out = ProcessSpec::Stream::pipe;
  spec.err = ProcessSpec::Stream::pipe;
  auto result = co_await run(std::move(spec), 5min);
  if (result.status != 0) {
    throw Error(ErrorKind::internal,
                "containerd refused `images " + arguments[0] + "`: " + std::string(trim(result.err)));
  }
  co_return result.out;
}

Task<> import_images(fs::path state, fs::path folder, std::vector<Image> images) {
  const auto present = co_await ctr(state, {"ls", "-q"});
  for (const auto& image : images) {
    if (("\n" + present).find("\n" + image.ref + "\n") != std::string::npos) continue;
    say("  importing image " + image.ref);
    co_await ctr(state, {"import", "--no-unpack=false", (folder / image.file).string()});
  }
}

Task<> apply(kube::Client& client, std::vector<json::object> objects) {
  for (auto& object : objects) {
    const auto version = find_string(object, {"apiVersion"}).value_or("");
    const auto kind = find_string(object, {"kind"}).value_or("");
    const auto* resource = kube::find_resource(version, kind);
    if (!resource) throw Error(ErrorKind::invalid, "the manifest has an unknown kind: " + version + " " + kind);
    auto ns = find_string(object, {"metadata", "namespace"}).value_or("");
    co_await client.apply(*resource, std::move(ns), std::move(object));
  }
}

// The way that every user takes: router, controller, database. Routers learn of a ready controller a moment after we
// do.
Task<> reach_controller(Executor executor, Options options) {
  http::Client client(executor);
  for (;;) {
    http::ClientRequest request{.url = {.scheme = "http",
                                        .host = "127.0.0.1",
                                        .path = "/readiness",
                                        .port = static_cast<std::uint16_t>(options.http_port)},
                                .timeout = 5s};
    request.headers.set("Host", "deis." + options.domain);
    int status = 0;
    try {
      auto response = co_await client.send(std::move(request));
      co_await response.text();
      status = response.status;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unavailable && error.kind() != ErrorKind::timeout) throw;
    }
    if (status == 200) co_return;
    co_await sleep_for(20ms);
  }
}

Task<> up(Executor executor, Options options) {
  const auto installation = find_installation();
  const auto index = parse_json(read_file(installation.images / "images.json"));
  const auto images = images_from_json(index.value_or(json::value()));
  const bool running = read_process_file(engine_file(options.state)).has_value();
  const bool changed = fs::exists(settings_file(options.state)) && load_options(options.state) != options;
  if (running && changed && engine_command("", load_options(options.state)) != engine_command("", options)) {
    throw Error(ErrorKind::conflict, "the platform runs with other ports or networks; run `workflow down` first");
  }
  if (!running) check_ports(options);
  save_options(options);
  say(running ? "Workflow is running; bringing it up to date" : "Starting Workflow in " + options.state.string());
  const auto starting = start_keeper(options.state);
  auto connecting = connected(options.state, starting, executor);
  auto connection = co_await with_deadline(
      60s, "the engine does not answer; see " + (options.state / "log/engine.log").string(), std::move(connecting));
  say("  engine ready");
  kube::Client client(executor, std::move(connection));
  co_await ensure_secrets(client);
  co_await publish_certificate_authorities(client);
  co_await import_images(options.state, installation.images, images);
  auto objects = fit_manifest(kube::parse_manifests(read_file(installation.manifest)), options, images);
  co_await apply(client, std::move(objects));
  co_await wait_until_ready(client, 120s, [](const std::string& name) { say("  " + name + " ready"); });
  auto reaching = reach_controller(executor, options);
  co_await with_deadline(120s,
                         "the components are ready, but the controller does not answer through the router; see "
                         "`kubectl logs -n deis deploy/deis-router`",
                         std::move(reaching));
  const auto port = options.http_port == 80 ? "" : ":" + std::to_string(options.http_port);
  say("Workflow is ready: http://deis." + options.domain + port);
}

}  // namespace

int up_main(int argc, char** argv) {
  CLI::App app{"Starts the platform on this machine, or brings a running one up to date"};
  std::string state = "/var/lib/workflow";
  OptionChanges changes;
  app.add_option("--state", state, "folder of everything that the platform keeps")->capture_default_str();
  app.add_option("--domain", changes.domain, "apps answer at <app>.<domain> (localhost)");
  app.add_option("--http-port", changes.http_port, "80");
  app.add_option("--https-port", changes.https_port, "443");
  app.add_option("--ssh-port", changes.ssh_port, "git push (2222)");
  app.add_option("--status-port", changes.status_port, "the router's health (9090)");
  app.add_option("--api-port", changes.api_port, "Kubernetes API (6443)");
  app.add_option("--pod-cidr", changes.pod_cidr, "network of pods (10.42.0.0/24)");
  app.add_option("--service-cidr", changes.service_cidr, "network of Services (10.43.0.0/24)");
  app.add_option("--build-env", changes.build_env, "NAME=value for every build; NAME= takes it back");
  CLI11_PARSE(app, argc, argv);
  log::configure("up", log::Level::warn, log::Format::logfmt);
  try {
    check_machine();
    const auto folder = fs::absolute(state).lexically_normal();
    keep_private(folder);
    const auto options = merge(load_options(folder), changes);
    int status = 0;
    const int ran = run_main([&](Executor executor) -> Task<> {
      try {
        co_await up(executor, options);
      } catch (const Error& error) {
        std::fprintf(stderr, "workflow up: %s\n", error.what());
        status = 1;
      }
    });
    return status ? status : ran;
  } catch (const Error& error) {
    std::fprintf(stderr, "workflow up: %s\n", error.what());
    for (const auto& [field, problems] : error.fields()) {
      for (const auto& problem : problems) std::fprintf(stderr, "  %s %s\n", field.c_str(), problem.c_str());
    }
    return 1;
  }
}

}  // namespace workflow::platform
