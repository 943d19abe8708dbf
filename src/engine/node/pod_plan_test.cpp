#include "engine/node/pod_plan.h"

#include <gtest/gtest.h>

#include <ostream>

namespace workflow::engine {

std::ostream& operator<<(std::ostream& out, const Action& action) {
  constexpr const char* names[] = {"set_up", "refresh", "start",   "stop",   "hurry",
                                   "cancel", "give_up", "release", "remove", "forget"};
  return out << names[static_cast<int>(action.kind)] << " " << action.container << " "
             << action.deadline.time_since_epoch().count();
}

namespace {

using namespace std::chrono_literals;
using enum Action::Kind;

const Time now = *parse_rfc3339("2026-03-01T10:00:00Z");
const Time soon = now + 30s;

ContainerRecord waiting(const std::string& name) { return {.name = name}; }
ContainerRecord running(const std::string& name) {
  return {.name = name, .phase = Phase::running, .id = "id-" + name, .started = now - 1min, .startup_done = true};
}
ContainerRecord ended(const std::string& name, int code) {
  return {.name = name, .phase = Phase::terminated, .id = "id-" + name, .last = {.exit_code = code}};
}
ContainerRecord sidecar(ContainerRecord record) {
  record.init = record.sidecar = true;
  return record;
}
ContainerRecord doomed(ContainerRecord record) {
  record.doom = Doom{.deadline = soon, .reason = "LivenessProbeFailed", .why = "", .event = ""};
  return record;
}

// What is true of a pod whose life is quiet; each case changes some of it.
PodFacts facts() { return {.now = now, .set_up = {.done = true}}; }
PodFacts with(void (*change)(PodFacts&)) {
  auto its = facts();
  change(its);
  return its;
}

struct Case {
  const char* what;
  std::vector<ContainerRecord> containers;
  PodFacts facts;
  std::vector<Action> actions;
  std::optional<Time> again{};
  const char* sandbox = "s";
};

void expect_plans(const std::vector<Case>& cases) {
  for (const auto& [what, containers, its, actions, again, sandbox] : cases) {
    const PodRecord pod{.containers = containers, .sandbox_id = sandbox};
    const auto plan = plan_pod(pod, its);
    EXPECT_EQ(plan.actions, actions) << what;
    EXPECT_EQ(plan.again, again) << what;
    EXPECT_FALSE(plan.is_over) << what;
  }
}

TEST(PodPlan, of_a_pod_that_is_to_run) {
  expect_plans({
      {"set up before anything starts", {waiting("a")}, with([](auto& f) { f.set_up.done = false; }), {{set_up}}},
      {"one who does it is enough", {waiting("a")}, with([](auto& f) { f.set_up = {.busy = true}; }), {}},
      {"after a failure, later", {waiting("a")}, with([](auto& f) { f.set_up = {.not_before = soon}; }), {}, soon},
      {"and then again", {waiting("a")}, with([](auto& f) { f.set_up = {.not_before = now}; }), {{set_up}}},
      {"all start together", {waiting("a"), waiting("b")}, facts(), {{start, "a"}, {start, "b"}}},
      {"those that start already do not",
       {waiting("a"), waiting("b")},
       with([](auto& f) { f.starting = {"a"}; }),
       {{start, "b"}}},
      {"nothing to do", {running("a")}, facts(), {}},
      {"a container that ended starts again", {running("a"), ended("b", 1)}, facts(), {{start, "b"}}},
      {"stale volumes are written", {running("a")}, with([](auto& f) { f.refresh_at = now; }), {{refresh}}},
      {"or will be", {running("a")}, with([](auto& f) { f.refresh_at = soon; }), {}, soon},
      {"one writer at a time",
       {running("a")},
       with([](auto& f) {
         f.refresh_at = now;
         f.refresh.busy = true;
       }),
       {}},
      {"nobody needs the sidecar any more",
       {sidecar(running("s")), ended("a", 0)},
       with([](auto& f) { f.policy = RestartPolicy::never; }),
       {{stop, "s", soon}}},
      {"too long", {running("a")}, with([](auto& f) { f.active_deadline = now; }), {{give_up}}},
      {"not yet too long", {running("a")}, with([](auto& f) { f.active_deadline = soon; }), {}, soon},
  });
}

TEST(PodPlan, of_a_container_that_a_probe_gave_up_on) {
  expect_plans({
      {"it is stopped", {doomed(running("a"))}, facts(), {{stop, "a", soon}}},
      {"once", {doomed(running("a"))}, with([](auto& f) { f.stops["id-a"] = {.deadline = soon, .busy = true}; }), {}},
      {"stopping fails: it stays doomed",
       {doomed(running("a"))},
       with([](auto& f) { f.stops["id-a"] = {.deadline = soon, .not_before = now + 1s}; }),
       {},
       now + 1s},
      {"and is stopped again",
       {doomed(running("a"))},
       with([](auto& f) { f.stops["id-a"] = {.deadline = now + 5s, .not_before = now}; }),
       {{stop, "a", now + 5s}}},
  });
}

PodFacts leaving(void (*change)(PodFacts&) = [](PodFacts&) {}) {
  auto its = facts();
  its.leaving = true;
  its.stop_by = soon;
  change(its);
  return its;
}

TEST(PodPlan, of_a_pod_that_leaves) {
  expect_plans({
      {"work first",
       {sidecar(running("s")), running("a"), running("b")},
       leaving(),
       {{stop, "a", soon}, {stop, "b", soon}},
       soon},
      {"then the sidecars, the last one first",
       {sidecar(running("s")), sidecar(running("t")), ended("a", 0)},
       leaving(),
       {{stop, "t", soon}},
       soon},
      {"it is patient",
       {running("a")},
       leaving([](auto& f) { f.stops["id-a"] = {.deadline = soon, .busy = true}; }),
       {},
       soon},
      {"or in a hurry now",
       {running("a")},
       leaving([](auto& f) { f.stops["id-a"] = {.deadline = soon + 1min, .busy = true}; }),
       {{hurry, "a", soon}},
       soon},
      {"nothing starts any more", {waiting("a")}, leaving([](auto& f) { f.starting = {"a"}; }), {{cancel_starts}}},
      {"what is being made is made first", {waiting("a")}, leaving([](auto& f) { f.set_up = {.busy = true}; }), {}},
      {"then all of it goes", {ended("a", 0)}, leaving(), {{remove}}},
      {"also what never was set up",
       {waiting("a")},
       leaving([](auto& f) { f.set_up = {.not_before = soon}; }),
       {{remove}}},
      {"it cannot go: again later",
       {ended("a", 0)},
       leaving([](auto& f) { f.remove = {.not_before = soon}; }),
       {},
       soon},
      {"what cannot be stopped has its time",
       {running("a")},
       leaving([](auto& f) { f.stops["id-a"] = {.deadline = soon, .not_before = now + 1s}; }),
       {},
       now + 1s},
      {"and goes with the sandbox",
       {running("a")},
       leaving([](auto& f) {
         f.stop_by = now;
         f.stops["id-a"] = {.deadline = now, .not_before = now + 1s};
       }),
       {{remove}}},
      {"last of all the object", {ended("a", 0)}, leaving([](auto& f) { f.remove.done = true; }), {{forget}}},
      {"which may fail as well",
       {ended("a", 0)},
       leaving([](auto& f) {
         f.remove.done = true;
         f.forget.not_before = soon;
       }),
       {},
       soon},
  });
  PodRecord pod{.containers = {ended("a", 0)}};
  EXPECT_TRUE(plan_pod(pod, leaving([](auto& f) { f.remove.done = f.forget.done = true; })).is_over);
}

TEST(PodPlan, of_a_pod_that_has_finished) {
  expect_plans({
      {"its sandbox goes", {ended("a", 0)}, with([](auto& f) { f.policy = RestartPolicy::never; }), {{release}}},
      {"and nothing else", {ended("a", 0)}, with([](auto& f) { f.policy = RestartPolicy::never; }), {}, {}, ""},
      {"tried again when it cannot",
       {ended("a", 0)},
       with([](auto& f) {
         f.policy = RestartPolicy::never;
         f.release.not_before = soon;
       }),
       {},
       soon},
      {"finished before the engine began: it never runs again",
       {waiting("a")},
       with([](auto& f) { f.was_finished = true; }),
       {},
       {},
       ""},
  });
  // One that was given up still has to be stopped.
  const PodRecord late{.containers = {running("a")}, .sandbox_id = "s", .failure = "DeadlineExceeded"};
  EXPECT_EQ(plan_pod(late, with([](auto& f) { f.stop_by = soon; })).actions, (std::vector<Action>{{stop, "a", soon}}));
}

}  // namespace
}  // namespace workflow::engine
