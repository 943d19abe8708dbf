#include "controller/cluster/rollout.h"

#include <gtest/gtest.h>

#include "controller/cluster/examples.h"
#include "lib/kube/yaml.h"

namespace workflow::controller::cluster {
namespace {

using namespace std::chrono_literals;
using State = Judgement::State;

ObjectPtr object(const std::string& yaml) {
  return std::make_shared<const json::object>(kube::parse_yaml(yaml).get_object());
}

ObjectPtr deployment(const std::string& status) {
  return object("metadata: {name: shop-web, generation: 2}\nstatus: " + status);
}
const auto settled = "{observedGeneration: 2, replicas: 1, updatedReplicas: 1, availableReplicas: 1}";
const auto coming = "{observedGeneration: 2, replicas: 2, updatedReplicas: 1, availableReplicas: 1}";

// A pod of the new release; `container` is its container's status, `conditions` a list.
ObjectPtr pod(const std::string& container, const std::string& conditions = "[]", const std::string& phase = "Pending",
              const std::string& name = "p") {
  const auto containers = container.empty() ? "[]" : "[{name: shop-web, image: shop:1, " + container + "}]";
  return object("metadata: {name: " + name + ", uid: " + name + "}\nstatus: {phase: " + phase +
                ", conditions: " + conditions + ", containerStatuses: " + containers + "}");
}
const auto ready = "[{type: Ready, status: \"True\"}]";

kube::EventView event(std::string reason, std::string message, std::string name = "p", std::string kind = "Pod") {
  return {.type = "Warning",
          .reason = std::move(reason),
          .message = std::move(message),
          .kind = std::move(kind),
          .name = std::move(name)};
}

struct Scene {
  RolloutView view{
      .type = type("web"), .container = "shop-web", .generation = 2, .replicas = 1, .probed = true, .port = 5000};
  RolloutLimits limits;
  FirstSeen seen;
  Judgement at(std::chrono::milliseconds elapsed) { return judge(view, limits, seen, limits.began + elapsed); }
};

TEST(Judge, waits_for_the_deployment_controller_then_for_readiness) {
  Scene s;
  struct Case {
    std::string status;
    State state;
  };
  const Case cases[] = {
      {"{}", State::waiting},
      {"{observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}", State::waiting},
      {coming, State::waiting},
      {"{observedGeneration: 2, replicas: 1, updatedReplicas: 1}", State::waiting},
      {settled, State::up}};
  for (const auto& [status, state] : cases) {
    s.view.deployment = deployment(status);
    EXPECT_EQ(s.at(1s).state, state) << status;
  }
}

TEST(Judge, nothing_wanted_is_up_at_once) {
  Scene s;
  s.view.replicas = 0;
  s.view.deployment = deployment("{observedGeneration: 2, replicas: 1}");
  EXPECT_EQ(s.at(0s).state, State::up);
  s.view.deployment = nullptr;
  EXPECT_EQ(s.at(0s).state, State::failed);
}

TEST(Judge, recognises_pods_that_will_never_come_up) {
  struct Case {
    ObjectPtr pod;
    std::string reason;
    std::string pod_of_log;
    bool previous;
  };
  const Case cases[] = {
      {pod("state: {waiting: {reason: ErrImagePull, message: not found}}"),
       "image shop:1 not found: not found (ErrImagePull). Check its name and its tag", "", false},
      {pod("state: {waiting: {reason: ErrImagePull, message: 401 Unauthorized}}"),
       "Permission Denied attempting to pull image shop:1: 401 Unauthorized (ErrImagePull). Check the credentials of "
       "its registry",
       "", false},
      {pod("state: {waiting: {reason: ImagePullBackOff, message: back-off}}"),
       "cannot pull the image shop:1: back-off (ImagePullBackOff). Check the image's name and the credentials of its "
       "registry",
       "", false},
      {pod("state: {waiting: {reason: CreateContainerError, message: no such file}}"),
       "the container cannot be started: no such file (CreateContainerError)", "p", false},
      {pod("restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {exitCode: 3}}"),
       "the process exited with status 3 soon after its start", "p", true},
      {pod("restartCount: 1, state: {terminated: {exitCode: 1}}"),
       "the process exited with status 1 soon after its start", "p", false},
      {pod("restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 137, reason: OOMKilled}}"),
       "the process ran out of memory and was killed; give it more with `deis limits:set` soon after its start", "p",
       true},
      {pod("restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 139}}"),
       "the process was ended by signal 11 soon after its start", "p", true},
      {pod("", "[]", "Failed"), "a pod failed:  ", "p", false}};
  for (const auto& c : cases) {
    Scene s;
    s.view.deployment = deployment(coming);
    s.view.pods = {c.pod};
    const auto judgement = s.at(1s);
    EXPECT_EQ(judgement.state, State::failed) << c.reason;
    EXPECT_EQ(judgement.reason, c.reason);
    EXPECT_EQ(judgement.pod, c.pod_of_log) << c.reason;
    EXPECT_EQ(judgement.previous, c.previous) << c.reason;
  }
}

TEST(Judge, a_process_that_a_probe_ends_has_not_ended_by_itself) {
  Scene s;
  s.view.deployment = deployment(coming);
  s.view.pods = {pod("restartCount: 2, state: {running: {}}, lastState: {terminated: {exitCode: 0}}")};
  s.view.events = {event("Unhealthy", "Liveness probe failed: HTTP probe failed with statuscode: 500"),
                   event("Killing", "Container shop-web failed liveness probe, will be restarted")};
  const auto judgement = s.at(1s);
  EXPECT_EQ(judgement.state, State::failed);
  EXPECT_EQ(judgement.reason,
            "the process was stopped again and again by the health check that it failed: Liveness probe failed: HTTP "
            "probe failed with statuscode: 500");
  s.view.events.clear();
  EXPECT_EQ(s.at(1s).reason, "the process exited with status 0 soon after its start");
}

TEST(Judge, is_patient_with_what_may_pass) {
  const ObjectPtr pods[] = {pod("state: {waiting: {reason: ContainerCreating}}"),
                            pod("restartCount: 0, state: {terminated: {exitCode: 1}}"),
                            pod("restartCount: 1, state: {running: {}}, lastState: {terminated: {exitCode: 1}}"),
                            pod("", "[{type: PodScheduled, status: \"False\", reason: Unschedulable, message: full}]")};
  for (const auto& p : pods) {
    Scene s;
    s.view.deployment = deployment(coming);
    s.view.pods = {p};
    EXPECT_EQ(s.at(1s).state, State::waiting) << print_json(*p);
  }
}

TEST(Judge, pods_of_before_are_not_judged) {
  Scene s;
  s.view.deployment = deployment(coming);
  s.view.pods = {pod("restartCount: 7, state: {running: {}}", ready, "Running")};
  EXPECT_EQ(s.at(1s).state, State::failed);
  s.view.old_pods = {"p"};
  EXPECT_EQ(s.at(1s).state, State::waiting);
}

TEST(Judge, gives_a_full_node_some_seconds) {
  Scene s;
  s.view.deployment = deployment(coming);
  s.view.pods = {
      pod("", "[{type: PodScheduled, status: \"False\", reason: Unschedulable, message: Insufficient memory}]")};
  const auto first = s.at(1s);
  EXPECT_EQ(first.state, State::waiting);
  EXPECT_EQ(first.look_again, s.limits.began + 11s);
  const auto later = s.at(11s);
  EXPECT_EQ(later.state, State::failed);
  EXPECT_EQ(later.reason, "no node can run it: Insufficient memory. Lower its limits, change its tags, or add a node");
  s.limits.ignore_scheduling = true;
  EXPECT_EQ(s.at(12s).state, State::waiting);
}

TEST(Judge, quota_fails_at_once_other_refusals_after_a_while) {
  Scene s;
  s.view.deployment = deployment(coming);
  s.view.events = {
      event("FailedCreate", "pods \"x\" is forbidden: exceeded quota: shop-quota", "shop-web-1", "ReplicaSet")};
  EXPECT_EQ(s.at(1s).reason, "the cluster refuses its pods: pods \"x\" is forbidden: exceeded quota: shop-quota");
  s.view.events = {event("FailedCreate", "service account not found", "shop-web-1", "ReplicaSet")};
  EXPECT_EQ(s.at(2s).state, State::waiting);
  EXPECT_EQ(s.at(11s).state, State::failed) << "first seen at 1 s";
  s.view.pods = {pod("state: {waiting: {reason: ContainerCreating}}")};
  EXPECT_EQ(s.at(30s).state, State::waiting) << "it was made after all";
}

TEST(Judge, a_worker_must_live_for_a_moment) {
  Scene s;
  s.view.probed = false;
  s.view.deployment = deployment(settled);
  s.view.pods = {pod("state: {running: {}}", ready, "Running")};
  const auto first = s.at(1s);
  EXPECT_EQ(first.state, State::waiting);
  EXPECT_EQ(first.look_again, s.limits.began + 2s);
  EXPECT_EQ(s.at(2s).state, State::up);
  s.view.pods = {pod("restartCount: 0, state: {terminated: {exitCode: 1}}")};
  EXPECT_EQ(s.at(3s).state, State::waiting);
  s.view.pods = {pod("state: {running: {}}", ready, "Running")};
  EXPECT_EQ(s.at(4s).state, State::waiting) << "counted from its last start";
}

TEST(Judge, at_the_deadline_the_probe_explains) {
  Scene s;
  s.view.deployment = deployment(coming);
  s.view.pods = {pod("state: {running: {}}", "[]", "Running"), pod("state: {running: {}}", ready, "Running", "other")};
  s.view.events = {event("Unhealthy", "of a pod that is ready now", "other"),
                   event("Unhealthy", "Readiness probe failed: connection refused")};
  EXPECT_EQ(s.at(119s).state, State::waiting);
  const auto late = s.at(120s);
  EXPECT_EQ(late.state, State::failed);
  EXPECT_EQ(
      late.reason,
      "not ready within 120 s: Readiness probe failed: connection refused. The process must listen on port 5000 of all "
      "addresses (variable PORT)");
  EXPECT_EQ(late.pod, "p");
  s.view.events = {event("FailedMount", "no such secret")};
  EXPECT_EQ(s.at(120s).reason, "not ready within 120 s: no such secret (FailedMount)");
  s.view.events.clear();
  EXPECT_EQ(s.at(120s).reason, "not ready within 120 s");
  s.view.pods.clear();
  EXPECT_EQ(s.at(120s).reason, "not ready within 120 s: the cluster made no pod");
}

TEST(Judge, what_an_attempt_before_left_says_nothing_about_this_one) {
  Scene s;
  // Going back: the cluster has not looked yet, and still says what it said of the release that failed.
  s.view.generation = 3;
  s.view.deployment = deployment(
      "{observedGeneration: 2, conditions: [{type: Progressing, status: \"False\", reason: ProgressDeadlineExceeded}, "
      "{type: ReplicaFailure, status: \"True\", message: \"exceeded quota: shop-quota\"}]}");
  EXPECT_EQ(s.at(1s).state, State::waiting);
  // It has looked; whether its progress was made in time is asked of our own clock.
  s.view.generation = 2;
  s.view.deployment = deployment(
      "{observedGeneration: 2, conditions: [{type: Progressing, status: \"False\", reason: "
      "ProgressDeadlineExceeded}]}");
  EXPECT_EQ(s.at(119s).state, State::waiting);
  EXPECT_EQ(s.at(120s).state, State::failed);
}

TEST(Judge, a_held_rollout_is_up_when_as_many_serve_as_the_old_leave_room_for) {
  struct Case {
    int replicas, surge, old_serving, ready;
    State state;
  };
  const Case cases[] = {{1, 1, 1, 0, State::waiting}, {1, 1, 1, 1, State::up},      {4, 1, 4, 1, State::up},
                        {4, 1, 3, 1, State::waiting}, {4, 1, 3, 2, State::up},      {4, 4, 4, 3, State::waiting},
                        {4, 4, 4, 4, State::up},      {4, 2, 0, 3, State::waiting}, {4, 2, 0, 4, State::up}};
  for (const auto& c : cases) {
    Scene s;
    s.view.until = RolloutView::Until::next_step;
    s.view.replicas = c.replicas;
    s.view.surge = c.surge;
    s.view.old_serving = c.old_serving;
    s.view.deployment = deployment("{observedGeneration: 2}");
    for (int i = 0; i < c.ready; ++i)
      s.view.pods.push_back(pod("state: {running: {}}", ready, "Running", "p" + std::to_string(i)));
    EXPECT_EQ(s.at(1s).state, c.state) << c.replicas << " " << c.surge << " " << c.old_serving << " " << c.ready;
    s.view.generation = 3;
    EXPECT_EQ(s.at(1s).state, State::waiting) << "the cluster has not seen it";
  }
}

TEST(Judge, a_long_pull_gets_ten_more_minutes) {
  Scene s;
  s.view.deployment = deployment(coming);
  s.view.pods = {pod("state: {waiting: {reason: ContainerCreating}}")};
  s.view.events = {event("Pulling", "Pulling image")};
  EXPECT_EQ(s.at(1s).state, State::waiting);
  EXPECT_EQ(s.at(70s).state, State::waiting);
  EXPECT_EQ(s.at(130s).state, State::waiting);
  s.view.events.push_back(event("Pulled", "done"));
  EXPECT_EQ(s.at(719s).state, State::waiting);
  EXPECT_EQ(s.at(720s).state, State::failed);
}

}  // namespace
}  // namespace workflow::controller::cluster
