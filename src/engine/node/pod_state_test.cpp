#include "engine/node/pod_state.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

const Time now = *parse_rfc3339("2026-03-01T10:00:00Z");

ContainerRecord waiting(const std::string& name) { return {.name = name}; }
ContainerRecord running(const std::string& name, bool ready = true) {
  return {.name = name,
          .phase = Phase::running,
          .id = "id-" + name,
          .started = now - 1min,
          .ready = ready,
          .startup_done = true};
}
ContainerRecord ended(const std::string& name, int code) {
  return {.name = name,
          .phase = Phase::terminated,
          .id = "id-" + name,
          .last = {"id-" + name, code, code ? "Error" : "Completed", "", now - 1min, now}};
}
ContainerRecord init(ContainerRecord record) {
  record.init = true;
  return record;
}
ContainerRecord sidecar(ContainerRecord record) {
  record.init = record.sidecar = true;
  return record;
}
PodRecord pod(std::vector<ContainerRecord> containers) {
  return {.containers = std::move(containers), .sandbox_id = "s"};
}

TEST(PodState, phase_follows_the_containers_and_the_policy) {
  constexpr auto always = RestartPolicy::always, on_failure = RestartPolicy::on_failure, never = RestartPolicy::never;
  struct Case {
    const char* what;
    PodRecord pod;
    RestartPolicy policy;
    const char* phase;
  };
  const Case cases[] = {{"nothing yet", pod({waiting("a")}), always, "Pending"},
                        {"one runs", pod({running("a"), waiting("b")}), always, "Running"},
                        {"ended, to be started again", pod({ended("a", 1)}), always, "Running"},
                        {"ended well", pod({ended("a", 0)}), on_failure, "Succeeded"},
                        {"failed, tried again", pod({ended("a", 1)}), on_failure, "Running"},
                        {"failed", pod({ended("a", 1), ended("b", 0)}), never, "Failed"},
                        {"one of two ended", pod({ended("a", 0), running("b")}), never, "Running"},
                        {"init runs", pod({init(running("i")), waiting("a")}), always, "Pending"},
                        {"init failed for good", pod({init(ended("i", 1)), waiting("a")}), never, "Failed"},
                        {"init failed, tried again", pod({init(ended("i", 1)), waiting("a")}), always, "Pending"},
                        {"sidecar still runs", pod({sidecar(running("s")), ended("a", 0)}), never, "Running"},
                        {"sidecar ended too", pod({sidecar(ended("s", 143)), ended("a", 0)}), never, "Succeeded"}};
  for (const auto& [what, record, policy, phase] : cases) EXPECT_EQ(phase_of(record, policy), phase) << what;
  auto late = pod({running("a")});
  late.failure = "DeadlineExceeded";
  EXPECT_EQ(phase_of(late, always), "Failed");
}

TEST(PodState, init_containers_start_one_by_one_then_all_others_together) {
  constexpr auto always = RestartPolicy::always, never = RestartPolicy::never;
  auto starting = [](ContainerRecord record) {
    record.startup_done = false;
    return record;
  };
  auto later = [](ContainerRecord record) {
    record.not_before = now + 1s;
    return record;
  };
  struct Case {
    const char* what;
    PodRecord pod;
    RestartPolicy policy;
    std::vector<std::size_t> expected;
  };
  const Case cases[] = {
      {"all at once", pod({waiting("a"), waiting("b")}), always, {0, 1}},
      {"the first init", pod({init(waiting("i")), init(waiting("j")), waiting("a")}), always, {0}},
      {"the second", pod({init(ended("i", 0)), init(waiting("j")), waiting("a")}), always, {1}},
      {"the rest", pod({init(ended("i", 0)), init(ended("j", 0)), waiting("a")}), always, {2}},
      {"a failed init again", pod({init(ended("i", 1)), waiting("a")}), always, {0}},
      {"or never", pod({init(ended("i", 1)), waiting("a")}), never, {}},
      {"a sidecar holds back until it is up", pod({sidecar(starting(running("s"))), waiting("a")}), always, {}},
      {"a sidecar that is up does not", pod({sidecar(running("s")), waiting("a")}), always, {1}},
      {"a sidecar again, and the others", pod({sidecar(ended("s", 1)), running("a")}), never, {0}},
      {"no sidecar for nobody", pod({sidecar(ended("s", 1)), ended("a", 0)}), never, {}},
      {"not yet", pod({later(ended("a", 1))}), always, {}},
      {"again", pod({ended("a", 0)}), always, {0}}};
  for (const auto& [what, record, policy, expected] : cases)
    EXPECT_EQ(startable(record, policy, now), expected) << what;
  auto leaving = pod({waiting("a")});
  leaving.terminating = true;
  EXPECT_TRUE(startable(leaving, always, now).empty());
  EXPECT_EQ(next_start(pod({later(ended("a", 1))}), always), now + 1s);
}

TEST(PodState, waits_longer_after_each_crash) {
  ContainerRecord record = running("a");
  std::vector<int> pauses;
  for (int i = 0; i < 8; ++i) {
    note_end(record, {"id", 1, "Error", "", now - 5s, now});
    pauses.push_back(
        static_cast<int>(std::chrono::duration_cast<std::chrono::seconds>(record.not_before - now).count()));
    record.restarts += 1;
    record.phase = Phase::running;
  }
  EXPECT_EQ(pauses, (std::vector<int>{0, 10, 20, 40, 80, 160, 300, 300}));
  note_end(record, {"id", 1, "Error", "", now - 11min, now});
  EXPECT_EQ(record.not_before, now);
}

