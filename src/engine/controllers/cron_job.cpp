#include "engine/controllers/cron_job.h"

#include <algorithm>

#include "engine/cron_schedule.h"
#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr const char* due_annotation = "batch.kubernetes.io/cronjob-scheduled-timestamp";

enum class JobEnd { none, complete, failed };
JobEnd end_of(const json::object& job) {
  const auto& conditions = array_at(job, {"status", "conditions"});
  for (const auto& [type, end] : {std::pair{"Complete", JobEnd::complete}, {"Failed", JobEnd::failed}}) {
    const auto* c = find_condition(conditions, type);
    if (c != nullptr && text_at(*c, {"status"}) == "True") return end;
  }
  return JobEnd::none;
}

std::optional<Time> due_time(const json::object& job) {
  return parse_rfc3339(kube::annotation_of(job, due_annotation));
}

json::object reference_to(const json::object& job) {
  return {{"kind", "Job"},
          {"namespace", kube::namespace_of(job)},
          {"name", kube::name_of(job)},
          {"uid", kube::uid_of(job)},
          {"apiVersion", "batch/v1"}};
}

// The name tells the minute, so that one minute can have only one.
std::string job_name(const json::object& cron_job, Time due) {
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(due.time_since_epoch()).count();
  return kube::name_of(cron_job) + "-" + std::to_string(minutes);
}

json::object job_of(const json::object& cron_job, Time due) {
  const auto& job_template = object_at(cron_job, {"spec", "jobTemplate"});
  auto annotations = object_at(job_template, {"metadata", "annotations"});
  annotations[due_annotation] = rfc3339(due);
  json::object metadata{{"name", job_name(cron_job, due)},
                        {"namespace", kube::namespace_of(cron_job)},
                        {"annotations", std::move(annotations)},
                        {"ownerReferences", json::array{kube::owner_reference_to(cron_job)}}};
  if (const auto& labels = object_at(job_template, {"metadata", "labels"}); !labels.empty())
    metadata["labels"] = labels;
  return {{"apiVersion", "batch/v1"},
          {"kind", "Job"},
          {"metadata", std::move(metadata)},
          {"spec", object_at(job_template, {"spec"})},
          {"status", json::object()}};
}

struct Runs {
  Objects active, complete, failed;  // oldest first
  std::optional<Time> last_due, last_success;
};
Runs runs_of(const json::object& cron_job, const Objects& jobs) {
  Runs runs;
  runs.last_due = parse_rfc3339(text_at(cron_job, {"status", "lastScheduleTime"}));
  runs.last_success = parse_rfc3339(text_at(cron_job, {"status", "lastSuccessfulTime"}));
  const auto later = [](std::optional<Time>& time, std::optional<Time> other) {
    if (other && (!time || *other > *time)) time = other;
  };
  for (const auto& job : jobs) {
    if (controller_uid(*job) != kube::uid_of(cron_job)) continue;
    later(runs.last_due, due_time(*job));
    switch (end_of(*job)) {
      case JobEnd::complete:
        later(runs.last_success, parse_rfc3339(text_at(*job, {"status", "completionTime"})));
        runs.complete.push_back(job);
        break;
      case JobEnd::failed: runs.failed.push_back(job); break;
      case JobEnd::none: runs.active.push_back(job); break;
    }
  }
  for (auto* list : {&runs.active, &runs.complete, &runs.failed}) {
    std::sort(list->begin(), list->end(), [](const ObjectPtr& a, const ObjectPtr& b) {
      const auto ca = text_at(*a, {"metadata", "creationTimestamp"}),
                 cb = text_at(*b, {"metadata", "creationTimestamp"});
      return std::pair(ca, kube::name_of(*a)) < std::pair(cb, kube::name_of(*b));
    });
  }
  return runs;
}

class Planner {
 public:
  Planner(const ObjectPtr& cron_job, const Objects& jobs, const std::optional<TimeZone>& zone, Time now)
      : object_(cron_job), cron_job_(*cron_job), zone_(zone), now_(now), runs_(runs_of(*cron_job, jobs)) {}

