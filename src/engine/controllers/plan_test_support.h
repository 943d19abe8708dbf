// src/engine/controllers/plan_test_support.h: actions as short texts, so that a table of tests can say what it expects.
#pragma once
#include <string>
#include <variant>
#include <vector>

#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"
#include "engine/test_support.h"

namespace workflow::engine {

inline ObjectPtr object_from(std::string_view yaml) { return std::make_shared<const json::object>(from_yaml(yaml)); }
inline Time at(const char* time) { return *parse_rfc3339(time); }

// "create jobs nightly-1", "create pods web-*", "remove pods a", "merge deployments web {…}"; events only where asked
// for.
enum class Events { leave_out, include };
enum class Statuses { leave_out, include };
inline std::vector<std::string> summary_of(const Actions& actions, Events events = Events::leave_out,
                                           Statuses statuses = Statuses::leave_out) {
  std::vector<std::string> out;
  for (const auto& action : actions) {
    if (const auto* c = std::get_if<Create>(&action)) {
      const auto name = kube::name_of(c->object);
      out.push_back("create " + c->resource->plural + " " +
                    (name.empty() ? text_at(c->object, {"metadata", "generateName"}) + "*" : name));
    } else if (const auto* r = std::get_if<Remove>(&action)) {
      out.push_back("remove " + r->resource->plural + " " + r->name);
    } else if (const auto* m = std::get_if<Merge>(&action)) {
      auto patch = m->patch;
      if (statuses == Statuses::leave_out) patch.erase("status");
      if (!patch.empty()) out.push_back("merge " + m->resource->plural + " " + m->name + " " + json::serialize(patch));
    } else if (events == Events::include) {
      const auto& e = std::get<Emit>(action);
      out.push_back(e.type + " " + e.reason);
    }
  }
  return out;
}

// What the merges make of the object's status.
inline json::object status_after(const kube::Resource& r, const json::object& object, const Actions& actions) {
  json::value value = object_at(object, {"status"});
  for (const auto& action : actions) {
    const auto* m = std::get_if<Merge>(&action);
    if (m == nullptr || m->resource != &r || m->name != kube::name_of(object) || !m->patch.contains("status")) continue;
    const auto apply = [](auto&& self, json::value& target, const json::value& patch) -> void {
      if (!patch.is_object()) {
        target = patch;
        return;
      }
      if (!target.is_object()) target.emplace_object();
      for (const auto& [name, change] : patch.get_object()) {
        if (change.is_null())
          target.get_object().erase(name);
        else
          self(self, target.get_object()[name], change);
      }
    };
    apply(apply, value, m->patch.at("status"));
  }
  return value.get_object();
}

// A pod that a controller owns, ready since long ago.
struct TestPod {
  std::string name = "p", ns = "shop", owner_kind = "ReplicaSet", owner = "set", phase = "Running",
              labels = "{app: web}", more;
  bool ready = true, leaving = false;
};
inline ObjectPtr pod_of(const TestPod& p) {
  auto pod = from_yaml(
      "metadata: {name: " + p.name + ", namespace: " + p.ns + ", uid: uid-" + p.name + ", labels: " + p.labels +
      ", creationTimestamp: \"2026-01-01T00:00:00Z\"}\nspec: {nodeName: here, containers: [{name: c, image: i}]}\n" +
      "status: {phase: " + p.phase +
      ", podIP: 10.0.0.1, startTime: \"2026-01-01T00:00:00Z\", conditions: [{type: Ready, status: \"" +
      (p.ready ? "True" : "False") + "\", lastTransitionTime: \"2026-01-01T00:00:10Z\"}]}\n" + p.more);
  if (!p.owner.empty()) {
    child(pod, "metadata")["ownerReferences"] = json::array{
        json::object{{"kind", p.owner_kind}, {"name", p.owner}, {"uid", "uid-" + p.owner}, {"controller", true}}};
  }
  if (p.leaving) child(pod, "metadata")["deletionTimestamp"] = "2026-01-01T01:00:00Z";
  return std::make_shared<const json::object>(std::move(pod));
}

}  // namespace workflow::engine
