#include "engine/controllers/autoscaler.h"

#include <algorithm>

#include "engine/controllers/autoscaler_metrics.h"
#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
using namespace std::chrono_literals;

struct Rule {
  std::string type;  // Pods, Percent
  std::int64_t value;
  std::chrono::seconds period;
};
struct Behaviour {
  std::chrono::seconds stabilization{0};
  std::string select = "Max";
  std::vector<Rule> rules;
};

// As Kubernetes does without a wish: up at once, down after five minutes of needing less.
Behaviour behaviour_of(const json::object& autoscaler, const char* direction) {
  const bool up = std::string_view(direction) == "scaleUp";
  Behaviour behaviour;
  behaviour.stabilization = up ? 0s : 300s;
  if (up) behaviour.rules.push_back({"Pods", 4, 15s});
  behaviour.rules.push_back({"Percent", 100, 15s});
  const auto& asked = object_at(autoscaler, {"spec", "behavior", direction});
  if (const auto seconds = integer_at(asked, {"stabilizationWindowSeconds"}))
    behaviour.stabilization = std::chrono::seconds(*seconds);
  if (const auto select = text_at(asked, {"selectPolicy"}); !select.empty()) behaviour.select = select;
  if (const auto& rules = array_at(asked, {"policies"}); !rules.empty()) {
    behaviour.rules.clear();
    for (const auto& item : rules) {
      if (!item.is_object()) continue;
      const auto& rule = item.get_object();
      behaviour.rules.push_back({text_at(rule, {"type"}), integer_at(rule, {"value"}).value_or(0),
                                 std::chrono::seconds(integer_at(rule, {"periodSeconds"}).value_or(15))});
    }
  }
  return behaviour;
}

std::int64_t sum_since(const std::vector<std::pair<Time, std::int64_t>>& events, Time since) {
  std::int64_t sum = 0;
  for (const auto& [time, count] : events) {
    if (time > since) sum += count;
  }
  return sum;
}

class Planner {
 public:
  Planner(AutoscalerInput input, Time now)
      : in_(std::move(input)), a_(*in_.autoscaler), now_(now), conditions_(array_at(a_, {"status", "conditions"})) {
    plan_.history = std::move(in_.history);
  }

  AutoscalerPlan run() {
    if (kube::is_being_deleted(a_)) return std::move(plan_);
    status_ = object_at(a_, {"status"});
    status_["observedGeneration"] = integer_at(a_, {"metadata", "generation"}).value_or(1);
    decide();
    status_["conditions"] = std::move(conditions_);
    merge_status(plan_.actions, res::horizontal_pod_autoscalers, a_, status_);
    return std::move(plan_);
  }

 private:
  void condition(std::string type, bool holds, std::string reason, std::string message) {
    set_condition(conditions_, {std::move(type), holds ? "True" : "False", std::move(reason), std::move(message)}, now_,
                  false);
  }
  void tell(std::string type, std::string reason, std::string message) {
    plan_.actions.push_back(Emit{in_.autoscaler, std::move(type), std::move(reason), std::move(message)});
  }

