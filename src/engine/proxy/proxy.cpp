#include "engine/proxy/proxy.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <set>

#include "engine/descriptors.h"
#include "engine/proxy/dns_server.h"
#include "engine/proxy/rules.h"
#include "lib/async/accept.h"
#include "lib/async/process.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;
using asio::ip::tcp;

constexpr const char* slice_owner_label = "kubernetes.io/service-name";

// The table of an engine before us; nullopt when there is none.
Task<std::optional<Table>> table_there(const NetworkConfig& network) {
  ProcessSpec list{.argv = {"nft", "--terse", "--json", "list", "table", "ip", network.table}};
  const auto done = co_await workflow::run(std::move(list), 10s);
  co_return done.status == 0 ? table_from(done.out) : std::nullopt;
}

Task<> run_nft(std::string script) {
  auto done = co_await workflow::run(ProcessSpec{.argv = {"nft", "-f", "-"}}, 10s, std::move(script));
  if (done.status != 0) throw Error(ErrorKind::internal, "nft refused the rules: " + std::string(trim(done.err)));
}

// A forwarded connection: when a byte last went through, and whether one side has ended.
struct Flow {
  explicit Flow(const Executor& executor) : look(executor) {}
  std::chrono::steady_clock::time_point last = std::chrono::steady_clock::now();
  bool half_closed = false;
  asio::steady_timer look;  // cancelled when there is less time than it was set to
};

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

// Copies one way until the source ends.
Task<> pump(tcp::socket& from, tcp::socket& to, Flow& flow) {
  std::string buffer(64u << 10, '\0');
  boost::system::error_code ignored;
  for (;;) {
    const auto [error, size] = co_await from.async_read_some(asio::buffer(buffer), quietly);
    if (error) break;
    flow.last = std::chrono::steady_clock::now();
    const auto [failed, written] = co_await asio::async_write(to, asio::buffer(buffer, size), quietly);
    if (failed) break;
    flow.last = std::chrono::steady_clock::now();
  }
  to.shutdown(tcp::socket::shutdown_send, ignored);
  flow.half_closed = true;
  flow.look.cancel();
}

// Returns once the connection was silent for too long: whoever never ends one would hold it for ever.
Task<> silence(Flow& flow) {
  for (;;) {
    const auto end = flow.last + (flow.half_closed ? std::chrono::minutes(1) : std::chrono::hours(1));
    if (std::chrono::steady_clock::now() >= end) co_return;
    flow.look.expires_at(end);
    co_await flow.look.async_wait(quietly);
  }
}

// [::1]:port → 127.0.0.1:port, where nftables takes over: names such as app.localhost resolve to ::1 first.
Task<> forward(tcp::socket from, std::uint16_t port) {
  using namespace asio::experimental::awaitable_operators;
  const auto executor = co_await asio::this_coro::executor;
  tcp::socket to(executor);
  const auto [error] = co_await to.async_connect({asio::ip::address_v4::loopback(), port}, quietly);
  if (error) co_return;
  Flow flow(executor);
  co_await ((pump(from, to, flow) && pump(to, from, flow)) || silence(flow));
}

// Of a pod, its address, its end and its labels matter.
bool changes_rules(const StoreEvent& event) {
  if (!event.before || event.type == StoreEvent::Type::deleted) return true;
  for (const std::string_view field : {"podIP", "phase"}) {
    if (find_string(*event.before, {"status", field}) != find_string(*event.object, {"status", field})) return true;
  }
  const auto *before = find_path(*event.before, {"metadata", "labels"}),
             *after = find_path(*event.object, {"metadata", "labels"});
  return (before == nullptr) != (after == nullptr) || (before != nullptr && *before != *after);
}

Task<> serve_loopback(std::uint16_t port) {
  constexpr std::size_t most = 1000;
  auto executor = co_await asio::this_coro::executor;
  tcp::acceptor acceptor(executor, tcp::endpoint(asio::ip::address_v6::loopback(), port));
  Connections connections(executor,
                          {.most = share_of_descriptors(8, most), .when_full = Connections::WhenFull::close_oldest});
  auto serve = [port](tcp::socket socket) { return forward(std::move(socket), port); };
  co_await with_cleanup(accept_all(acceptor, connections, serve), [&connections] { return connections.stop(); });
}

}  // namespace

struct Proxy::State {
  State(Executor ex, ProxyConfig c, Store& s)
      : config(std::move(c)), store(s), supervisor(ex), tasks(ex), changes(ex), ready_note(ex), executor(ex) {}

