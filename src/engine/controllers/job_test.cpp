#include "engine/controllers/job.h"

#include <gtest/gtest.h>

#include "engine/controllers/plan_test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;
namespace res = kube::resources;

ObjectPtr job(const std::string& spec, const std::string& status = "{startTime: \"2026-03-01T09:00:00Z\"}") {
  auto object = from_yaml("metadata: {name: load, namespace: shop, uid: uid-job, generation: 1}\nspec: " + spec +
                          "\nstatus: " + status);
  child(object, "spec")["template"] =
      from_yaml("{metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: i}], restartPolicy: Never}}");
  return std::make_shared<const json::object>(std::move(object));
}
// A pod of it; `counted`: its end was counted already.
ObjectPtr pod(const char* name, const char* phase, bool counted = false,
              const char* finished = "2026-03-01T09:59:55Z") {
  auto object = *pod_of({.name = name,
                         .owner_kind = "Job",
                         .owner = "job",
                         .phase = phase,
                         .ready = std::string_view(phase) == "Running"});
  if (!counted) child(object, "metadata")["finalizers"] = json::array{"batch.kubernetes.io/job-tracking"};
  child(object, "status")["containerStatuses"] = json::array{json::object{
      {"name", "c"}, {"state", json::object{{"terminated", json::object{{"exitCode", 1}, {"finishedAt", finished}}}}}}};
  return std::make_shared<const json::object>(std::move(object));
}

TEST(Job, runs_pods_until_enough_have_succeeded) {
  struct Case {
    const char *what, *spec, *status;
    Objects pods;
    Texts expected;
    const char* condition;
  };
  const char* const begun = "{startTime: \"2026-03-01T09:00:00Z\"}";
  const Case cases[] = {
      {"the first", "{completions: 1, parallelism: 1}", "{}", {}, {"create pods load-*"}, ""},
      {"side by side", "{completions: 5, parallelism: 2}", begun, {}, {"create pods load-*", "create pods load-*"}, ""},
      {"no more than are missing",
       "{completions: 3, parallelism: 2}",
       "{startTime: \"2026-03-01T09:00:00Z\", succeeded: 2}",
       {},
       {"create pods load-*"},
       ""},
      {"running", "{completions: 1, parallelism: 1}", begun, {pod("a", "Running")}, {}, ""},
      {"succeeded",
       "{completions: 1, parallelism: 1}",
       "{startTime: \"2026-03-01T09:00:00Z\", succeeded: 1}",
       {pod("a", "Succeeded", true)},
       {},
       "Complete"},
      {"a failure is tried again, a little later",
       "{completions: 1, parallelism: 1, backoffLimit: 2}",
       "{startTime: \"2026-03-01T09:00:00Z\", failed: 1}",
       {pod("a", "Failed", true)},
       {},
       ""},
      {"… and now",
       "{completions: 1, parallelism: 1, backoffLimit: 2}",
       "{startTime: \"2026-03-01T09:00:00Z\", failed: 1}",
       {pod("a", "Failed", true, "2026-03-01T09:59:49Z")},
       {"create pods load-*"},
       ""},
      {"once too often",
       "{completions: 1, parallelism: 1, backoffLimit: 0}",
       "{startTime: \"2026-03-01T09:00:00Z\", failed: 1}",
       {pod("a", "Failed", true)},
       {},
       "Failed"},
      {"too long",
       "{completions: 1, parallelism: 1, activeDeadlineSeconds: 60}",
       begun,
       {pod("a", "Running")},
       {"remove pods a"},
       "Failed"},
      {"suspended",
       "{completions: 1, parallelism: 1, suspend: true}",
       begun,
       {pod("a", "Running")},
       {"remove pods a"},
       "Suspended"},
      {"a queue: done once one succeeded and the others ended",
       "{parallelism: 2}",
       begun,
       {pod("a", "Succeeded"), pod("b", "Running")},
       {},
       ""},
      {"… as here", "{parallelism: 2}", "{startTime: \"2026-03-01T09:00:00Z\", succeeded: 1}", {}, {}, "Complete"},
      {"fewer at once", "{completions: 5, parallelism: 0}", begun, {pod("a", "Running")}, {"remove pods a"}, ""}};
  for (const auto& [what, spec, status, pods, expected, condition] : cases) {
    const auto object = job(spec, status);
    const auto plan = plan_job(object, pods, at("2026-03-01T10:00:00Z"));
    EXPECT_EQ(summary_of(plan.actions), expected) << what;
    const auto after = status_after(res::jobs, *object, plan.actions);
    for (const auto* type : {"Complete", "Failed", "Suspended"}) {
      EXPECT_EQ(find_condition(array_at(after, {"conditions"}), type) != nullptr, std::string_view(type) == condition)
          << what << ": " << type;
    }
  }
}

