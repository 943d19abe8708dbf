#include "engine/node/pod_worker.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/node/cgroup.h"
#include "engine/node/pod_record.h"
#include "engine/node/pod_worker_state.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/utf8.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

using namespace std::chrono_literals;

PodWorker::State::State(NodeParts& p, PodKey pod, Adopted found)
    : parts(p),
      view{p.config,
           p.store,
           std::move(pod.ns),
           std::move(pod.name),
           std::move(pod.uid),
           nullptr,
           "",
           p.config.network.gateway.text()},
      adopted(std::move(found)),
      changes(p.executor),
      tasks(p.executor),
      starts(p.executor),
      volumes(p, view),
      probes(p.executor, p.runtime, p.http,
             {.ready =
                  [this](const std::string& container, bool ready) {
                    if (auto* one = find(container)) one->ready = ready;
                    changed();
                  },
              .started =
                  [this](const std::string& container) {
                    if (auto* one = find(container)) one->startup_done = true;
                    changed();
                  },
              .unwell =
                  [this](const PodProbes::Verdict& verdict) {
                    event("Warning", "Unhealthy", verdict.kind + " probe failed: " + verdict.why);
                  },
              .lost =
                  [this](const PodProbes::Verdict& verdict) {
                    const auto limit = integer_at(verdict.probe, {"terminationGracePeriodSeconds"});
                    doom(verdict.container,
                         {.deadline = now() + (limit ? std::chrono::seconds(*limit) : grace()),
                          .reason = verdict.kind + "ProbeFailed",
                          .why = verdict.kind + " probe failed: " + verdict.why,
                          .event = "Container " + verdict.container + " failed " +
                                   (verdict.kind == "Startup" ? "startup" : "liveness") + " probe, will be restarted"});
                  }}) {}

std::chrono::seconds PodWorker::State::grace() const {
  return std::chrono::seconds(integer_at(spec(), {"terminationGracePeriodSeconds"}).value_or(30));
}

void PodWorker::State::event(std::string type, std::string reason, std::string message) {
  tasks.spawn("event", record_event(parts.store, parts.clock, view.object, std::move(type), std::move(reason),
                                    valid_utf8(std::move(message)), "kubelet"));
}

void PodWorker::State::changed() {
  changes.notify_all();
  parts.container_changes.notify_all();
}

ContainerRecord* PodWorker::State::find(const std::string& container) {
  const auto found = std::ranges::find(record.containers, container, &ContainerRecord::name);
  return found == record.containers.end() ? nullptr : &*found;
}

ContainerRecord* PodWorker::State::running(const std::string& id) {
  const auto found = std::ranges::find(record.containers, id, &ContainerRecord::id);
  return found == record.containers.end() || found->phase != Phase::running ? nullptr : &*found;
}

// --- how it begins

namespace {

// Nobody wants it any more; it ran when the engine began.
ObjectPtr forgotten_pod(const PodView& view) {
  return std::make_shared<json::object>(json::object{
      {"metadata", {{"name", view.name}, {"namespace", view.ns}, {"uid", view.uid}}}, {"spec", json::object()}});
}

PodRecord forgotten_record(const std::vector<cri::ContainerStatus>& found) {
  PodRecord record;
  for (const auto& one : found) {
    const bool runs = one.state == cri::ContainerState::running;
    record.containers.push_back({.name = one.name, .phase = runs ? Phase::running : Phase::waiting, .id = one.id});
  }
  return record;
}

}  // namespace

void PodWorker::State::begin() {
  has_leftovers = adopted.sandbox.has_value();
  if (adopted.sandbox) sandbox_attempt = adopted.sandbox->attempt;
  if (!view.object) {
    view.object = forgotten_pod(view);
    record = forgotten_record(adopted.containers);
    stop_by = now() + 5s;
    return;
  }
  was_finished = workflow::engine::was_finished(*view.object);
  const auto runs = [this](const std::string& id) { return parts.sight.still_runs(view.uid, id); };
  for (auto& one : unseen_containers(*view.object, adopted.containers, runs))
    adopted.containers.push_back(std::move(one));
  record = begun_record(*view.object, std::move(adopted.containers), view.host_ip, now());
  if (const auto seconds = integer_at(spec(), {"activeDeadlineSeconds"}))
    active_deadline = record.started + std::chrono::seconds(*seconds);
  view.ip = text_at(*view.object, {"status", "podIP"});
  if (!adopted.sandbox || !adopted.sandbox->ready) return;
  record.sandbox_id = adopted.sandbox->id;
  record.ip = view.ip = view.is_on_host_network() ? view.host_ip : adopted.sandbox->ip;
  // An engine before this one may have weighed pods in another way.
  tasks.spawn("weigh",
              offload([group = pod_cgroup(parts.config, view.uid),
                       weight = pod_weight(*view.object, processors_of_machine())] { prepare_cgroup(group, weight); }));
  for (const auto& one : record.containers) {
    if (one.phase == Phase::running) begin_probes(one, Ran::before);
  }
}

