// src/engine/proxy/rules.h: nftables rules from Services and their endpoints. Pure: text in, text out.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/proxy/network.h"
#include "engine/proxy/policy.h"
#include "lib/json/json.h"

namespace workflow::engine {

enum class Protocol { tcp, udp };

struct Endpoint {
  Ipv4 ip;
  std::uint16_t port = 0;
  auto operator<=>(const Endpoint&) const = default;
};
// One port of a Service, with the endpoints that are ready for it.
struct ServicePort {
  std::string ns, service, name;
  Protocol protocol = Protocol::tcp;
  std::vector<Ipv4> cluster_ips;  // addresses that reach it inside the cluster, external IPs included
  std::uint16_t port = 0;
  std::set<std::uint16_t> host_ports;           // node port, load balancer port: on every address of the host
  std::set<std::uint16_t> load_balancer_ports;  // the part of host_ports that [::1] answers, too
  std::optional<std::uint32_t> affinity_seconds;
  std::vector<Endpoint> endpoints;  // sorted, unique
  bool operator==(const ServicePort&) const = default;
};

// The ports of one Service. `slices` are its EndpointSlices. Headless and ExternalName Services have none.
// `load_balancer_ports` moves LoadBalancer ports: Service port → host port.
std::vector<ServicePort> service_ports(const json::object& service, const std::vector<const json::object*>& slices,
                                       const std::map<std::uint16_t, std::uint16_t>& load_balancer_ports);

// The host ports of a pod's containers; none of a pod that has no address.
std::vector<ServicePort> host_ports_of(const json::object& pod);

// What the kernel should hold.
struct Rules {
  std::map<std::string, std::vector<std::string>> chains;  // of services and policies: name → rules
  std::map<std::string, std::string> services;             // "ip . proto . port" → chain
  std::map<std::string, std::string> host_ports;           // "proto . port" → chain
  std::map<std::string, std::string> ingress, egress;      // address of a pod → chain of its policies
  std::map<std::string, std::uint32_t> affinity;           // set name → seconds
  std::set<std::string> hairpins;                          // "ip . ip"
  bool operator==(const Rules&) const = default;
};
// Two Services that want one host port: the older one in `ports` wins, the other one is told in `conflicts`.
struct RulesResult {
  Rules rules;
  std::vector<std::string> conflicts;
};
RulesResult rules_for(const NetworkConfig& network, std::uint16_t api_port, const std::vector<ServicePort>& ports,
                      PolicyRules policies = {});

// The whole table, replacing whatever is there in one transaction. `masquerade_services`: the bridge hides replies from
// us (no br_netfilter), so clients in pods must see the host as source.
std::string full_script(const NetworkConfig& network, const Rules& rules, bool masquerade_services);
// What an earlier engine left in the table: chains and sets beside those that are always there. From what `nft --terse
// --json list table` prints; nullopt when it is no such thing.
struct Table {
  std::set<std::string> chains, sets;
};
std::optional<Table> table_from(std::string_view listing);
// The same rules as `full_script` in the table that is there, in one transaction. Its base chains stay: when they are
// replaced, a packet on its way may pass none of them, and a connection to a Service is refused. Session affinity
// stays, too.
std::string takeover_script(const NetworkConfig& network, const Table& before, const Rules& rules,
                            bool masquerade_services);
// Only what changed. Empty when nothing did.
std::string change_script(const NetworkConfig& network, const Rules& before, const Rules& after);

}  // namespace workflow::engine