  ProxyConfig config;
  Store& store;
  Supervisor supervisor;
  TaskGroup tasks;
  Notifier changes, ready_note;
  Executor executor;
  bool ready = false;
  std::uint64_t applied_version = 0;  // of `changes`: the rules in the kernel know everything up to it
  std::optional<Rules> applied;
  std::set<std::string> told_conflicts;
  std::map<std::uint16_t, std::unique_ptr<TaskGroup>> forwarders;
  std::vector<std::unique_ptr<Store::Subscription>> subscriptions;
  // The answers point into these.
  ObjectPtr held_service;
  std::vector<ObjectPtr> held_slices;

  // What the rules follow from, as it is now.
  struct Snapshot {
    std::vector<ObjectPtr> slices, services, pods, policies, namespaces;
  };
  Snapshot snapshot() const {
    namespace res = kube::resources;
    return {.slices = store.list(res::endpoint_slices),
            .services = store.list(res::services),
            .pods = store.list(res::pods),
            .policies = store.list(res::network_policies),
            .namespaces = store.list(res::namespaces)};
  }

  static std::vector<ServicePort> wanted_ports(const ProxyConfig& config, Snapshot& from) {
    std::map<std::string, std::vector<ObjectPtr>> slices;
    for (auto& slice : from.slices) {
      slices[kube::namespace_of(*slice) + "/" + kube::label_of(*slice, slice_owner_label)].push_back(slice);
    }
    auto& services = from.services;
    // The older one wins a host port that two want.
    std::ranges::sort(services, {}, [](const ObjectPtr& service) {
      return std::pair(find_string(*service, {"metadata", "creationTimestamp"}).value_or(""),
                       kube::namespace_of(*service) + "/" + kube::name_of(*service));
    });
    std::vector<ServicePort> ports;
    for (const auto& service : services) {
      std::vector<const json::object*> own;
      for (const auto& slice : slices[kube::namespace_of(*service) + "/" + kube::name_of(*service)])
        own.push_back(slice.get());
      for (auto& port : service_ports(*service, own, config.load_balancer_ports)) ports.push_back(std::move(port));
    }
    for (const auto& pod : from.pods) {
      for (auto& port : host_ports_of(*pod)) ports.push_back(std::move(port));
    }
    return ports;
  }

  // On the pool: the rules of a thousand Services are more than a turn's work.
  Task<> apply() {
    std::vector<ServicePort> ports;
    auto compute = [&config = config, &ports, from = snapshot()]() mutable {
      ports = wanted_ports(config, from);
      return rules_for(config.network, config.api_port, ports, policy_rules(from.policies, from.pods, from.namespaces));
    };
    auto wanted = co_await offload(std::move(compute));
    for (const auto& conflict : wanted.conflicts) {
      if (told_conflicts.insert(conflict).second) log::warn("host port is taken", kv("conflict", conflict));
    }
    const bool filtered = is_bridge_filtered(config.network);
    const auto before = applied ? std::nullopt : co_await table_there(config.network);
    auto write = [&] {
      return applied  ? change_script(config.network, *applied, wanted.rules)
             : before ? takeover_script(config.network, *before, wanted.rules, !filtered)
                      : full_script(config.network, wanted.rules, !filtered);
    };
    auto script = co_await offload(write);
    if (!script.empty()) {
      std::exception_ptr failure;
      try {
        co_await run_nft(std::move(script));
      } catch (const Error&) {
        failure = std::current_exception();
      }
      if (failure) {
        // Whatever is there now, the whole table replaces it.
        log::warn("rules are written anew", kv("reason", describe(failure)));
        co_await run_nft(full_script(config.network, wanted.rules, !filtered));
      }
    }
    applied = std::move(wanted.rules);
    std::set<std::uint16_t> loopback;
    for (const auto& port : ports) loopback.insert(port.load_balancer_ports.begin(), port.load_balancer_ports.end());
    co_await follow_loopback(loopback);
  }

  Task<> follow_loopback(const std::set<std::uint16_t>& wanted) {
    for (const auto port : wanted) {
      if (forwarders.contains(port)) continue;
      auto group = std::make_unique<TaskGroup>(executor);
      // A machine without IPv6 has no [::1]: that is no reason for the engine to be called unready.
      auto options = accept_pauses();
      options.role = Supervisor::Role::housekeeping;
      const auto name = "[::1]:" + std::to_string(port);
      group->spawn("loopback", supervisor.forever(name, [port] { return serve_loopback(port); }, options));
      forwarders[port] = std::move(group);
    }
    for (auto at = forwarders.begin(); at != forwarders.end();) {
      if (wanted.contains(at->first)) {
        ++at;
        continue;
      }
      auto group = std::move(at->second);
      at = forwarders.erase(at);
      co_await group->stop();
    }
  }