void PodWorker::State::look_up() {
  const auto found = parts.store.find(kube::resources::pods, view.ns, view.name);
  if (found && kube::uid_of(*found) == view.uid)
    view.object = found;
  else
    gone = true;
}

// A second, more impatient wish to delete is heard.
void PodWorker::State::notice_leaving() {
  if (!gone && !kube::is_being_deleted(*view.object)) return;
  const auto patience =
      gone ? 0s
           : std::chrono::seconds(
                 integer_at(*view.object, {"metadata", "deletionGracePeriodSeconds"}).value_or(grace().count()));
  const auto by = now() + patience;
  const bool has_limit = stop_by > Time{};
  if (!std::exchange(leaving, true)) {
    record.terminating = true;
    if (gone && has_limit) return;  // what nobody knows any more has a moment
    stop_by = has_limit ? std::min(stop_by, by) : by;
    return changes.notify_all();  // the status says so
  }
  if (!was_gone_at_first) stop_by = std::min(stop_by, by);
}

// What is planned happens after as long as it was meant to, whatever the clock is set to meanwhile.
void PodWorker::State::follow_the_clock() {
  const auto wall = now();
  const auto steady = std::chrono::steady_clock::now();
  const auto jump = (wall - last_wall) - (steady - last_steady);
  const bool known = last_wall > Time{};
  last_wall = wall;
  last_steady = steady;
  if (!known || (jump < 1s && jump > -1s)) return;
  shift_plans(record, jump);
  for (auto* work : {&set_up, &refresh, &release, &remove, &forget}) work->retry.shift(jump);
  for (auto& [id, stop] : stops) {
    stop.deadline += jump;
    stop.retry.shift(jump);
  }
  for (auto& [name, retry] : interruptions) retry.shift(jump);
  if (stop_by > Time{}) stop_by += jump;
  if (active_deadline) *active_deadline += jump;
}

PodFacts PodWorker::State::facts() const {
  PodFacts out{.now = now(),
               .policy = policy(),
               .grace = grace(),
               .active_deadline = active_deadline,
               .was_finished = was_finished,
               .leaving = leaving,
               .stop_by = stop_by,
               .set_up = set_up.as_fact(),
               .refresh = refresh.as_fact(),
               .release = release.as_fact(),
               .remove = remove.as_fact(),
               .forget = forget.as_fact(),
               .refresh_at = volumes_stale ? std::optional(Time{}) : volumes.renewal(),
               .starting = starting,
               .stops = {}};
  out.refresh.done = false;  // there is always a next time
  out.forget.done = forget.done || gone;
  for (const auto& [id, stop] : stops) out.stops[id] = {stop.deadline, stop.busy, stop.retry.not_before()};
  return out;
}

// --- the loop

std::optional<Plan> PodWorker::State::next_plan() {
  try {
    follow_the_clock();
    look_up();
    notice_leaving();
    auto plan = plan_pod(record, facts());
    for (const auto& action : plan.actions) carry_out(action);
    return plan;
  } catch (const std::exception& error) {
    log::error("no plan for a pod", kv("pod", view.name), kv("namespace", view.ns), kv("error", error.what()));
    event("Warning", "FailedSync", std::string("error syncing pod: ") + error.what());
    return std::nullopt;
  }
}

void PodWorker::State::carry_out(const Action& action) {
  auto tell = [this](const char* reason, const char* what) {
    return [this, reason, what](const Error& error) { event("Warning", reason, what + error.message()); };
  };
  switch (action.kind) {
    case Action::Kind::set_up:
      return do_work(set_up, "set up", set_everything_up(), [this](const Error& error) { setting_up_failed(error); });
    case Action::Kind::refresh: {
      auto write = [](State& self) -> Task<> {
        self.volumes_stale = false;
        co_await self.volumes.write();
      };
      return do_work(refresh, "volumes", write(*this), [this](const Error& error) {
        volumes_stale = true;
        event("Warning", "FailedMount", "MountVolume.SetUp failed: " + error.message());
      });
    }
    case Action::Kind::start: return starts.spawn("start", start_container(action.container));
    case Action::Kind::stop: return tasks.spawn("stop", stop_container(action.container, action.deadline));
    case Action::Kind::hurry: return tasks.spawn("hurry", hurry(action.container, action.deadline));
    case Action::Kind::cancel_starts: return starts.cancel();
    case Action::Kind::give_up: return give_up();
    case Action::Kind::release:
      return do_work(release, "release", release_sandbox(), tell("FailedKillPod", "error killing pod: "));
    case Action::Kind::remove:
      return do_work(remove, "remove", remove_everything(), [this](const Error& error) {
        log::warn("pod could not be removed; trying again", kv("pod", view.name), kv("namespace", view.ns),
                  kv("error", error.message()));
        event("Warning", "FailedKillPod", "error killing pod: " + error.message());
      });
    case Action::Kind::forget:
      return do_work(forget, "forget", delete_object(), tell("FailedKillPod", "error deleting pod: "));
  }
}