  void decide() {
    if (in_.target_resource == nullptr || !in_.target) {
      const auto message = "the HPA controller was unable to get the target's current scale: " +
                           text_at(a_, {"spec", "scaleTargetRef", "kind"}) + " \"" +
                           text_at(a_, {"spec", "scaleTargetRef", "name"}) +
                           (in_.target_resource == nullptr ? "\" cannot be scaled" : "\" not found");
      tell("Warning", "FailedGetScale", message);
      condition("AbleToScale", false, "FailedGetScale", message);
      return;
    }
    condition("AbleToScale", true, "SucceededGetScale",
              "the HPA controller was able to get the target's current scale");
    const auto current = integer_at(*in_.target, {"spec", "replicas"}).value_or(1);
    const auto least = integer_at(a_, {"spec", "minReplicas"}).value_or(1),
               most = integer_at(a_, {"spec", "maxReplicas"}).value_or(1);
    status_["currentReplicas"] = current;
    if (current == 0 && least != 0) {
      condition("ScalingActive", false, "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero");
      status_["desiredReplicas"] = 0;
      return;
    }
    auto wanted = current;
    std::string why;
    if (current > most) {
      wanted = most;
      why = "Current number of replicas above Spec.MaxReplicas";
    } else if (current < least) {
      wanted = least;
      why = "Current number of replicas below Spec.MinReplicas";
    } else {
      const auto asked = ask_metrics(current);
      if (!asked) {
        status_["desiredReplicas"] = current;
        return;
      }
      wanted = limited(stabilized(asked->first, current), current, least, most);
      why = asked->second + (wanted > current ? " above target" : "");
      if (wanted < current) why = "All metrics below target";
    }
    status_["desiredReplicas"] = wanted;
    if (wanted == current) return;
    resize(wanted, current);
    condition("AbleToScale", true, "SucceededRescale",
              "the HPA controller was able to update the target scale to " + std::to_string(wanted));
    tell("Normal", "SuccessfulRescale", "New size: " + std::to_string(wanted) + "; reason: " + why);
    status_["lastScaleTime"] = rfc3339(now_);
  }

  // The largest number that a metric asks for, and which one does. Nothing when none can say, or when one cannot and
  // the others would take pods away.
  std::optional<std::pair<std::int64_t, std::string>> ask_metrics(std::int64_t current) {
    Objects pods;
    for (const auto& pod : in_.pods) {
      if (selects(*in_.target, *pod)) pods.push_back(pod);
    }
    json::array measured;
    std::optional<std::pair<std::int64_t, std::string>> best;
    std::string problem;
    for (const auto& item : array_at(a_, {"spec", "metrics"})) {
      if (!item.is_object()) continue;
      auto result = ask_metric(item.get_object(), pods, in_.usage, current, now_);
      if (!result.problem.empty()) {
        problem = result.problem;
        continue;
      }
      measured.push_back(std::move(result.current));
      if (!best || result.replicas > best->first) best = {result.replicas, result.what};
    }
    if (measured.empty()) {
      status_.erase("currentMetrics");
    } else {
      status_["currentMetrics"] = std::move(measured);
    }
    if (!problem.empty() && (!best || best->first < current)) {
      const auto message = "the HPA was unable to compute the replica count: " + problem;
      condition("ScalingActive", false, "FailedGetResourceMetric", message);
      tell("Warning", "FailedGetResourceMetric", problem);
      return std::nullopt;
    }
    if (!best) return std::nullopt;
    condition("ScalingActive", true, "ValidMetricFound",
              "the HPA was able to successfully calculate a replica count from " + best->second);
    return best;
  }

  // Up to the least, down to the most of what was recommended within the windows.
  std::int64_t stabilized(std::int64_t wanted, std::int64_t current) {
    const auto up = behaviour_of(a_, "scaleUp").stabilization, down = behaviour_of(a_, "scaleDown").stabilization;
    auto& past = plan_.history.recommendations;
    if (past.empty()) past.emplace_back(now_, current);  // what was before it looked first is as good as recommended
    std::erase_if(past, [&](const auto& r) { return r.first + std::max(up, down) <= now_; });
    auto lowest = wanted, highest = wanted;
    for (const auto& [time, replicas] : past) {
      if (time + up > now_) lowest = std::min(lowest, replicas);
      if (time + down > now_) highest = std::max(highest, replicas);
    }
    past.emplace_back(now_, wanted);
    const auto result = std::clamp(current, lowest, highest);
    if (result == wanted) {
      condition("AbleToScale", true, "ReadyForNewScale", "recommended size matches current size");
    } else {
      condition("AbleToScale", true, wanted < current ? "ScaleDownStabilized" : "ScaleUpStabilized",
                "recent recommendations were " + std::string(wanted < current ? "higher" : "lower") +
                    " than current one, applying the " + (wanted < current ? "highest" : "lowest") +
                    " recent recommendation");
    }
    return result;
  }

