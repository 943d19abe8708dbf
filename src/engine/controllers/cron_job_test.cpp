#include "engine/controllers/cron_job.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;
const std::optional<TimeZone> utc = TimeZone();

ObjectPtr cron_job(const std::string& spec, const std::string& status = "{}") {
  return object_from(
      "metadata: {name: nightly, namespace: shop, uid: uid-nightly, creationTimestamp: "
      "\"2026-03-01T00:00:00Z\"}\nspec: " +
      spec + "\nstatus: " + status);
}
// A Job that was due at `due`; `end` is "", Complete or Failed.
ObjectPtr job(const std::string& due, const std::string& end = "") {
  const auto minutes = std::chrono::duration_cast<std::chrono::minutes>(at(due.c_str()).time_since_epoch()).count();
  auto text = "metadata: {name: nightly-" + std::to_string(minutes) + ", namespace: shop, uid: uid-" +
              std::to_string(minutes) + ", creationTimestamp: \"" + due +
              "\", annotations: {batch.kubernetes.io/cronjob-scheduled-timestamp: \"" + due +
              "\"}, ownerReferences: [{kind: CronJob, name: nightly, uid: uid-nightly, controller: true}]}\nstatus: ";
  text += end.empty() ? "{active: 1}"
                      : "{completionTime: \"" + due + "\", conditions: [{type: " + end + ", status: \"True\"}]}";
  return object_from(text);
}

TEST(CronJob, starts_what_is_due_once) {
  struct Case {
    const char *what, *spec;
    Objects jobs;
    Texts expected;
  };
  const auto ten = "2026-03-01T10:00:00Z", nine = "2026-03-01T09:00:00Z";
  const Case cases[] = {
      {"due", "{schedule: \"0 * * * *\"}", {}, {"create jobs nightly-29539320"}},
      {"made already", "{schedule: \"0 * * * *\"}", {job(ten)}, {}},
      {"the last one runs", "{schedule: \"0 * * * *\"}", {job(nine)}, {"create jobs nightly-29539320"}},
      {"forbidden beside another", "{schedule: \"0 * * * *\", concurrencyPolicy: Forbid}", {job(nine)}, {}},
      {"allowed once it is over",
       "{schedule: \"0 * * * *\", concurrencyPolicy: Forbid}",
       {job(nine, "Complete")},
       {"create jobs nightly-29539320"}},
      {"replaced",
       "{schedule: \"0 * * * *\", concurrencyPolicy: Replace}",
       {job(nine)},
       {"remove jobs nightly-29539260", "create jobs nightly-29539320"}},
      {"suspended", "{schedule: \"0 * * * *\", suspend: true}", {}, {}},
      {"too late", "{schedule: \"0 * * * *\", startingDeadlineSeconds: 20}", {}, {}},
      {"not too late", "{schedule: \"0 * * * *\", startingDeadlineSeconds: 40}", {}, {"create jobs nightly-29539320"}},
      {"no schedule", "{schedule: \"daily\"}", {}, {}},
      {"every hour from the last one",
       "{schedule: \"@every 1h\"}",
       {job("2026-03-01T08:30:00Z")},
       {"create jobs nightly-29539290"}},
      {"every hour, not yet", "{schedule: \"@every 1h\"}", {job("2026-03-01T09:30:00Z")}, {}},
      {"twice a minute, which has one name", "{schedule: \"@every 30s\"}", {job(ten)}, {}}};
  for (const auto& [what, spec, jobs, expected] : cases) {
    const auto plan = plan_cron_job(cron_job(spec), jobs, utc, at("2026-03-01T10:00:30Z"));
    EXPECT_EQ(summary_of(plan.actions), expected) << what;
  }
}

TEST(CronJob, wakes_at_the_next_time_and_says_what_runs) {
  const auto object = cron_job("{schedule: \"0 * * * *\"}");
  const auto plan = plan_cron_job(object, {job("2026-03-01T10:00:00Z"), job("2026-03-01T09:00:00Z", "Complete")}, utc,
                                  at("2026-03-01T10:00:30Z"));
  EXPECT_EQ(rfc3339(*plan.again), "2026-03-01T11:00:00Z");
  const auto status = status_after(kube::resources::cron_jobs, *object, plan.actions);
  EXPECT_EQ(status.at("active").as_array().size(), 1u);
  EXPECT_EQ(text_at(status, {"lastScheduleTime"}), "2026-03-01T10:00:00Z");
  EXPECT_EQ(text_at(status, {"lastSuccessfulTime"}), "2026-03-01T09:00:00Z");
}

TEST(CronJob, tells_of_a_time_that_was_missed_once) {
  auto object = cron_job("{schedule: \"0 * * * *\", startingDeadlineSeconds: 20}");
  auto plan = plan_cron_job(object, {}, utc, at("2026-03-01T10:00:30Z"));
  EXPECT_EQ(summary_of(plan.actions, Events::include), Texts{"Warning MissSchedule"});
  auto after = *object;
  after["status"] = status_after(kube::resources::cron_jobs, *object, plan.actions);
  plan = plan_cron_job(std::make_shared<const json::object>(after), {}, utc, at("2026-03-01T10:00:40Z"));
  EXPECT_EQ(summary_of(plan.actions, Events::include), Texts{});
}

TEST(CronJob, goes_by_its_time_zone) {
  const auto object = cron_job("{schedule: \"0 9 * * *\", timeZone: Asia/Kolkata}");
  const auto plan = plan_cron_job(object, {}, find_time_zone("Asia/Kolkata"), at("2026-03-02T03:30:10Z"));
  EXPECT_EQ(summary_of(plan.actions), Texts{"create jobs nightly-29540370"});
  EXPECT_EQ(rfc3339(*plan.again), "2026-03-03T03:30:00Z");
  const auto lost = plan_cron_job(object, {}, std::nullopt, at("2026-03-02T03:30:10Z"));
  EXPECT_EQ(summary_of(lost.actions, Events::include), Texts{"Warning UnknownTimeZone"});
}

TEST(CronJob, keeps_as_many_finished_jobs_as_it_was_told) {
  const Objects jobs{job("2026-03-01T05:00:00Z", "Complete"), job("2026-03-01T06:00:00Z", "Complete"),
                     job("2026-03-01T07:00:00Z", "Failed"), job("2026-03-01T08:00:00Z", "Failed"),
                     job("2026-03-01T10:00:00Z", "Complete")};
  const auto plan =
      plan_cron_job(cron_job("{schedule: \"0 * * * *\", successfulJobsHistoryLimit: 1, failedJobsHistoryLimit: 1}"),
                    jobs, utc, at("2026-03-01T10:00:30Z"));
  EXPECT_EQ(summary_of(plan.actions),
            (Texts{"remove jobs nightly-29539020", "remove jobs nightly-29539080", "remove jobs nightly-29539140"}));
}

}  // namespace
}  // namespace workflow::engine
