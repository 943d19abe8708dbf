#include "engine/apiserver/service_addresses.h"

#include <functional>
#include <map>
#include <tuple>

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

// The node ports that a Service had, by the name, protocol and number of their ports.
using PortKey = std::tuple<std::string, std::string, std::int64_t>;
PortKey key_of(const json::object& port) {
  return {text_at(port, {"name"}), text_at(port, {"protocol"}), integer_at(port, {"port"}).value_or(0)};
}
std::map<PortKey, int> node_ports_of(const json::object* service) {
  std::map<PortKey, int> ports;
  if (service == nullptr) return ports;
  for (const auto& item : array_at(*service, {"spec", "ports"})) {
    if (!item.is_object()) continue;
    const auto& port = item.get_object();
    ports.try_emplace(key_of(port), static_cast<int>(integer_at(port, {"nodePort"}).value_or(0)));
  }
  return ports;
}

// Hands out the free node ports one after the other, from one that chance chose.
class FreeNodePorts {
 public:
  FreeNodePorts(const ServiceRange& range, std::uint32_t random)
      : first_(range.first_node_port), count_(range.last_node_port - first_ + 1), start_(random) {}
  std::optional<int> next(const std::function<bool(int)>& available) {
    for (; tried_ < count_; ++tried_) {
      const auto turn = (start_ + static_cast<std::uint32_t>(tried_)) % static_cast<std::uint32_t>(count_);
      const int candidate = first_ + static_cast<int>(turn);
      if (available(candidate)) return candidate;
    }
    return std::nullopt;
  }

 private:
  int first_, count_, tried_ = 0;
  std::uint32_t start_;
};

void assign_node_ports(json::object& service, const json::object* before, const ServiceRange& range,
                       const TakenAddresses& taken, std::uint32_t random, std::vector<FieldProblem>& problems) {
  std::set<int> ours;
  std::map<int, std::string> protocol_of;
  std::size_t i = 0;
  const auto available = [&](int p) { return !taken.node_ports.contains(p) && !ours.contains(p); };
  const auto earlier = node_ports_of(before);
  FreeNodePorts free(range, random);
  auto& ports = list(child(service, "spec"), "ports");
  for (auto& item : ports) {
    if (!item.is_object()) continue;
    auto& port = item.get_object();
    const auto field = "spec.ports[" + std::to_string(i++) + "].nodePort";
    auto wanted = static_cast<int>(integer_at(port, {"nodePort"}).value_or(0));
    if (const auto found = earlier.find(key_of(port)); wanted == 0 && found != earlier.end()) wanted = found->second;
    if (wanted == 0) {
      const auto found = free.next(available);
      if (!found) {
        problems.push_back({"FieldValueInvalid", field, "no node port is free"});
        return;  // nor for any other
      }
      wanted = *found;
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
