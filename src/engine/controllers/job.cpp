#include "engine/controllers/job.h"

#include <algorithm>
#include <set>

#include "engine/controllers/adoption.h"
#include "engine/controllers/job_policy.h"
#include "engine/fields.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
using namespace std::chrono_literals;
constexpr const char* counted_finalizer = "batch.kubernetes.io/job-tracking";

bool is_held(const json::object& pod) {
  const auto& list = array_at(pod, {"metadata", "finalizers"});
  return std::find(list.begin(), list.end(), json::value(counted_finalizer)) != list.end();
}

json::array other_finalizers(const json::object& pod) {
  json::array rest;
  for (const auto& f : array_at(pod, {"metadata", "finalizers"})) {
    if (f != counted_finalizer) rest.push_back(f);
  }
  return rest;
}

Merge release(const json::object& pod) {
  return {&res::pods, kube::namespace_of(pod), kube::name_of(pod), kube::uid_of(pod),
          json::object{{"metadata", json::object{{"finalizers", other_finalizers(pod)}}}}};
}

std::optional<Time> finished_at(const json::object& pod) {
  std::optional<Time> last;
  for (const auto& c : kube::pod_status_of(pod).containers) {
    if (c.state.finished && (!last || *c.state.finished > *last)) last = c.state.finished;
  }
  return last;
}

bool condition_holds(const json::array& conditions, std::string_view type) {
  const auto* c = find_condition(conditions, type);
  return c != nullptr && text_at(*c, {"status"}) == "True";
}

// Ended one way, and not yet in the counter.
struct Uncounted {
  std::set<std::string> uids;
  std::int64_t counted = 0;
  std::int64_t total() const { return counted + static_cast<std::int64_t>(uids.size()); }
};

class Planner {
 public:
  Planner(const ObjectPtr& job, const Objects& pods, Time now)
      : object_(job),
        job_(*job),
        now_(now),
        leaving_(kube::is_being_deleted(*job)),
        status_(object_at(*job, {"status"})),
        conditions_(array_at(status_, {"conditions"})),
        succeeded_(read("succeeded")),
        failed_(read("failed")),
        indexed_(text_at(job_, {"spec", "completionMode"}) == "Indexed"),
        has_policy_(value_at(job_, {"spec", "podFailurePolicy"}) != nullptr) {
    if (indexed_) noted_indexes_ = completed_indexes_ = parse_indexes(text_at(status_, {"completedIndexes"}));
    for (const auto& pod : pods) claim(pod);
  }

  JobPlan run() {
    count();
    if (!is_over() && !leaving_) decide();
    if (is_over() && !leaving_) expire();
    write_status();
    return std::move(plan_);
  }

 private:
  // Its own pods, but for those that it no longer selects; and nobody's that it does.
  void claim(const ObjectPtr& pod) {
    const auto owner = controller_uid(*pod);
    const bool going = kube::is_being_deleted(*pod), selected = selects(job_, *pod);
    if (owner == kube::uid_of(job_)) {
      const bool kept = selected || value_at(job_, {"spec", "selector"}) == nullptr;
      if (kept || leaving_ || going) return pods_.push_back(pod);
      auto merge = let_go(*pod, owner);
      child(merge.patch, "metadata")["finalizers"] = other_finalizers(*pod);
      plan_.actions.push_back(std::move(merge));
    } else if (owner.empty() && selected && !leaving_ && is_pod_active(*pod)) {
      auto merge = adopt(*pod, job_);
      auto finalizers = other_finalizers(*pod);
      finalizers.emplace_back(counted_finalizer);
      child(merge.patch, "metadata")["finalizers"] = std::move(finalizers);
      plan_.actions.push_back(std::move(merge));
      pods_.push_back(pod);
    }
  }

  Uncounted read(const char* kind) const {
    Uncounted out{.uids = {}, .counted = integer_at(status_, {kind}).value_or(0)};
    for (const auto& uid : array_at(status_, {"uncountedTerminatedPods", kind})) {
      if (uid.is_string()) out.uids.emplace(uid.get_string());
    }
    return out;
  }

  void count() {
    std::set<std::string> held;
    for (const auto& pod : pods_) {
      const auto uid = kube::uid_of(*pod);
      const bool finished = kube::is_pod_finished(*pod), going = kube::is_being_deleted(*pod);
      if (is_held(*pod)) held.insert(uid);
      // Why it failed is known once it has ended; one that no node had has nothing to tell.
      const bool tells = finished || !has_policy_ || text_at(*pod, {"spec", "nodeName"}).empty();
      if (is_held(*pod) && (finished || (going && tells))) note_end(*pod, uid);
      if (finished && text_at(*pod, {"status", "phase"}) == "Failed") {
        const auto when = finished_at(*pod).value_or(now_);
        if (!last_failure_ || when > *last_failure_) last_failure_ = when;
      }
      if (going && !finished) ++terminating_;
      if (is_pod_active(*pod)) active_.push_back(pod);
    }
    // Those that nothing holds any more are counted for good.
    for (auto* end : {&succeeded_, &failed_}) {
      end->counted +=
          static_cast<std::int64_t>(std::erase_if(end->uids, [&](const auto& uid) { return !held.contains(uid); }));
    }
    if (indexed_) succeeded_ = {.uids = {}, .counted = static_cast<std::int64_t>(completed_indexes_.size())};
    std::sort(active_.begin(), active_.end(), [](const auto& a, const auto& b) { return is_given_up_before(*a, *b); });
    active_count_ = static_cast<std::int64_t>(active_.size());
    ready_count_ =
        std::count_if(active_.begin(), active_.end(), [](const auto& pod) { return kube::is_pod_ready(*pod); });
  }

