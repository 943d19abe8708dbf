// Random histories of Deployments: changes, scaling, lost pods, a crashing engine. See simulator.h.
#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/controllers/simulator.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {
namespace {

namespace resources = kube::resources;

json::object deployment(Simulator& s) {
  static const json::object base = kube::parse_yaml(R"(
metadata: {name: web}
spec:
  replicas: 3
  revisionHistoryLimit: 2
  progressDeadlineSeconds: 600
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:0"}]}
)")
                                       .as_object();
  auto object = base;
  auto& spec = child(object, "spec");
  spec["replicas"] = 1 + s.roll(6);
  static const std::pair<json::value, json::value> strategies[] = {{1, 0},         {0, 1},      {2, 1},
                                                                   {"25%", "25%"}, {"100%", 0}, {1, "50%"}};
  const auto& [surge, unavailable] = strategies[s.roll(std::size(strategies))];
  child(child(spec, "strategy"), "rollingUpdate") = {{"maxSurge", surge}, {"maxUnavailable", unavailable}};
  return object;
}

void change_template(Simulator& s, std::size_t versions) {
  const auto image = "web:" + std::to_string(s.roll(versions));
  s.edit(resources::deployments, "web", [&](json::object& d) {
    json::object container{{"name", "web"}, {"image", image}};
    child(child(child(d, "spec"), "template"), "spec")["containers"] = json::array{std::move(container)};
  });
}

// After everything came to rest: exactly what was asked for, and nothing else.
std::string why_not_settled(Simulator& s) {
  const auto d = s.find(resources::deployments, "web");
  const auto replicas = integer_at(*d, {"spec", "replicas"}).value_or(1);
  const auto pods = s.list(resources::pods);
  if (static_cast<std::int64_t>(pods.size()) != replicas) {
    return std::to_string(pods.size()) + " pods instead of " + std::to_string(replicas);
  }
  const auto image = array_at(*d, {"spec", "template", "spec", "containers"})[0];
  for (const auto& pod : pods) {
    if (array_at(*pod, {"spec", "containers"})[0] != image) return "a pod of an older template is left";
  }
  std::int64_t old = 0;
  for (const auto& set : s.list(resources::replica_sets)) {
    if (integer_at(*set, {"spec", "replicas"}) == 0) ++old;
  }
  if (old > 2 + (replicas == 0 ? 1 : 0)) return std::to_string(old) + " old replica sets instead of 2";
  for (const auto* counter : {"replicas", "updatedReplicas", "readyReplicas", "availableReplicas"}) {
    if (integer_at(*d, {"status", counter}).value_or(0) != replicas) return std::string(counter) + " is wrong";
  }
  if (integer_at(*d, {"status", "observedGeneration"}) != integer_at(*d, {"metadata", "generation"}))
    return "not observed";
  if (!flag_at(*d, {"spec", "paused"})) {
    const auto* progress = find_condition(array_at(*d, {"status", "conditions"}), "Progressing");
    if (progress == nullptr || text_at(*progress, {"reason"}) != "NewReplicaSetAvailable")
      return "the rollout is not complete";
  }
  return "";
}

std::size_t histories() {
  const char* wanted = std::getenv("WORKFLOW_SIMULATIONS");
  return wanted == nullptr ? 300 : std::strtoul(wanted, nullptr, 10);
}

// Nothing is lost and nothing is resized: a rollout never costs more than it was allowed to.
std::string calm_history(std::uint64_t seed) {
  Simulator s(seed);
  s.create(resources::deployments, deployment(s));
  if (!s.settle()) return "does not come to rest at first";
  s.check_available = true;
  for (int step = 0; step < 150 && s.broken.empty(); ++step) {
    switch (s.roll(12)) {
      case 0: change_template(s, 5); break;
      case 1:
      case 2:
      case 3: s.start_pod(); break;
      case 4:
      case 5: s.end_pod(); break;
      case 6:
      case 7: s.step_controllers(); break;
      default: s.act(); break;
    }
    s.now += std::chrono::milliseconds(s.roll(400));
  }
  if (!s.broken.empty()) return s.broken;
  if (!s.settle()) return "does not come to rest";
  return s.broken.empty() ? why_not_settled(s) : s.broken;
}

// Everything that can happen: it still ends where it was asked to.
std::string stormy_history(std::uint64_t seed) {
  Simulator s(seed);
  s.create(resources::deployments, deployment(s));
  for (int step = 0; step < 200; ++step) {
    switch (s.roll(18)) {
      case 0: change_template(s, 6); break;
      case 1:
        s.edit(resources::deployments, "web", [&](json::object& d) { child(d, "spec")["replicas"] = s.roll(7); });
        break;
      case 2: s.lose_pod(); break;
      case 3: s.crash(); break;
      case 4:
        s.edit(resources::deployments, "web", [&](json::object& d) { child(d, "spec")["paused"] = s.chance(40); });
        break;
      case 5:
        if (s.chance(20)) {
          const bool recreate = s.chance(50);
          s.edit(resources::deployments, "web", [&](json::object& d) {
            child(d, "spec")["strategy"] =
                recreate ? json::object{{"type", "Recreate"}}
                         : json::object{{"type", "RollingUpdate"},
                                        {"rollingUpdate", json::object{{"maxSurge", 1}, {"maxUnavailable", 0}}}};
          });
        }
        break;
      case 6:
      case 7:
      case 8: s.start_pod(); break;
      case 9: s.end_pod(); break;
      case 10:
      case 11:
      case 12: s.step_controllers(); break;
      default: s.act(); break;
    }
    s.now += std::chrono::milliseconds(s.roll(2000));
  }
  s.edit(resources::deployments, "web", [&](json::object& d) { child(d, "spec")["paused"] = false; });
  if (!s.settle()) return "does not come to rest";
  return why_not_settled(s);
}

TEST(Simulation, a_rollout_keeps_within_surge_and_unavailable) {
  for (std::uint64_t seed = 1; seed <= histories(); ++seed) {
    const auto why = calm_history(seed);
    ASSERT_EQ(why, "") << "seed " << seed;
  }
}

TEST(Simulation, whatever_happens_it_settles_on_what_was_asked) {
  for (std::uint64_t seed = 1; seed <= histories(); ++seed) {
    const auto why = stormy_history(seed);
    ASSERT_EQ(why, "") << "seed " << seed;
  }
}

}  // namespace
}  // namespace workflow::engine
