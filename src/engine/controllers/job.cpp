#include "engine/controllers/job.h"

#include <algorithm>

#include "engine/fields.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
using namespace std::chrono_literals;
constexpr const char* counted_label = "batch.kubernetes.io/job-tracking";  // a finalizer: a pod goes once it is counted

bool holds_pod(const json::object& pod) {
  const auto& list = array_at(pod, {"metadata", "finalizers"});
  return std::find(list.begin(), list.end(), json::value(counted_label)) != list.end();
}

std::optional<Time> finished_at(const json::object& pod) {
  std::optional<Time> last;
  for (const auto& c : kube::pod_status_of(pod).containers) {
    if (c.state.finished && (!last || *c.state.finished > *last)) last = c.state.finished;
  }
  return last;
}

bool condition_holds(const json::object& job, std::string_view type) {
  const auto* c = find_condition(array_at(job, {"status", "conditions"}), type);
  return c != nullptr && text_at(*c, {"status"}) == "True";
}

struct Counts {
  std::int64_t active = 0, ready = 0, succeeded = 0, failed = 0, terminating = 0;
  std::optional<Time> last_failure;
};

}  // namespace

JobPlan plan_job(const ObjectPtr& object, const Objects& all, Time now) {
  const auto& job = *object;
  JobPlan plan;
  const auto uid = kube::uid_of(job), ns = kube::namespace_of(job), name = kube::name_of(job);
  const bool leaving = kube::is_being_deleted(job);
  auto status = object_at(job, {"status"});
  Counts counts{.succeeded = integer_at(status, {"succeeded"}).value_or(0),
                .failed = integer_at(status, {"failed"}).value_or(0)};
  Objects active;
  for (const auto& pod : all) {
    if (controller_uid(*pod) != uid) continue;
    const bool finished = kube::is_pod_finished(*pod);
    // Each finished pod is counted once: its finalizer goes with the same decision that counts it.
    if (holds_pod(*pod) && (finished || kube::is_being_deleted(*pod) || leaving)) {
      if (finished || kube::is_being_deleted(*pod)) {
        if (text_at(*pod, {"status", "phase"}) == "Succeeded") {
          ++counts.succeeded;
        } else {
          ++counts.failed;
          const auto when = finished_at(*pod).value_or(now);
          if (!counts.last_failure || when > *counts.last_failure) counts.last_failure = when;
        }
      }
      json::array rest;
      for (const auto& f : array_at(*pod, {"metadata", "finalizers"})) {
        if (f != counted_label) rest.push_back(f);
      }
      plan.actions.push_back(Merge{&res::pods, ns, kube::name_of(*pod), kube::uid_of(*pod),
                                   json::object{{"metadata", json::object{{"finalizers", std::move(rest)}}}}});
    } else if (finished && text_at(*pod, {"status", "phase"}) == "Failed") {
      const auto when = finished_at(*pod);
      if (when && (!counts.last_failure || *when > *counts.last_failure)) counts.last_failure = when;
    }
    if (kube::is_being_deleted(*pod) && !finished) ++counts.terminating;
    if (is_pod_active(*pod)) {
      active.push_back(pod);
      ++counts.active;
      if (kube::is_pod_ready(*pod)) ++counts.ready;
    }
  }
  const bool over = condition_holds(job, "Complete") || condition_holds(job, "Failed");
  auto conditions = array_at(status, {"conditions"});
  const auto completions = integer_at(job, {"spec", "completions"});
  const auto parallelism = integer_at(job, {"spec", "parallelism"}).value_or(1);
  const auto limit = integer_at(job, {"spec", "backoffLimit"}).value_or(6);
  const bool suspended = flag_at(job, {"spec", "suspend"});
  const auto remove_active = [&] {
    for (const auto& pod : active)
      plan.actions.push_back(Remove{&res::pods, ns, kube::name_of(*pod), kube::uid_of(*pod)});
    counts.active = 0;
    counts.ready = 0;
  };
  const auto finish = [&](const char* type, const std::string& reason, const std::string& message) {
    set_condition(conditions, {type, "True", reason, message}, now, false);
    remove_active();
    const bool good = std::string_view(type) == "Complete";
    if (good) status["completionTime"] = rfc3339(now);
    plan.actions.push_back(
        Emit{object, good ? "Normal" : "Warning", good ? "Completed" : reason, good ? "Job completed" : message});
  };
  if (!over && !leaving) {
    if (!suspended && !status.contains("startTime")) status["startTime"] = rfc3339(now);
    const auto started = parse_rfc3339(text_at(status, {"startTime"}));
    const auto deadline = integer_at(job, {"spec", "activeDeadlineSeconds"});
    const bool complete = completions ? counts.succeeded >= *completions : counts.succeeded > 0 && counts.active == 0;
    if (complete) {
      finish("Complete", "CompletionsReached", "Reached expected number of succeeded pods");
    } else if (counts.failed > limit) {
      finish("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    } else if (deadline && started && !suspended && now >= *started + std::chrono::seconds(*deadline)) {
      finish("Failed", "DeadlineExceeded", "Job was active longer than specified deadline");
    } else if (suspended) {
      remove_active();
      set_condition(conditions, {"Suspended", "True", "JobSuspended", "Job suspended"}, now, false);
    } else {
      if (find_condition(conditions, "Suspended") != nullptr) {
        set_condition(conditions, {"Suspended", "False", "JobResumed", "Job resumed"}, now, false);
      }
      if (deadline && started) plan.again = *started + std::chrono::seconds(*deadline);
      auto wanted = completions ? std::min(parallelism, *completions - counts.succeeded)
                                : (counts.succeeded > 0 ? counts.active : parallelism);
      wanted = std::max<std::int64_t>(wanted, 0);
      // After failures each further pod waits longer: 10 s, 20 s, … at most 6 min.
      const auto delay = counts.failed == 0 ? 0s
                                            : std::min<std::chrono::seconds>(
                                                  10s * (1LL << std::min<std::int64_t>(counts.failed - 1, 6)), 360s);
      const auto may_start = counts.last_failure ? *counts.last_failure + delay : now;
      if (counts.active < wanted && may_start > now) {
        if (!plan.again || may_start < *plan.again) plan.again = may_start;
      } else {
        for (; counts.active < wanted; ++counts.active) {
          auto pod = pod_from_template(job, name + "-");
          list(child(pod, "metadata"), "finalizers").emplace_back(counted_label);
          plan.actions.push_back(Create{&res::pods, std::move(pod)});
        }
      }
      std::sort(active.begin(), active.end(), [](const auto& a, const auto& b) { return is_given_up_before(*a, *b); });
      for (std::size_t i = 0; counts.active > wanted && i < active.size(); ++i, --counts.active) {
        plan.actions.push_back(Remove{&res::pods, ns, kube::name_of(*active[i]), kube::uid_of(*active[i])});
      }
    }
  }
  const auto ttl = integer_at(job, {"spec", "ttlSecondsAfterFinished"});
  if (over && ttl && !leaving) {
    const auto* end = find_condition(conditions, condition_holds(job, "Complete") ? "Complete" : "Failed");
    const auto at = parse_rfc3339(text_at(*end, {"lastTransitionTime"})).value_or(now) + std::chrono::seconds(*ttl);
    if (at <= now) {
      plan.actions.push_back(Remove{&res::jobs, ns, name, uid});
    } else {
      plan.again = at;
    }
  }
  set_counter(status, "active", counts.active);
  status["ready"] = counts.ready;
  set_counter(status, "succeeded", counts.succeeded);
  set_counter(status, "failed", counts.failed);
  status["terminating"] = counts.terminating;
  if (conditions.empty()) {
    status.erase("conditions");
  } else {
    status["conditions"] = std::move(conditions);
  }
  merge_status(plan.actions, res::jobs, job, status);
  return plan;
}

}  // namespace workflow::engine