  // One write says that it has ended, the next lets it go.
  void note_end(const json::object& pod, const std::string& uid) {
    const bool good = text_at(pod, {"status", "phase"}) == "Succeeded";
    const auto index = indexed_ ? index_of(pod) : std::nullopt;
    const bool known_index = good && index && noted_indexes_.contains(*index);
    if (leaving_ || known_index || succeeded_.uids.contains(uid) || failed_.uids.contains(uid))
      return plan_.actions.push_back(release(pod));
    if (good && indexed_) {
      if (index && *index < integer_at(job_, {"spec", "completions"}).value_or(0)) {
        completed_indexes_.insert(*index);
      } else {
        plan_.actions.push_back(release(pod));  // of an index that nobody asked for
      }
      return;
    }
    if (!good) {
      auto verdict = failure_verdict(job_, pod);
      if (verdict.action == OnFailure::ignore) return plan_.actions.push_back(release(pod));
      if (verdict.action == OnFailure::fail_job && failed_by_policy_.empty())
        failed_by_policy_ = std::move(verdict.why);
    }
    (good ? succeeded_ : failed_).uids.insert(uid);
  }

  bool is_over() const { return condition_holds(conditions_, "Complete") || condition_holds(conditions_, "Failed"); }

  void again(Time time) {
    if (!plan_.again || time < *plan_.again) plan_.again = time;
  }
  void remove(const json::object& pod) {
    plan_.actions.push_back(Remove{&res::pods, kube::namespace_of(pod), kube::name_of(pod), kube::uid_of(pod)});
  }
  void remove_active() {
    for (const auto& pod : active_) remove(*pod);
    active_count_ = ready_count_ = 0;
  }

  void finish(const char* type, const std::string& reason, const std::string& message) {
    remove_active();
    // The condition is the last word: the counters must be right when it is said.
    if (!succeeded_.uids.empty() || !failed_.uids.empty()) return;
    set_condition(conditions_, {type, "True", reason, message}, now_, false);
    const bool good = std::string_view(type) == "Complete";
    if (good) status_["completionTime"] = rfc3339(now_);
    plan_.actions.push_back(
        Emit{object_, good ? "Normal" : "Warning", good ? "Completed" : reason, good ? "Job completed" : message});
  }

  // Kept in a condition while the pod that is the reason is counted.
  std::string policy_failure() {
    const auto* target = find_condition(conditions_, "FailureTarget");
    if (target != nullptr) return text_at(*target, {"message"});
    if (!failed_by_policy_.empty())
      set_condition(conditions_, {"FailureTarget", "True", "PodFailurePolicy", failed_by_policy_}, now_, false);
    return failed_by_policy_;
  }

  void decide() {
    const bool suspended = flag_at(job_, {"spec", "suspend"});
    if (!suspended && !status_.contains("startTime")) status_["startTime"] = rfc3339(now_);
    const auto started = parse_rfc3339(text_at(status_, {"startTime"}));
    const auto seconds = integer_at(job_, {"spec", "activeDeadlineSeconds"});
    const auto deadline =
        seconds && started && !suspended ? std::optional(*started + std::chrono::seconds(*seconds)) : std::nullopt;
    const auto completions = integer_at(job_, {"spec", "completions"});
    const auto done = succeeded_.total();
    if (completions ? done >= *completions : done > 0 && active_count_ == 0) {
      finish("Complete", "CompletionsReached", "Reached expected number of succeeded pods");
    } else if (const auto why = policy_failure(); !why.empty()) {
      finish("Failed", "PodFailurePolicy", why);
    } else if (failed_.total() > integer_at(job_, {"spec", "backoffLimit"}).value_or(6)) {
      finish("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit");
    } else if (deadline && now_ >= *deadline) {
      finish("Failed", "DeadlineExceeded", "Job was active longer than specified deadline");
    } else if (suspended) {
      remove_active();
      status_.erase("startTime");
      set_condition(conditions_, {"Suspended", "True", "JobSuspended", "Job suspended"}, now_, false);
    } else {
      if (find_condition(conditions_, "Suspended") != nullptr) {
        set_condition(conditions_, {"Suspended", "False", "JobResumed", "Job resumed"}, now_, false);
      }
      if (deadline) again(*deadline);
      size(completions, done);
    }
  }

