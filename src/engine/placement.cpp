#include "engine/placement.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/fields.h"
#include "engine/quantity.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

bool tolerates(const json::object& pod, const json::object& taint) {
  const auto effect = text_at(taint, {"effect"}), taint_key = text_at(taint, {"key"}),
             value = text_at(taint, {"value"});
  for (const auto& item : array_at(pod, {"spec", "tolerations"})) {
    if (!item.is_object()) continue;
    const auto& t = item.get_object();
    const auto wanted_effect = text_at(t, {"effect"}), wanted_key = text_at(t, {"key"}), op = text_at(t, {"operator"});
    if (!wanted_effect.empty() && wanted_effect != effect) continue;
    if (wanted_key.empty() ? op == "Exists"
                           : wanted_key == taint_key && (op == "Exists" || text_at(t, {"value"}) == value)) {
      return true;
    }
  }
  return false;
}

// requiredDuringSchedulingIgnoredDuringExecution: one of the terms must hold.
bool affinity_holds(const json::object& node, const json::object& pod) {
  const auto& terms = array_at(
      pod, {"spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"});
  if (terms.empty()) return true;
  for (const auto& term : terms) {
    if (!term.is_object()) continue;
    json::object selector;
    selector["matchExpressions"] = array_at(term.get_object(), {"matchExpressions"});
    const auto parsed = kube::LabelSelector::from_object(selector);
    if (parsed && parsed->matches(value_at(node, {"metadata", "labels"}))) return true;
  }
  return false;
}

struct HostPort {
  std::string protocol;
  std::int64_t number = 0;
  auto operator<=>(const HostPort&) const = default;
};
// The ports that a pod takes from the node, each with the addresses it wants them on; "" stands for every address.
using HostPorts = std::map<HostPort, std::set<std::string>>;

template <typename F>
void each_host_port(const json::object& pod, F f) {
  for (const auto* kind : {"initContainers", "containers"}) {
    for (const auto& container : array_at(pod, {"spec", kind})) {
      if (!container.is_object()) continue;
      for (const auto& item : array_at(container.get_object(), {"ports"})) {
        const auto number = item.is_object() ? integer_at(item.get_object(), {"hostPort"}) : std::nullopt;
        if (!number || *number == 0) continue;
        auto address = text_at(item.get_object(), {"hostIP"}), protocol = text_at(item.get_object(), {"protocol"});
        if (address == "0.0.0.0") address.clear();
        f(HostPort{protocol.empty() ? "TCP" : protocol, *number}, address);
      }
    }
  }
}

HostPorts host_ports_of(const json::object& pod) {
  HostPorts ports;
  each_host_port(pod, [&](HostPort port, const std::string& address) { ports[std::move(port)].insert(address); });
  return ports;
}

bool takes_one_of(const json::object& pod, const HostPorts& wanted) {
  bool takes = false;
  each_host_port(pod, [&](const HostPort& port, const std::string& address) {
    const auto found = takes ? wanted.end() : wanted.find(port);
    if (found == wanted.end()) return;
    takes = address.empty() || found->second.contains("") || found->second.contains(address);
  });
  return takes;
}

// What the pods that are there already leave too little of.
std::vector<std::string> shortages(const json::object& node, const json::object& pod,
                                   const std::vector<ObjectPtr>& pods) {
  const auto name = kube::name_of(node), uid = kube::uid_of(pod);
  std::vector<const json::object*> there;
  for (const auto& other : pods) {
    if (text_at(*other, {"spec", "nodeName"}) != name || kube::is_pod_finished(*other)) continue;
    if (uid.empty() || kube::uid_of(*other) != uid) there.push_back(other.get());
  }
  std::vector<std::string> out;
  const auto most = thousandths_at(node, {"status", "allocatable", "pods"});
  if (most && static_cast<std::int64_t>(there.size() + 1) * 1000 > *most) out.emplace_back("1 Too many pods");
  const auto ports = host_ports_of(pod);
  if (!ports.empty() &&
      std::any_of(there.begin(), there.end(), [&](const auto* other) { return takes_one_of(*other, ports); })) {
    out.emplace_back("1 node(s) didn't have free ports for the requested pod ports");
  }
  for (const auto* resource : {"cpu", "memory", "ephemeral-storage"}) {
    const auto wanted = pod_amount(pod, "requests", resource);
    const auto has = thousandths_at(node, {"status", "allocatable", resource});
    if (wanted == 0 || !has) continue;
    std::int64_t taken = 0;
    for (const auto* other : there) taken += pod_amount(*other, "requests", resource);
    if (taken + wanted > *has) out.push_back("1 Insufficient " + std::string(resource));
  }
  return out;
}

std::string no_node(const std::string& why, const char* preemption) {
  return "0/1 nodes are available: " + why + ". preemption: 0/1 nodes are available: 1 " + preemption + ".";
}

}  // namespace

std::optional<std::string> why_not_allowed(const json::object& node, const json::object& pod) {
  constexpr const char* useless = "Preemption is not helpful for scheduling";
  const auto selector = kube::LabelSelector::from_map(value_at(pod, {"spec", "nodeSelector"}));
  if (!selector.matches(value_at(node, {"metadata", "labels"})) || !affinity_holds(node, pod)) {
    return no_node("1 node(s) didn't match Pod's node affinity/selector", useless);
  }
  if (flag_at(node, {"spec", "unschedulable"})) return no_node("1 node(s) were unschedulable", useless);
  for (const auto& taint : array_at(node, {"spec", "taints"})) {
    if (!taint.is_object() || tolerates(pod, taint.get_object())) continue;
    const auto effect = text_at(taint.get_object(), {"effect"});
    if (effect != "NoSchedule" && effect != "NoExecute") continue;
    return no_node("1 node(s) had untolerated taint {" + text_at(taint.get_object(), {"key"}) + ": " +
                       text_at(taint.get_object(), {"value"}) + "}",
                   useless);
  }
  return std::nullopt;
}

std::optional<std::string> why_not_placed(const json::object& node, const json::object& pod,
                                          const std::vector<ObjectPtr>& pods) {
  if (auto why = why_not_allowed(node, pod)) return why;
  if (const auto missing = shortages(node, pod, pods); !missing.empty()) {
    return no_node(join(missing, ", "), "No preemption victims found for incoming pod");
  }
  return std::nullopt;
}

}  // namespace workflow::engine