  // What the policies and the bounds leave of it.
  std::int64_t limited(std::int64_t wanted, std::int64_t current, std::int64_t least, std::int64_t most) {
    if (wanted > current) {
      const auto allowed = up_limit(current);
      if (wanted > std::min(allowed, most)) {
        const bool by_rate = allowed < most;
        condition("ScalingLimited", true, by_rate ? "ScaleUpLimit" : "TooManyReplicas",
                  by_rate ? "the desired replica count is increasing faster than the maximum scale rate"
                          : "the desired replica count is more than the maximum replica count");
        return std::max(current, std::min(allowed, most));
      }
    } else if (wanted < current) {
      const auto allowed = down_limit(current);
      if (wanted < std::max(allowed, least)) {
        const bool by_rate = allowed > least;
        condition("ScalingLimited", true, by_rate ? "ScaleDownLimit" : "TooFewReplicas",
                  by_rate ? "the desired replica count is decreasing faster than the maximum scale rate"
                          : "the desired replica count is less than the minimum replica count");
        return std::min(current, std::max(allowed, least));
      }
    }
    condition("ScalingLimited", false, "DesiredWithinRange", "the desired count is within the acceptable range");
    return wanted;
  }

  std::int64_t up_limit(std::int64_t current) {
    const auto behaviour = behaviour_of(a_, "scaleUp");
    if (behaviour.select == "Disabled") return current;
    std::optional<std::int64_t> limit;
    for (const auto& rule : behaviour.rules) {
      const auto start = current - sum_since(plan_.history.ups, now_ - rule.period) +
                         sum_since(plan_.history.downs, now_ - rule.period);
      const auto allowed = rule.type == "Pods" ? start + rule.value : (start * (100 + rule.value) + 99) / 100;
      if (!limit) limit = allowed;
      limit = behaviour.select == "Min" ? std::min(*limit, allowed) : std::max(*limit, allowed);
    }
    return limit.value_or(current);
  }
  std::int64_t down_limit(std::int64_t current) {
    const auto behaviour = behaviour_of(a_, "scaleDown");
    if (behaviour.select == "Disabled") return current;
    std::optional<std::int64_t> limit;
    for (const auto& rule : behaviour.rules) {
      const auto start = current - sum_since(plan_.history.ups, now_ - rule.period) +
                         sum_since(plan_.history.downs, now_ - rule.period);
      const auto allowed = rule.type == "Pods" ? start - rule.value : start * (100 - rule.value) / 100;
      if (!limit) limit = allowed;
      limit = behaviour.select == "Min" ? std::max(*limit, allowed) : std::min(*limit, allowed);
    }
    return std::max<std::int64_t>(0, limit.value_or(current));
  }

  void resize(std::int64_t wanted, std::int64_t current) {
    plan_.actions.push_back(Merge{in_.target_resource, kube::namespace_of(*in_.target), kube::name_of(*in_.target),
                                  kube::uid_of(*in_.target),
                                  json::object{{"spec", json::object{{"replicas", wanted}}}}});
    for (auto* events : {&plan_.history.ups, &plan_.history.downs}) {
      std::erase_if(*events, [this](const auto& e) { return e.first + 1h < now_; });
    }
    if (wanted > current) plan_.history.ups.emplace_back(now_, wanted - current);
    if (wanted < current) plan_.history.downs.emplace_back(now_, current - wanted);
  }

  AutoscalerInput in_;
  const json::object& a_;
  Time now_;
  json::array conditions_;
  json::object status_;
  AutoscalerPlan plan_;
};

}  // namespace

AutoscalerPlan plan_autoscaler(AutoscalerInput input, Time now) { return Planner(std::move(input), now).run(); }

}  // namespace workflow::engine