  // One pod for each index that is not done, the one that serves most.
  void remove_doubles(std::int64_t completions) {
    std::ranges::reverse(active_);
    std::erase_if(active_, [&](const ObjectPtr& pod) {
      const auto index = index_of(*pod);
      if (index && *index < completions && !completed_indexes_.contains(*index) &&
          active_indexes_.insert(*index).second)
        return false;
      remove(*pod);
      --active_count_;
      return true;
    });
    std::ranges::reverse(active_);
  }

  // As many pods side by side as are wanted and still missing.
  void size(std::optional<std::int64_t> completions, std::int64_t done) {
    const auto parallelism = integer_at(job_, {"spec", "parallelism"}).value_or(1);
    auto wanted = completions ? std::min(parallelism, *completions - done) : (done > 0 ? active_count_ : parallelism);
    wanted = std::max<std::int64_t>(wanted, 0);
    // After failures each further pod waits longer: 10 s, 20 s, … at most 6 min.
    const auto failures = failed_.total();
    const auto delay =
        failures == 0 ? 0s
                      : std::min<std::chrono::seconds>(10s * (1LL << std::min<std::int64_t>(failures - 1, 6)), 360s);
    const auto may_start = last_failure_ ? *last_failure_ + delay : now_;
    const bool waits = text_at(job_, {"spec", "podReplacementPolicy"}) == "Failed";  // for those that still end
    const auto may_make = wanted - (waits ? terminating_ : 0);
    if (indexed_) remove_doubles(*completions);
    if (active_count_ < may_make && may_start > now_) {
      again(may_start);
    } else {
      for (std::int64_t next = 0; active_count_ < may_make; ++active_count_) {
        auto pod = pod_from_template(job_, kube::name_of(job_) + "-");
        list(child(pod, "metadata"), "finalizers").emplace_back(counted_finalizer);
        if (indexed_) {
          while (active_indexes_.contains(next) || completed_indexes_.contains(next)) ++next;
          if (next >= *completions) break;
          give_index(pod, kube::name_of(job_), next++);
        }
        plan_.actions.push_back(Create{&res::pods, std::move(pod)});
      }
    }
    for (std::size_t i = 0; active_count_ > wanted && i < active_.size(); ++i, --active_count_) remove(*active_[i]);
  }

  void expire() {
    const auto ttl = integer_at(job_, {"spec", "ttlSecondsAfterFinished"});
    if (!ttl) return;
    const auto* end = find_condition(conditions_, condition_holds(conditions_, "Complete") ? "Complete" : "Failed");
    const auto at = parse_rfc3339(text_at(*end, {"lastTransitionTime"})).value_or(now_) + std::chrono::seconds(*ttl);
    if (at > now_) return again(at);
    plan_.actions.push_back(Remove{&res::jobs, kube::namespace_of(job_), kube::name_of(job_), kube::uid_of(job_)});
  }

  void write_status() {
    set_counter(status_, "active", active_count_);
    status_["ready"] = ready_count_;
    set_counter(status_, "succeeded", succeeded_.counted);
    set_counter(status_, "failed", failed_.counted);
    status_["terminating"] = terminating_;
    if (indexed_) {
      if (completed_indexes_.empty()) {
        status_.erase("completedIndexes");
      } else {
        status_["completedIndexes"] = print_indexes(completed_indexes_);
      }
    }
    json::object uncounted;
    for (const auto& [name, end] : {std::pair{"succeeded", &succeeded_}, {"failed", &failed_}}) {
      json::array uids;
      for (const auto& uid : end->uids) uids.emplace_back(uid);
      if (!uids.empty()) uncounted[name] = std::move(uids);
    }
    status_["uncountedTerminatedPods"] = std::move(uncounted);
    if (conditions_.empty()) {
      status_.erase("conditions");
    } else {
      status_["conditions"] = std::move(conditions_);
    }
    merge_status(plan_.actions, res::jobs, job_, status_);
  }

  const ObjectPtr& object_;
  const json::object& job_;
  Time now_;
  bool leaving_;
  json::object status_;
  json::array conditions_;
  Uncounted succeeded_, failed_;
  bool indexed_, has_policy_;
  Indexes noted_indexes_, completed_indexes_, active_indexes_;  // noted: in the stored status
  std::string failed_by_policy_;
  Objects pods_, active_;  // active: what may go first comes first
  std::int64_t active_count_ = 0, ready_count_ = 0, terminating_ = 0;
  std::optional<Time> last_failure_;
  JobPlan plan_;
};

}  // namespace

JobPlan plan_job(const ObjectPtr& job, const Objects& pods, Time now) { return Planner(job, pods, now).run(); }

Actions plan_lost_job_pods(const std::string& name, const std::string& uid, const Objects& pods) {
  Actions actions;
  for (const auto& pod : pods) {
    if (owner_named(*pod, "Job") == name && controller_uid(*pod) != uid && is_held(*pod))
      actions.push_back(release(*pod));
  }
  return actions;
}

}  // namespace workflow::engine
