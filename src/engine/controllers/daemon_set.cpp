#include "engine/controllers/daemon_set.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/placement.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr const char* hash_label = "controller-revision-hash";

json::object daemon_pod(const json::object& set, const std::string& hash) {
  auto pod = pod_from_template(set, kube::name_of(set) + "-");
  auto& labels = child(child(pod, "metadata"), "labels");
  labels[hash_label] = hash;
  labels["pod-template-generation"] = std::to_string(integer_at(set, {"metadata", "generation"}).value_or(1));
  auto& tolerations = list(child(pod, "spec"), "tolerations");
  for (const auto* taint :
       {"not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable"}) {
    const std::string name = std::string("node.kubernetes.io/") + taint;
    const bool evicts = std::string_view(taint) == "not-ready" || std::string_view(taint) == "unreachable";
    tolerations.push_back(
        json::object{{"key", name}, {"operator", "Exists"}, {"effect", evicts ? "NoExecute" : "NoSchedule"}});
  }
  return pod;
}

}  // namespace

DaemonSetPlan plan_daemon_set(const json::object& set, const Objects& all, const ObjectPtr& node, Time now) {
  DaemonSetPlan plan;
  const auto uid = kube::uid_of(set), ns = kube::namespace_of(set);
  const auto hash = template_hash(object_at(set, {"spec", "template"}), 0);
  Objects pods;
  std::copy_if(all.begin(), all.end(), std::back_inserter(pods),
               [&](const ObjectPtr& p) { return controller_uid(*p) == uid; });
  auto sample = daemon_pod(set, hash);
  // A daemon runs on a cordoned node, too.
  auto place = node ? *node : json::object();
  if (auto* spec = place.if_contains("spec"); spec != nullptr && spec->is_object())
    spec->get_object().erase("unschedulable");
  const bool wanted = node && !why_not_allowed(place, sample);
  const auto min_ready = integer_at(set, {"spec", "minReadySeconds"}).value_or(0);
  std::int64_t current = 0, ready = 0, available = 0, updated = 0, misplaced = 0;
  const auto remove = [&](const json::object& pod) {
    plan.actions.push_back(Remove{&res::pods, ns, kube::name_of(pod), kube::uid_of(pod)});
  };
  bool any = false;
  const bool leaving = kube::is_being_deleted(set);
  std::sort(pods.begin(), pods.end(), [](const auto& a, const auto& b) { return is_given_up_before(*b, *a); });
  for (const auto& pod : pods) {
    if (kube::is_being_deleted(*pod)) {
      any = true;  // the next one starts when it is gone: both may want the same port
      continue;
    }
    if (kube::is_pod_finished(*pod)) {
      if (!leaving) remove(*pod);
      any = true;
      continue;
    }
    if (!wanted || any) {
      ++misplaced;
      if (!leaving) remove(*pod);
      continue;
    }
    any = true;
    ++current;
    const bool fresh = kube::label_of(*pod, hash_label) == hash;
    if (fresh) ++updated;
    if (kube::is_pod_ready(*pod)) ++ready;
    if (is_pod_available(*pod, min_ready, now, &plan.again)) ++available;
    if (!fresh && !leaving && text_at(set, {"spec", "updateStrategy", "type"}) != "OnDelete") remove(*pod);
  }
  if (wanted && !any && !leaving) plan.actions.push_back(Create{&res::pods, std::move(sample)});
  json::object status = object_at(set, {"status"});
  const std::int64_t desired = wanted ? 1 : 0;
  status["currentNumberScheduled"] = current;
  status["desiredNumberScheduled"] = desired;
  status["numberMisscheduled"] = misplaced;
  status["numberReady"] = ready;
  set_counter(status, "numberAvailable", available);
  set_counter(status, "numberUnavailable", desired - available);
  set_counter(status, "updatedNumberScheduled", updated);
  status["observedGeneration"] = integer_at(set, {"metadata", "generation"}).value_or(1);
  merge_status(plan.actions, res::daemon_sets, set, status);
  return plan;
}

}  // namespace workflow::engine