void PodWorker::State::do_work(Work& work, const char* name, Task<> job, std::function<void(const Error&)> failed) {
  auto run = [](State& self, Work& its, Task<> its_job, std::function<void(const Error&)> tell) -> Task<> {
    struct Busy {
      State& self;
      Work& work;
      Busy(State& s, Work& w) : self(s), work(w) { work.busy = true; }
      ~Busy() {
        work.busy = false;
        self.changed();
      }
    };
    const Busy busy(self, its);
    const auto trouble = co_await attempt(std::move(its_job));
    its.done = !trouble;
    if (!trouble) {
      its.retry.worked();
    } else {
      const auto before = its.retry.not_before();
      tell(*trouble);
      if (its.retry.not_before() == before) its.retry.failed(self.now());
    }
  };
  tasks.spawn(name, run(*this, work, std::move(job), std::move(failed)));
}

Task<> PodWorker::State::wait_for_change(std::uint64_t seen, std::optional<Time> until) {
  if (!until) {
    co_await changes.wait(seen);
    co_return;
  }
  const auto limit = std::max<std::chrono::nanoseconds>(*until - now(), 1ms);
  try {
    co_await with_deadline(limit, "", changes.wait(seen));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timeout) throw;
  }
}

// --- status

Task<> PodWorker::State::write_status() {
  auto change = [this](json::object& object) {
    if (kube::uid_of(object) != view.uid) return false;
    const auto* old = value_at(object, {"status"});
    const auto* old_object = old && old->is_object() ? &old->get_object() : nullptr;
    auto status = status_of(record, object, old_object, now());
    if (old_object && *old_object == status) return false;
    object["status"] = std::move(status);
    return true;
  };
  if (auto written = co_await parts.store.edit(kube::resources::pods, view.ns, view.name, change)) {
    if (kube::uid_of(*written) == view.uid) view.object = written;
  }
}

// A disk that is slow or full holds up what is told, not what is done.
Task<> PodWorker::State::keep_status() {
  Retry retry;
  for (;;) {
    const auto seen = changes.version();
    const bool has_status = !was_finished && !gone && (!view.ip.empty() || reported);
    const auto trouble = has_status ? co_await attempt(write_status()) : std::nullopt;
    if (!std::exchange(reported, true)) changed();
    if (trouble) {
      if (!retry.has_failed())
        log::warn("pod's status not written; trying again", kv("pod", view.name), kv("namespace", view.ns),
                  kv("error", trouble->message()));
      retry.failed(now());
      co_await sleep_for(retry.pause());
    } else {
      retry.worked();
      co_await changes.wait(seen);
    }
  }
}

Task<> PodWorker::State::run() {
  if (!std::exchange(begun, true)) {
    look_up();
    was_gone_at_first = gone;
    begin();
  }
  tasks.spawn("status", keep_status());
  for (;;) {
    const auto seen = changes.version();
    const auto plan = next_plan();
    if (plan && plan->is_over) co_return;
    co_await wait_for_change(seen, plan ? plan->again : std::optional(now() + 10s));
  }
}

// --- the outside

PodWorker::PodWorker(NodeParts& parts, PodKey pod, Adopted adopted)
    : state_(std::make_unique<State>(parts, std::move(pod), std::move(adopted))) {}
PodWorker::~PodWorker() = default;

Task<> PodWorker::run() {
  auto stop = [&state = *state_]() -> Task<> {
    co_await state.starts.stop();
    co_await state.tasks.stop();
    co_await state.probes.stop();
  };
  co_await with_cleanup(state_->run(), stop);
}

void PodWorker::wake() { state_->changes.notify_all(); }

void PodWorker::refresh_volumes() {
  state_->volumes_stale = true;
  state_->changes.notify_all();
}

void PodWorker::on_runtime_event(const cri::Event& event) {
  if (event.type == cri::Event::Type::out_of_memory) return state_->out_of_memory(event.container_id);
  if (event.type != cri::Event::Type::exited) return;
  if (event.container_id == state_->record.sandbox_id)
    return state_->tasks.spawn("sandbox", state_->sandbox_ended(event.container_id));
  if (state_->unnamed.contains(event.container_id)) {
    state_->early_ends.insert_or_assign(event.container_id, event);
  } else {
    state_->tasks.spawn("ended", state_->look_at(event.container_id, event));
  }
}

void PodWorker::doubt() { compare({}); }

void PodWorker::compare(const std::set<std::string>& running) {
  for (const auto& one : state_->record.containers) {
    if (one.phase == Phase::running && !running.contains(one.id))
      state_->tasks.spawn("look", state_->look_at(one.id, std::nullopt));
  }
  const auto& sandbox = state_->record.sandbox_id;
  if (!sandbox.empty() && !running.contains(sandbox)) state_->tasks.spawn("sandbox", state_->sandbox_ended(sandbox));
}

bool PodWorker::owns(const std::string& id) const {
  return state_->record.sandbox_id == id || state_->unnamed.contains(id) ||
         std::ranges::any_of(state_->record.containers, [&id](const ContainerRecord& one) { return one.id == id; });
}

bool PodWorker::has_reported() const { return state_->reported; }

const PodRecord& PodWorker::record() const { return state_->record; }

bool PodWorker::mounts(const std::string& name) const { return state_->volumes.mount(name); }

}  // namespace workflow::engine