TEST(Job, counts_a_pod_once_however_often_it_is_interrupted) {
  auto object = *job("{completions: 1, parallelism: 1}");
  auto a = *pod("a", "Succeeded");
  std::vector<std::string> seen;
  for (int round = 0; round < 4; ++round) {
    Objects pods{std::make_shared<const json::object>(a)};
    // Every plan is made twice, as if the engine had died before the first one was carried out.
    for (int twice = 0; twice < 2; ++twice) {
      const auto plan = plan_job(std::make_shared<const json::object>(object), pods, at("2026-03-01T10:00:00Z"));
      if (twice == 0) continue;
      for (auto& text : summary_of(plan.actions)) {
        seen.push_back(text);
        child(a, "metadata").erase("finalizers");
      }
      object["status"] = status_after(res::jobs, object, plan.actions);
    }
    seen.push_back(std::to_string(integer_at(object, {"status", "succeeded"}).value_or(0)) + " counted, " +
                   std::to_string(array_at(object, {"status", "uncountedTerminatedPods", "succeeded"}).size()) +
                   " noted");
  }
  EXPECT_EQ(seen, (Texts{"0 counted, 1 noted", R"(merge pods a {"metadata":{"finalizers":[]}})", "0 counted, 1 noted",
                         "1 counted, 0 noted", "1 counted, 0 noted"}));
  EXPECT_NE(find_condition(array_at(object, {"status", "conditions"}), "Complete"), nullptr);
}

TEST(Job, lets_go_of_pods_that_an_earlier_one_of_its_name_left) {
  EXPECT_EQ(summary_of(plan_lost_job_pods("job", "uid-new", {pod("a", "Running")})),
            Texts{R"(merge pods a {"metadata":{"finalizers":[]}})"});
  EXPECT_EQ(summary_of(plan_lost_job_pods("job", "uid-job", {pod("a", "Running")})), Texts{});
}

TEST(Job, goes_after_its_time_to_live) {
  const char* const over =
      "{startTime: \"2026-03-01T09:00:00Z\", succeeded: 1, conditions: [{type: Complete, status: \"True\", "
      "lastTransitionTime: \"2026-03-01T10:00:00Z\"}]}";
  const auto object = job("{completions: 1, parallelism: 1, ttlSecondsAfterFinished: 60}", over);
  const auto early = plan_job(object, {}, at("2026-03-01T10:00:59Z"));
  EXPECT_EQ(summary_of(early.actions), Texts{});
  EXPECT_EQ(rfc3339(*early.again), "2026-03-01T10:01:00Z");
  EXPECT_EQ(summary_of(plan_job(object, {}, at("2026-03-01T10:01:00Z")).actions), Texts{"remove jobs load"});
}

ObjectPtr indexed_pod(int index, const ObjectPtr& of) {
  auto object = *of;
  child(child(object, "metadata"), "annotations")["batch.kubernetes.io/job-completion-index"] = std::to_string(index);
  return std::make_shared<const json::object>(std::move(object));
}