  CronJobPlan run() {
    if (!kube::is_being_deleted(cron_job_)) {
      start_what_is_due();
      forget(runs_.complete, integer_at(cron_job_, {"spec", "successfulJobsHistoryLimit"}).value_or(3));
      forget(runs_.failed, integer_at(cron_job_, {"spec", "failedJobsHistoryLimit"}).value_or(1));
    }
    write_status();
    return std::move(plan_);
  }

 private:
  void tell(std::string type, std::string reason, std::string message) {
    plan_.actions.push_back(Emit{object_, std::move(type), std::move(reason), std::move(message)});
  }
  void remove(const json::object& job) {
    if (kube::is_being_deleted(job)) return;
    plan_.actions.push_back(Remove{&res::jobs, kube::namespace_of(job), kube::name_of(job), kube::uid_of(job)});
    tell("Normal", "SuccessfulDelete", "Deleted job " + kube::name_of(job));
  }

  void start_what_is_due() {
    if (flag_at(cron_job_, {"spec", "suspend"})) return;
    const auto schedule = CronSchedule::parse(text_at(cron_job_, {"spec", "schedule"}));
    if (!schedule)
      return tell("Warning", "UnparseableSchedule",
                  "unparseable schedule: " + text_at(cron_job_, {"spec", "schedule"}) + ": " + schedule.error());
    if (!zone_) {
      return tell("Warning", "UnknownTimeZone", "unknown time zone " + text_at(cron_job_, {"spec", "timeZone"}));
    }
    const auto made = parse_rfc3339(text_at(cron_job_, {"metadata", "creationTimestamp"})).value_or(now_);
    const auto earliest = runs_.last_due.value_or(made);
    const auto deadline = integer_at(cron_job_, {"spec", "startingDeadlineSeconds"});
    const auto due = schedule->last_within(earliest, now_, *zone_);
    plan_.again = schedule->next_after(due.value_or(earliest), *zone_);
    if (!due) return;
    if (deadline && *due + std::chrono::seconds(*deadline) < now_) {
      tell("Warning", "MissSchedule", "Missed scheduled time to start a job: " + rfc3339(*due));
      runs_.last_due = due;  // told once
      return;
    }
    if (runs_.last_due && job_name(cron_job_, *due) == job_name(cron_job_, *runs_.last_due)) {
      runs_.last_due = due;  // "@every 10s": this minute had its Job
      return;
    }
    const auto policy = text_at(cron_job_, {"spec", "concurrencyPolicy"});
    if (policy == "Forbid" && !runs_.active.empty()) {
      // It starts as soon as the other one ends, if it is not too late then.
      return tell("Normal", "JobAlreadyActive",
                  "Not starting job because prior execution is running and concurrency policy is Forbid");
    }
    if (policy == "Replace") {
      for (const auto& job : runs_.active) remove(*job);
    }
    plan_.actions.push_back(Create{&res::jobs, job_of(cron_job_, *due)});
    tell("Normal", "SuccessfulCreate", "Created job " + job_name(cron_job_, *due));
    runs_.last_due = due;
  }

  void forget(const Objects& jobs, std::int64_t keep) {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(jobs.size()) - keep; ++i)
      remove(*jobs[static_cast<std::size_t>(i)]);
  }

  void write_status() {
    auto status = object_at(cron_job_, {"status"});
    json::array active;
    for (const auto& job : runs_.active) active.push_back(reference_to(*job));
    if (active.empty()) {
      status.erase("active");
    } else {
      status["active"] = std::move(active);
    }
    if (runs_.last_due) status["lastScheduleTime"] = rfc3339(*runs_.last_due);
    if (runs_.last_success) status["lastSuccessfulTime"] = rfc3339(*runs_.last_success);
    merge_status(plan_.actions, res::cron_jobs, cron_job_, status);
  }

  const ObjectPtr& object_;
  const json::object& cron_job_;
  const std::optional<TimeZone>& zone_;
  Time now_;
  Runs runs_;
  CronJobPlan plan_;
};

}  // namespace

CronJobPlan plan_cron_job(const ObjectPtr& cron_job, const Objects& jobs, const std::optional<TimeZone>& zone,
                          Time now) {
  return Planner(cron_job, jobs, zone, now).run();
}

}  // namespace workflow::engine
