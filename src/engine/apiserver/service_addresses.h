// src/engine/apiserver/service_addresses.h: cluster IPs and node ports of Services. Pure: what is taken is read from
// the
//   Services themselves, so nothing can leak.
#pragma once
#include <set>
#include <string>
#include <vector>

#include "engine/apiserver/api_error.h"
#include "engine/proxy/network.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct TakenAddresses {
  std::set<std::uint32_t> ips;
  std::set<int> node_ports;
};
struct ServiceRange {
  Cidr cidr;
  int first_node_port = 30000, last_node_port = 32767;
};

// Gives the Service the addresses that its type needs and releases those it needs no longer. `before` is null when it
// is new; then `taken` holds those of all other Services. Problems name the field that asks for the impossible.
std::vector<FieldProblem> assign_addresses(json::object& service, const json::object* before, const ServiceRange& range,
                                           const TakenAddresses& taken, std::uint32_t random);

}  // namespace workflow::engine