// An app that obeys SIGTERM exits with 0: that says nothing of why it had to go.
TEST(PodState, what_a_probe_ended_says_so) {
  auto record = running("a");
  record.doom =
      Doom{.deadline = now, .reason = "LivenessProbeFailed", .why = "Liveness probe failed: HTTP 500", .event = ""};
  note_end(record, {"id-a", 0, "Completed", "", now - 1min, now});
  EXPECT_EQ(record.last.reason, "LivenessProbeFailed");
  EXPECT_EQ(record.last.message, "Liveness probe failed: HTTP 500");
  EXPECT_EQ(record.last.exit_code, 0);
  EXPECT_FALSE(record.doom);
  record.doom = Doom{.deadline = now, .reason = "LivenessProbeFailed", .why = "Liveness probe failed: x", .event = ""};
  note_end(record, {"id-a", 3, "Error", "bye", now - 1min, now});
  EXPECT_EQ(record.last.message, "Liveness probe failed: x; its last words: bye");
}

TEST(PodState, plans_move_with_the_clock) {
  auto crashed = ended("a", 1);
  crashed.not_before = now + 20s;
  auto lost = running("b");
  lost.doom = Doom{.deadline = now + 30s, .reason = "", .why = "", .event = ""};
  auto record = pod({crashed, lost, running("c")});
  shift_plans(record, 1h);
  EXPECT_EQ(record.containers[0].not_before, now + 1h + 20s);
  EXPECT_EQ(record.containers[0].last.finished, now);  // it happened when it happened
  EXPECT_EQ(record.containers[1].doom->deadline, now + 1h + 30s);
  EXPECT_EQ(record.containers[2].not_before, Time{});
}

TEST(PodState, a_failed_start_says_why_and_when_it_is_tried_again) {
  auto record = waiting("a");
  record.image = "i";
  note_failed_start(record, "ErrImagePull", "no such host", now);
  EXPECT_EQ(record.reason, "ErrImagePull");
  EXPECT_EQ(record.not_before, now + 5s);
  note_failed_start(record, "ErrImagePull", "no such host", now);
  EXPECT_EQ(record.reason, "ImagePullBackOff");
  EXPECT_EQ(record.message, "Back-off pulling image \"i\": no such host");
  EXPECT_EQ(record.not_before, now + 10s);
}

json::object object(const std::string& more = "") {
  return from_yaml("metadata: {name: p, namespace: shop, uid: u}\nspec: {restartPolicy: Always" + more + "}");
}
std::string condition(const json::object& status, std::string_view type) {
  for (const auto& c : array_at(status, {"conditions"})) {
    if (text_at(c.as_object(), {"type"}) == type)
      return text_at(c.as_object(), {"status"}) + " " + text_at(c.as_object(), {"reason"});
  }
  return "none";
}

TEST(PodState, status_is_what_kubernetes_reports) {
  const auto status = status_of(pod({running("a"), running("b", false)}), object(), nullptr, now);
  EXPECT_EQ(condition(status, "Ready"), "False ContainersNotReady");
  EXPECT_EQ(condition(status, "Initialized"), "True ");
  const auto& first = status.at("containerStatuses").as_array()[0].as_object();
  EXPECT_EQ(json::serialize(first.at("state")), R"({"running":{"startedAt":"2026-03-01T09:59:00Z"}})");
  EXPECT_EQ(first.at("containerID"), "containerd://id-a");
  EXPECT_EQ(condition(status_of(pod({running("a")}), object(), nullptr, now), "Ready"), "True ");
}

TEST(PodState, status_says_that_it_backs_off) {
  auto crashed = ended("a", 1);
  crashed.restarts = 2;
  crashed.backoff = 20s;
  crashed.not_before = now + 20s;
  const auto status = status_of(pod({crashed}), object(), nullptr, now);
  const auto& shown = status.at("containerStatuses").as_array()[0].as_object();
  EXPECT_EQ(text_at(shown, {"state", "waiting", "reason"}), "CrashLoopBackOff");
  EXPECT_EQ(text_at(shown, {"state", "waiting", "message"}),
            "back-off 20s restarting failed container=a pod=p_shop(u)");
  EXPECT_EQ(integer_at(shown, {"lastState", "terminated", "exitCode"}), 1);
}

TEST(PodState, keeps_others_conditions_and_asks_readiness_gates) {
  const auto gated = object(", readinessGates: [{conditionType: example.com/ready}]");
  auto before = status_of(pod({running("a")}), gated, nullptr, now);
  EXPECT_EQ(condition(before, "Ready"), "False ReadinessGatesNotReady");
  before["conditions"].as_array().push_back(json::object{{"type", "example.com/ready"}, {"status", "True"}});
  const auto after = status_of(pod({running("a")}), gated, &before, now);
  EXPECT_EQ(condition(after, "Ready"), "True ");
  EXPECT_EQ(condition(after, "example.com/ready"), "True ");
}

}  // namespace
}  // namespace workflow::engine
