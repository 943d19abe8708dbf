#include "engine/engine.h"

#include <malloc.h>
#include <unistd.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <cstdio>

#include "engine/apiserver/apiserver.h"
#include "engine/controllers/controllers.h"
#include "engine/descriptors.h"
#include "engine/node/node.h"
#include "engine/options.h"
#include "engine/proxy/proxy.h"
#include "engine/store.h"
#include "lib/async/component.h"
#include "lib/base/private_folder.h"

namespace workflow::engine {

namespace {

using namespace asio::experimental::awaitable_operators;
namespace fs = std::filesystem;

NodeConfig node_config_of(const Options& options) {
  auto config = node_config(options.state, options.pod_cidr, options.service_cidr);
  config.containerd = options.containerd;
  return config;
}

// containerd ends at once when its sockets' names are too long for the kernel.
void check_state_path(const fs::path& state) {
  constexpr std::string_view longest_socket = "/containerd/containerd.sock.ttrpc";
  constexpr std::size_t limit = 104 - longest_socket.size();
  const auto size = state.string().size();
  if (size > limit) {
    throw Error(Error::Fields{{"state",
                               {"the path may have " + std::to_string(limit) + " characters and has " +
                                std::to_string(size) + ": sockets below it could not be opened"}}});
  }
}

// What large objects held goes back to the system when they go, and the pool's threads share few arenas: without it a
// burst of large writes leaves the process with their memory for good.
void give_memory_back() {
  constexpr int most_arenas = 2, own_mapping_from = 128 << 10;
  ::mallopt(M_ARENA_MAX, most_arenas);
  ::mallopt(M_MMAP_THRESHOLD, own_mapping_from);
}

ApiServerConfig api_config(const Options& options, const NodeConfig& node) {
  return {.state = options.state,
          .port = options.api_port,
          .addresses = {"127.0.0.1"},
          .service_cidr = node.network.service_cidr,
          .node_name = node.node_name,
          .load_balancer_address = load_balancer_address()};
}

ControllersConfig controllers_config(const Options& options, const ApiServerConfig& settings, const ApiServer& api,
                                     std::string api_address) {
  return {.state = options.state,
          .node_name = settings.node_name,
          .root_ca = api.ca_certificate(),
          .load_balancer_address = settings.load_balancer_address,
          .api_addresses = {std::move(api_address)},
          .api_port = options.api_port,
          .pod_usage = {},
          .admit = [&api](const kube::Resource& r, json::object o) { return api.admit(r, std::move(o)); }};
}

PodAccess access_to(Node& node) {
  return {
      .logs = [&node](auto... arguments) { return node.logs(std::move(arguments)...); },
      .exec = [&node](const http::Request& r, auto... arguments) { return node.exec(r, std::move(arguments)...); },
      .attach = [&node](const http::Request& r, auto... arguments) { return node.attach(r, std::move(arguments)...); },
      .forward = [&node](const http::Request& r,
                         auto... arguments) { return node.forward(r, std::move(arguments)...); },
      .pod_usage = [&node] { return node.pod_usage(); },
      .node_usage = [&node] { return node.node_usage(); }};
}

Task<> report_ready(ApiServer& api, Node& node, Proxy& proxy) {
  co_await node.ready();
  co_await proxy.ready();
  api.set_ready(true);
  log::info("engine ready", kv("node", node.name()));
}

// Of parts that run together the first to fail ends them all; the error that comes out of that is not always its own.
Task<> part(const char* name, Task<> task) {
  try {
    co_await std::move(task);
  } catch (const Error& error) {
    log::error("a part of the engine failed", kv("part", name), kv("error", describe(std::current_exception())));
    throw;
  }
}

Task<> run_engine(Executor executor, Options options) {
  SystemClock clock;
  auto node_settings = node_config_of(options);
  const auto network = node_settings.network;
  Store store(executor, clock, options.state / "engine.db");
  co_await prepare_network(network);
  auto settings = api_config(options, node_settings);
  settings.addresses.push_back(network.gateway.text());
  ApiServer api(executor, settings, store, clock);
  co_await api.prepare();
  node_settings.service_account_ca_pem = api.ca_certificate();
  Node node(executor, node_settings, store, clock, [&api](TokenRequest r) { return api.issue_token(std::move(r)); });
  api.connect(access_to(node));
  const ProxyConfig proxy_settings{.network = network,
                                   .api_port = options.api_port,
                                   .load_balancer_ports = options.load_balancer_ports,
                                   .upstream_dns = {}};
  Proxy proxy(executor, proxy_settings, store, clock);
  node.hold_pods_for([&proxy] { return proxy.settled(); });
  auto controllers_settings = controllers_config(options, settings, api, network.gateway.text());
  controllers_settings.pod_usage = [&node] { return node.pod_usage(); };
  Controllers controllers(executor, std::move(controllers_settings), store, clock);
  api.unready_while([&] {
    auto problem = node.problem();
    if (!problem) problem = proxy.problem();
    return problem ? problem : controllers.problem();
  });
  auto ready = part("start", report_ready(api, node, proxy));
  auto pods = part("node", node.run()) && part("proxy", proxy.run());
  auto cluster = part("api server", api.run()) && part("controllers", controllers.run());
  co_await (std::move(cluster) && std::move(pods) && std::move(ready));
}

Task<> run_api_only(Executor executor, Options options) {
  SystemClock clock;
  Store store(executor, clock, options.state / "engine.db");
  const auto settings = api_config(options, node_config_of(options));
  ApiServer api(executor, settings, store, clock);
  co_await api.prepare();
  Controllers controllers(executor, controllers_config(options, settings, api, "127.0.0.1"), store, clock);
  api.unready_while([&] { return controllers.problem(); });
  api.set_ready(true);
  co_await (api.run() && controllers.run());
}

}  // namespace

int engine_main(int argc, char** argv) {
  auto env = Env::from_process();
  const auto parsed = parse_options(argc, argv);
  if (!parsed.options) return parsed.status;
  const auto options = *parsed.options;
  try {
    configure_log("engine", env);
    env.done();
    if (::geteuid() != 0 && !options.api_only) {
      throw Error{ErrorKind::forbidden, "the engine starts containers and must run as root: use sudo"};
    }
    if (!options.api_only && !options.teardown) check_state_path(options.state);
    keep_private(options.state);
    raise_descriptor_limit();
    give_memory_back();
    if (options.api_only) return run_main([&](Executor executor) { return run_api_only(executor, options); });
    if (options.teardown) return run_main([&](Executor) { return teardown(node_config_of(options)); });
    return run_main([&](Executor executor) { return run_engine(executor, options); });
  } catch (const Error& error) {
    for (const auto& [setting, problems] : error.fields()) {
      for (const auto& problem : problems)
        std::fprintf(stderr, "workflow engine: %s: %s\n", setting.c_str(), problem.c_str());
    }
    if (error.fields().empty()) std::fprintf(stderr, "workflow engine: %s\n", error.what());
    return 1;
  }
}

}  // namespace workflow::engine
