#include "engine/node/pod_probes.h"

#include "engine/fields.h"

namespace workflow::engine {

struct PodProbes::State {
  State(Executor e, cri::Client& r, http::Client& h, Told t)
      : executor(e), runtime(r), http(h), told(std::move(t)), ending(e) {}

  // One container's.
  struct Group {
    explicit Group(Executor e) : tasks(e) {}
    TaskGroup tasks;
    std::string name;
    json::object container;
    Start start;
    ProbeTarget target;
  };

  static Verdict verdict_of(const Group& group, const char* kind, const char* field, const std::string& why) {
    return {group.name, kind, why, object_at(group.container, {field})};
  }

  void spawn(Group& group, const char* kind, const char* field, std::string_view interval, bool well,
             std::function<void(bool, const std::string&)> on_change) {
    const auto& probe = object_at(group.container, {field});
    auto timing = timing_of(probe, interval);
    timing.until_well = field == std::string_view("startupProbe");
    group.tasks.spawn(kind, watch_probe(runtime, http, probe, group.target, timing, well, std::move(on_change)));
  }

  void begin(Group& group) {
    if (!group.container.contains("startupProbe") || group.start.was_started) return started(group);
    auto change = [this, &group](bool well, const std::string& why) {
      if (well) return started(group);
      const auto verdict = verdict_of(group, "Startup", "startupProbe", why);
      told.unwell(verdict);
      told.lost(verdict);
    };
    spawn(group, "startup", "startupProbe", group.start.interval, false, std::move(change));
  }

  void started(Group& group) {
    told.started(group.name);
    if (group.container.contains("readinessProbe")) {
      auto change = [this, &group](bool well, const std::string& why) {
        if (!well) told.unwell(verdict_of(group, "Readiness", "readinessProbe", why));
        told.ready(group.name, well);
      };
      // What was ready before the engine restarted stays so until a probe says otherwise.
      if (group.start.was_ready) told.ready(group.name, true);
      spawn(group, "readiness", "readinessProbe", group.start.interval, group.start.was_ready, std::move(change));
    } else {
      told.ready(group.name, true);
    }
    if (!group.container.contains("livenessProbe")) return;
    auto change = [this, &group](bool well, const std::string& why) {
      if (well) return;
      const auto verdict = verdict_of(group, "Liveness", "livenessProbe", why);
      told.unwell(verdict);
      told.lost(verdict);
    };
    spawn(group, "liveness", "livenessProbe", "", true, std::move(change));
  }

  Executor executor;
  cri::Client& runtime;
  http::Client& http;
  Told told;
  std::map<std::string, std::unique_ptr<Group>> groups;  // by container id
  TaskGroup ending;
};

PodProbes::PodProbes(Executor executor, cri::Client& runtime, http::Client& http, Told told)
    : state_(std::make_unique<State>(std::move(executor), runtime, http, std::move(told))) {}
PodProbes::~PodProbes() = default;

void PodProbes::begin(const ContainerRecord& record, const json::object& container, const Start& start) {
  end(record.id);
  auto group = std::make_unique<State::Group>(state_->executor);
  group->name = record.name;
  group->container = container;
  group->start = start;
  group->target = {start.pod_ip, record.id, &group->container};
  auto& kept = *group;
  state_->groups[record.id] = std::move(group);
  state_->begin(kept);
}

void PodProbes::end(const std::string& container_id) {
  const auto found = state_->groups.find(container_id);
  if (found == state_->groups.end()) return;
  auto group = std::move(found->second);
  state_->groups.erase(found);
  group->tasks.cancel();
  // It may be one of its own probes that ends it.
  auto join = [](std::unique_ptr<State::Group> its) -> Task<> {
    co_await keep_waiting();
    co_await its->tasks.join();
  };
  state_->ending.spawn("probes end", join(std::move(group)));
}

Task<> PodProbes::stop() {
  while (!state_->groups.empty()) end(state_->groups.begin()->first);
  co_await keep_waiting();
  co_await state_->ending.join();
}

}  // namespace workflow::engine
