#include "engine/node/pod_record.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

const Time now = *parse_rfc3339("2026-03-01T10:00:00Z");

json::object pod(const std::string& status) {
  return from_yaml(
      "metadata: {name: p, namespace: shop, uid: u}\nspec: {initContainers: [{name: i, image: x}], containers: [{name: "
      "a, image: x}]}\nstatus: " +
      status);
}
cri::ContainerStatus found(const char* name, cri::ContainerState state, std::uint32_t attempt, int code = 0) {
  cri::ContainerStatus status;
  status.name = name;
  status.id = std::string(name) + std::to_string(attempt);
  status.state = state;
  status.attempt = attempt;
  status.exit_code = code;
  status.started = now - std::chrono::minutes(5);
  status.finished = now - std::chrono::minutes(1);
  return status;
}

TEST(PodRecord, of_a_new_pod_waits) {
  const auto record = begun_record(pod("{}"), {}, "10.0.0.1", now);
  ASSERT_EQ(record.containers.size(), 2u);
  EXPECT_TRUE(record.containers[0].init);
  EXPECT_EQ(record.containers[1].phase, Phase::waiting);
  EXPECT_EQ(record.containers[1].reason, "PodInitializing");
}

TEST(PodRecord, adopts_what_runs) {
  using enum cri::ContainerState;
  const auto record = begun_record(pod("{phase: Running}"),
                                   {found("a", running, 2), found("a", exited, 1, 7), found("i", exited, 0)}, "", now);
  EXPECT_EQ(record.containers[0].phase, Phase::terminated);
  const auto& a = record.containers[1];
  EXPECT_EQ(a.phase, Phase::running);
  EXPECT_EQ(a.id, "a2");
  EXPECT_EQ(a.restarts, 2);
  EXPECT_EQ(a.previous->exit_code, 7);
}

// An engine that is killed between the making of a container and its start, or during that, restarted nothing.
TEST(PodRecord, does_not_count_a_container_that_never_ran) {
  using enum cri::ContainerState;
  auto made = found("a", created, 0);
  made.started = made.finished = {};
  auto start_failed = found("a", exited, 0, 128);
  start_failed.started = {};
  for (const auto& one : {made, start_failed}) {
    const auto record = begun_record(pod("{phase: Pending}"), {found("i", exited, 0), one}, "", now);
    EXPECT_EQ(record.containers[1].phase, Phase::waiting);
    EXPECT_EQ(record.containers[1].id, "");
    EXPECT_EQ(record.containers[1].restarts, 0);
  }
  auto again = made;
  again.attempt = 3;
  const auto known = begun_record(pod("{phase: Running}"), {found("a", exited, 2, 7), again}, "", now);
  EXPECT_EQ(known.containers[1].phase, Phase::terminated);
  EXPECT_EQ(known.containers[1].id, "a2");
  EXPECT_EQ(known.containers[1].restarts, 2);
  const auto remembered =
      begun_record(pod("{phase: Running, containerStatuses: [{name: a, restartCount: 2, containerID: containerd://a2, "
                       "state: {terminated: {exitCode: 7, containerID: containerd://a2}}}]}"),
                   {again}, "", now);
  EXPECT_EQ(remembered.containers[1].phase, Phase::terminated);
  EXPECT_EQ(remembered.containers[1].restarts, 2);
}

TEST(PodRecord, remembers_what_the_runtime_has_lost) {
  const auto running =
      begun_record(pod("{phase: Running, containerStatuses: [{name: a, restartCount: 3, containerID: containerd://old, "
                       "state: {running: {startedAt: \"2026-03-01T09:00:00Z\"}}}]}"),
                   {}, "", now);
  const auto& a = running.containers[1];
  EXPECT_EQ(a.phase, Phase::terminated);
  EXPECT_EQ(a.restarts, 3);
  EXPECT_EQ(a.last.reason, "ContainerStatusUnknown");
  EXPECT_EQ(a.last.exit_code, 137);
  const auto finished = begun_record(
      pod("{phase: Succeeded, containerStatuses: [{name: a, restartCount: 0, containerID: containerd://old, "
          "state: {terminated: {exitCode: 0, reason: Completed, containerID: containerd://old}}}]}"),
      {}, "", now);
  EXPECT_EQ(finished.containers[1].phase, Phase::terminated);
  EXPECT_EQ(finished.containers[1].last.reason, "Completed");
}

TEST(PodRecord, in_a_new_sandbox_everything_begins_again) {
  using enum cri::ContainerState;
  auto record = begun_record(pod("{phase: Running}"), {found("a", running, 0), found("i", exited, 0)}, "", now);
  note_new_sandbox(record, now);
  EXPECT_EQ(record.containers[0].phase, Phase::waiting);
  EXPECT_TRUE(record.containers[0].previous.has_value());
  EXPECT_EQ(record.containers[1].phase, Phase::terminated);
  EXPECT_EQ(record.containers[1].last.reason, "ContainerStatusUnknown");
}

TEST(PodRecord, believes_what_runs_more_than_a_runtime_that_does_not_know_it) {
  using enum cri::ContainerState;
  const auto p =
      pod("{phase: Running, initContainerStatuses: [{name: i, containerID: 'containerd://i0', state: {terminated: "
          "{exitCode: "
          "0}}}], containerStatuses: [{name: a, containerID: 'containerd://a2', imageID: sha, restartCount: 2, state: "
          "{running: {startedAt: '2026-03-01T09:00:00Z'}}}]}");
  const auto all = [](const std::string&) { return true; };
  const auto none = [](const std::string&) { return false; };
  EXPECT_TRUE(unseen_containers(p, {}, none).empty());
  EXPECT_TRUE(unseen_containers(p, {found("a", running, 2)}, all).empty());
  auto unseen = unseen_containers(p, {found("i", exited, 0)}, all);
  ASSERT_EQ(unseen.size(), 1u);
  const auto record = begun_record(p, std::move(unseen), "10.0.0.1", now);
  const auto& a = record.containers[1];
  EXPECT_EQ(a.phase, Phase::running);
  EXPECT_EQ(a.id, "a2");
  EXPECT_EQ(a.restarts, 2);
  EXPECT_EQ(a.image_id, "sha");
  EXPECT_EQ(a.started, *parse_rfc3339("2026-03-01T09:00:00Z"));
}

}  // namespace
}  // namespace workflow::engine
