// src/engine/proxy/proxy.h: Services for the pods of one machine: nftables rules, DNS, host ports.
//   Owns    the nftables tables and the DNS sockets. Follows services and endpoint slices in the store.
//   Used by engine.cpp. Needs prepare_network() first.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/proxy/network.h"
#include "engine/store.h"

namespace workflow::engine {

struct ProxyConfig {
  NetworkConfig network;
  std::uint16_t api_port = 6443;  // the API server on network.gateway: behind Service `kubernetes`
  // LoadBalancer Services: Service port → host port where they differ (`--load-balancer-port 80=8080`).
  std::map<std::uint16_t, std::uint16_t> load_balancer_ports;
  std::vector<std::string> upstream_dns;  // "address" or "address:port"; empty: from /etc/resolv.conf
};

class Proxy {
 public:
  Proxy(Executor executor, ProxyConfig config, Store& store, Clock& clock);
  ~Proxy();
  // Applies the rules for what the store holds, then answers DNS and follows changes until cancelled. Rules stay in the
  // kernel afterwards: traffic goes on while the engine restarts.
  Task<> run();
  // Resolves once the first complete set of rules is in the kernel.
  Task<> ready();
  // Resolves once the rules in the kernel know everything that the store holds now.
  Task<> settled();
  std::optional<std::string> problem() const;  // what keeps failing

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// The address that a LoadBalancer Service shows in status.loadBalancer.ingress: the host's own.
std::string load_balancer_address();

}  // namespace workflow::engine