TEST(Job, of_indexes_has_one_pod_for_each_that_is_not_done) {
  const auto spec = "{completionMode: Indexed, completions: 5, parallelism: 3}";
  const auto object = job(spec, "{startTime: \"2026-03-01T09:00:00Z\", completedIndexes: \"0,2\", succeeded: 2}");
  const Objects pods{indexed_pod(0, pod("zero", "Succeeded", true)), indexed_pod(2, pod("two", "Succeeded")),
                     indexed_pod(3, pod("three", "Running")), indexed_pod(3, pod("again", "Running"))};
  const auto plan = plan_job(object, pods, at("2026-03-01T10:00:00Z"));
  EXPECT_EQ(summary_of(plan.actions), (Texts{R"(merge pods two {"metadata":{"finalizers":[]}})", "remove pods again",
                                             "create pods load-1-*", "create pods load-4-*"}));
  const auto done = plan_job(job(spec, "{startTime: \"2026-03-01T09:00:00Z\", completedIndexes: \"0-3\"}"),
                             {indexed_pod(4, pod("four", "Succeeded"))}, at("2026-03-01T10:00:00Z"));
  const auto status = status_after(res::jobs, *object, done.actions);
  EXPECT_EQ(text_at(status, {"completedIndexes"}), "0-4");
  EXPECT_EQ(integer_at(status, {"succeeded"}), 5);
}

TEST(Job, tells_failures_apart_by_its_policy) {
  const auto with = [](const char* rule) {
    return job(std::string("{completions: 1, parallelism: 1, backoffLimit: 0, podFailurePolicy: {rules: [") + rule +
               "]}}");
  };
  const auto reason = [](const ObjectPtr& object) {
    const auto status =
        status_after(res::jobs, *object, plan_job(object, {pod("a", "Failed")}, at("2026-03-01T10:00:00Z")).actions);
    const auto* target = find_condition(array_at(status, {"conditions"}), "FailureTarget");
    const auto uncounted = array_at(status, {"uncountedTerminatedPods", "failed"}).size();
    return (target == nullptr ? std::string("-") : text_at(*target, {"reason"})) + " " + std::to_string(uncounted);
  };
  EXPECT_EQ(reason(with("{action: FailJob, onExitCodes: {operator: In, values: [1, 42]}}")), "PodFailurePolicy 1");
  EXPECT_EQ(reason(with("{action: FailJob, onExitCodes: {operator: NotIn, values: [1]}}")), "- 1");
  EXPECT_EQ(reason(with("{action: FailJob, onExitCodes: {containerName: other, operator: In, values: [1]}}")), "- 1");
  EXPECT_EQ(reason(with("{action: Ignore, onExitCodes: {operator: In, values: [1]}}")), "- 0");
  EXPECT_EQ(reason(with("{action: Ignore, onPodConditions: [{type: DisruptionTarget, status: \"True\"}]}")), "- 1");
}

TEST(Job, takes_on_what_it_selects_and_lets_go_of_what_it_does_not) {
  const auto object = job("{completions: 2, parallelism: 2, selector: {matchLabels: {app: web}}}");
  auto other = *pod("other", "Running");
  child(other, "metadata")["labels"] = json::object{{"app", "x"}};
  const Objects pods{pod_of({.name = "nobodys", .owner = ""}), std::make_shared<const json::object>(std::move(other))};
  const auto said = summary_of(plan_job(object, pods, at("2026-03-01T10:00:00Z")).actions);
  ASSERT_EQ(said.size(), 3u);
  EXPECT_TRUE(said[0].starts_with("merge pods nobodys") && said[0].contains("batch.kubernetes.io/job-tracking"));
  EXPECT_EQ(said[1], R"(merge pods other {"metadata":{"ownerReferences":null,"finalizers":[]}})");
  EXPECT_EQ(said[2], "create pods load-*");
}

}  // namespace
}  // namespace workflow::engine
