#include "engine/placement.h"

#include "engine/fields.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

constexpr std::string_view no_selector_match =
    "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. preemption: 0/1 nodes are "
    "available: "
    "1 Preemption is not helpful for scheduling.";

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

}  // namespace

std::optional<std::string> why_not_placed(const json::object& node, const json::object& pod) {
  const auto selector = kube::LabelSelector::from_map(value_at(pod, {"spec", "nodeSelector"}));
  if (!selector.matches(value_at(node, {"metadata", "labels"})) || !affinity_holds(node, pod)) {
    return std::string(no_selector_match);
  }
  if (flag_at(node, {"spec", "unschedulable"})) return "0/1 nodes are available: 1 node(s) were unschedulable.";
  for (const auto& taint : array_at(node, {"spec", "taints"})) {
    if (!taint.is_object() || tolerates(pod, taint.get_object())) continue;
    const auto effect = text_at(taint.get_object(), {"effect"});
    if (effect != "NoSchedule" && effect != "NoExecute") continue;
    return "0/1 nodes are available: 1 node(s) had untolerated taint {" + text_at(taint.get_object(), {"key"}) + ": " +
           text_at(taint.get_object(), {"value"}) + "}.";
  }
  return std::nullopt;
}

}  // namespace workflow::engine