  Task<> follow() {
    for (;;) {
      const auto seen = changes.version();
      std::exception_ptr failure;
      try {
        co_await apply();
      } catch (...) {
        failure = std::current_exception();
      }
      if (failure) {
        applied.reset();  // nobody knows what is in the kernel now
        std::rethrow_exception(failure);
      }
      ready = true;
      applied_version = seen;
      ready_note.notify_all();
      co_await changes.wait(seen);
    }
  }

  dns::Zone zone() {
    dns::Zone zone;
    zone.domain = config.network.domain;
    zone.service = [this](const std::string& ns, const std::string& name) -> const json::object* {
      held_service = store.find(kube::resources::services, ns, name);
      return held_service.get();
    };
    zone.slices = [this](const std::string& ns, const std::string& service) {
      held_slices.clear();
      std::vector<const json::object*> found;
      for (auto& slice : store.list(kube::resources::endpoint_slices, ns)) {
        if (kube::label_of(*slice, slice_owner_label) != service) continue;
        held_slices.push_back(slice);
        found.push_back(slice.get());
      }
      return found;
    };
    zone.name_of = [this](Ipv4 address) -> std::string {
      const auto text = address.text();
      for (const auto& service : store.list(kube::resources::services)) {
        if (find_string(*service, {"spec", "clusterIP"}) == text)
          return kube::name_of(*service) + "." + kube::namespace_of(*service);
      }
      return "";
    };
    return zone;
  }

  Task<> work() {
    for (const auto* kind : {&kube::resources::services, &kube::resources::endpoint_slices,
                             &kube::resources::network_policies, &kube::resources::namespaces}) {
      subscriptions.push_back(store.subscribe(*kind, [this](const StoreEvent&) { changes.notify_all(); }));
    }
    subscriptions.push_back(store.subscribe(kube::resources::pods, [this](const StoreEvent& event) {
      if (changes_rules(event)) changes.notify_all();
    }));
    Supervisor::Options pauses;
    pauses.longest_pause = std::chrono::seconds(1);
    tasks.spawn("rules", supervisor.forever("rules of Services", [this] { return follow(); }, pauses));
    auto upstream = config.upstream_dns;
    if (upstream.empty()) upstream = dns::parse_resolv_conf(find_file("/etc/resolv.conf").value_or(""));
    const auto names = zone();
    co_await dns::serve({.address = config.network.dns_ip.text(), .upstream = std::move(upstream)}, names, supervisor);
  }
};

Proxy::Proxy(Executor executor, ProxyConfig config, Store& store, Clock&)
    : state_(std::make_shared<State>(executor, std::move(config), store)) {}
Proxy::~Proxy() = default;

Task<> Proxy::run() {
  auto stop = [state = state_]() -> Task<> {
    state->subscriptions.clear();
    co_await state->tasks.stop();
    for (auto& [port, group] : state->forwarders) co_await group->stop();
    state->forwarders.clear();
  };
  co_await with_cleanup(state_->work(), stop);
}

std::optional<std::string> Proxy::problem() const { return state_->supervisor.problem(); }

Task<> Proxy::ready() {
  while (!state_->ready) co_await state_->ready_note.wait(state_->ready_note.version());
}

Task<> Proxy::settled() {
  const auto wanted = state_->changes.version();
  while (!state_->ready || state_->applied_version < wanted)
    co_await state_->ready_note.wait(state_->ready_note.version());
}

std::string load_balancer_address() {
  ifaddrs* list = nullptr;
  std::string found = "127.0.0.1";
  if (::getifaddrs(&list) != 0) return found;
  for (const auto* one = list; one; one = one->ifa_next) {
    if (!one->ifa_addr || one->ifa_addr->sa_family != AF_INET) continue;
    const Ipv4 address{ntohl(reinterpret_cast<const sockaddr_in*>(one->ifa_addr)->sin_addr.s_addr)};
    const std::string name = one->ifa_name;
    // The host's own way out, not a bridge of ours or of another container runtime.
    if (name == "lo" || name.starts_with("wf-") || name.starts_with("docker") || name.starts_with("br-") ||
        name.starts_with("veth"))
      continue;
    found = address.text();
    break;
  }
  ::freeifaddrs(list);
  return found;
}

}  // namespace workflow::engine
