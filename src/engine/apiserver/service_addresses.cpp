#include "engine/apiserver/service_addresses.h"

#include "engine/fields.h"

namespace workflow::engine {

namespace {

constexpr std::uint32_t reserved = 16;  // .1 is `kubernetes`, .10 is DNS; the others are for people who choose

bool needs_ip(const std::string& type) { return type != "ExternalName"; }
bool needs_node_ports(const json::object& service) {
  const auto type = text_at(service, {"spec", "type"});
  return type == "NodePort" ||
         (type == "LoadBalancer" && flag_at(service, {"spec", "allocateLoadBalancerNodePorts"}, true));
}

std::optional<Ipv4> free_address(const ServiceRange& range, const TakenAddresses& taken, std::uint32_t random) {
  const auto size = std::uint32_t{1} << (32 - range.cidr.prefix);
  const auto first = std::min(reserved, size / 4), count = size - 1 - first;
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto ip = range.cidr.at(first + (random + i) % count);
    if (!taken.ips.contains(ip.value)) return ip;
  }
  return std::nullopt;
}

void assign_ip(json::object& spec, const ServiceRange& range, const TakenAddresses& taken, std::uint32_t random,
               std::vector<FieldProblem>& problems) {
  const auto wanted = text_at(spec, {"clusterIP"});
  if (wanted.empty()) {
    const auto ip = free_address(range, taken, random);
    if (!ip) {
      problems.push_back({"FieldValueInvalid", "spec.clusterIPs",
                          "failed to allocate an IP address: range is full; choose a larger --service-cidr"});
      return;
    }
    spec["clusterIP"] = ip->text();
  } else if (wanted != "None") {
    const auto ip = Ipv4::parse(wanted);
    if (!ip) {
      problems.push_back(
          invalid_field("spec.clusterIPs[0]", json::value(wanted), "must be a valid IPv4 address, or None"));
    } else if (!range.cidr.contains(*ip)) {
      problems.push_back(invalid_field("spec.clusterIPs", json::array{wanted},
                                       "failed to allocate IP " + wanted +
                                           ": the provided IP is not in the valid range. "
                                           "The range of valid IPs is " +
                                           range.cidr.text()));
    } else if (taken.ips.contains(ip->value)) {
      problems.push_back(invalid_field("spec.clusterIPs", json::array{wanted},
                                       "failed to allocate IP " + wanted + ": provided IP is already allocated"));
    }
  }
  spec["clusterIPs"] = json::array{text_at(spec, {"clusterIP"})};
}

// The node port that a port had before, by name or by number.
std::int64_t earlier_node_port(const json::object* before, const json::object& port) {
  if (before == nullptr) return 0;
  for (const auto& item : array_at(*before, {"spec", "ports"})) {
    if (!item.is_object()) continue;
    const auto& old = item.get_object();
    if (text_at(old, {"name"}) == text_at(port, {"name"}) &&
        text_at(old, {"protocol"}) == text_at(port, {"protocol"}) &&
        integer_at(old, {"port"}) == integer_at(port, {"port"})) {
      return integer_at(old, {"nodePort"}).value_or(0);
    }
  }
  return 0;
}

void assign_node_ports(json::object& service, const json::object* before, const ServiceRange& range,
                       const TakenAddresses& taken, std::uint32_t random, std::vector<FieldProblem>& problems) {
  std::set<int> ours;
  std::map<int, std::string> protocol_of;
  std::size_t i = 0;
  const auto available = [&](int p) { return !taken.node_ports.contains(p) && !ours.contains(p); };
  auto& ports = list(child(service, "spec"), "ports");
  for (auto& item : ports) {
    if (!item.is_object()) continue;
    auto& port = item.get_object();
    const auto field = "spec.ports[" + std::to_string(i++) + "].nodePort";
    auto wanted = static_cast<int>(integer_at(port, {"nodePort"}).value_or(0));
    if (wanted == 0) wanted = static_cast<int>(earlier_node_port(before, port));
    if (wanted == 0) {
      const int count = range.last_node_port - range.first_node_port + 1;
      for (int n = 0; n < count && wanted == 0; ++n) {
        const int candidate = range.first_node_port + static_cast<int>((random + static_cast<std::uint32_t>(n)) %
                                                                       static_cast<std::uint32_t>(count));
        if (available(candidate)) wanted = candidate;
      }
      if (wanted == 0) problems.push_back({"FieldValueInvalid", field, "no node port is free"});
    } else if (wanted < range.first_node_port || wanted > range.last_node_port) {
      problems.push_back(invalid_field(field, wanted,
                                       "provided port is not in the valid range. The range of valid ports is " +
                                           std::to_string(range.first_node_port) + "-" +
                                           std::to_string(range.last_node_port)));
    } else if (!available(wanted) && protocol_of[wanted] == text_at(port, {"protocol"})) {
      problems.push_back(invalid_field(field, wanted, "provided port is already allocated"));
    } else if (taken.node_ports.contains(wanted)) {
      problems.push_back(invalid_field(field, wanted, "provided port is already allocated"));
    }
    ours.insert(wanted);
    protocol_of[wanted] = text_at(port, {"protocol"});
    port["nodePort"] = wanted;
  }
}

}  // namespace

std::vector<FieldProblem> assign_addresses(json::object& service, const json::object* before, const ServiceRange& range,
                                           const TakenAddresses& taken, std::uint32_t random) {
  std::vector<FieldProblem> problems;
  auto& spec = child(service, "spec");
  const auto type = text_at(spec, {"type"});
  if (before != nullptr && needs_ip(type)) {
    const auto old = text_at(*before, {"spec", "clusterIP"});
    const auto now = text_at(spec, {"clusterIP"});
    if (now.empty() && !old.empty()) spec["clusterIP"] = old;
    if (!now.empty() && !old.empty() && now != old && text_at(*before, {"spec", "type"}) != "ExternalName") {
      problems.push_back(invalid_field("spec.clusterIPs[0]", json::value(now), "field is immutable"));
      return problems;
    }
    if (!old.empty()) spec["clusterIPs"] = json::array{text_at(spec, {"clusterIP"})};
  }
  if (!needs_ip(type)) {
    for (const auto* field : {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"})
      spec.erase(field);
  } else if (before == nullptr || text_at(*before, {"spec", "clusterIP"}).empty()) {
    assign_ip(spec, range, taken, random, problems);
  }
  if (needs_node_ports(service)) {
    assign_node_ports(service, before, range, taken, random, problems);
  } else if (before != nullptr && needs_node_ports(*before)) {
    for (auto& port : list(spec, "ports")) {
      if (port.is_object()) port.get_object().erase("nodePort");
    }
  }
  return problems;
}

}  // namespace workflow::engine
