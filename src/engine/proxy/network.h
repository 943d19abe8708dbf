// src/engine/proxy/network.h: the names and addresses of one engine's pod network, and the bridge itself.
//   Everything is derived from the state folder and two CIDRs, so that several engines can share a machine, and so that
//   `teardown` finds what a killed engine left behind.
#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "lib/async/task.h"

namespace workflow::engine {

// An IPv4 address in host byte order.
struct Ipv4 {
  std::uint32_t value = 0;
  static std::optional<Ipv4> parse(std::string_view text);
  std::string text() const;
  auto operator<=>(const Ipv4&) const = default;
};
struct Cidr {
  Ipv4 base;
  int prefix = 0;
  static std::optional<Cidr> parse(std::string_view text);  // host bits must be zero
  std::string text() const;
  bool contains(Ipv4 address) const;
  bool overlaps(const Cidr& other) const;
  Ipv4 at(std::uint32_t index) const { return {base.value + index}; }
  bool operator==(const Cidr&) const = default;
};

struct NetworkConfig {
  std::string id;      // 6 hex digits of SHA-256 of the absolute state path
  std::string bridge;  // wf-<id>
  std::string table;   // workflow_<id>
  Cidr pod_cidr, service_cidr;
  Ipv4 gateway;        // the bridge's address, first of the pod CIDR: the API server listens here too
  Ipv4 kubernetes_ip;  // Service `kubernetes`, .1 of the service CIDR
  Ipv4 dns_ip;         // .10 of the service CIDR; also an address of the bridge, so that queries need no NAT
  std::string domain = "cluster.local";
};
// Throws invalid, by setting name, when a CIDR is malformed, too small, or the two overlap.
NetworkConfig network_config(const std::filesystem::path& state, std::string_view pod_cidr,
                             std::string_view service_cidr);

// The bridge's own, made from its IP address.
std::string bridge_hardware_address(const NetworkConfig& network);
// Creates the bridge with its addresses, turns on forwarding and route_localnet. Does nothing where it is right
// already. Call before anything listens on the bridge. Throws unavailable when the kernel refuses or another interface
// owns the addresses.
Task<> prepare_network(NetworkConfig network);
// Whether rules see what crosses the bridge from pod to pod.
bool is_bridge_filtered(const NetworkConfig& network);
// Removes the bridge and the nftables tables. Nothing there is fine.
Task<> remove_network(NetworkConfig network);

}  // namespace workflow::engine
