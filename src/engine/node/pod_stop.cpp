// How containers end, and the pod with them.
#include <algorithm>

#include "engine/fields.h"
#include "engine/node/cgroup.h"
#include "engine/node/log_files.h"
#include "engine/node/pod_record.h"
#include "engine/node/pod_worker_state.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

namespace workflow::engine {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// It is stopped until it has ended, whatever comes between.
void PodWorker::State::doom(const std::string& container, Doom its) {
  auto* one = find(container);
  if (!one || one->phase != Phase::running || one->doom) return;
  one->doom = std::move(its);
  changed();
}

void PodWorker::State::out_of_memory(const std::string& id) {
  oom_killed.insert(id);
  for (auto& one : record.containers) {
    if (one.phase != Phase::terminated || one.last.container_id != id || one.last.exit_code == 0) continue;
    one.last.reason = "OOMKilled";
    changed();
  }
}

// Asks the runtime how the container is, after an event or a doubt. The runtime tells of an end before its own
// records know it; after a moment its word must do.
Task<> PodWorker::State::look_at(std::string id, std::optional<cri::Event> told) {
  for (auto pause = 1ms; running(id); pause *= 2) {
    cri::ContainerStatus status;
    auto ask = [](State& self, const std::string& its_id, cri::ContainerStatus& out) -> Task<> {
      out = co_await self.parts.runtime.container_status(its_id);
    };
    const auto trouble = co_await attempt(ask(*this, id, status));
    if (trouble && trouble->kind() != ErrorKind::not_found) co_return;  // asked again when the runtime is back
    auto* one = running(id);
    if (!one) co_return;
    if (trouble && parts.sight.still_runs(view.uid, id)) co_return;  // asked again when another containerd has begun
    if (trouble) co_return co_await ended(id, lost_container(*one, now()));
    parts.sight.is_known(id);
    if (status.state == cri::ContainerState::exited) co_return co_await ended(id, termination_of(status));
    if (!told) co_return;
    if (pause > 500ms) {
      co_return co_await ended(
          id, {id, told->exit_code, told->exit_code == 0 ? "Completed" : "Error", "", one->started, told->at});
    }
    co_await sleep_for(pause);
  }
}

Task<> PodWorker::State::ended(std::string id, Termination end) {
  const auto* before = running(id);
  const auto held = view.object;
  if (const auto* container = before ? view.container(before->name) : nullptr) {
    const bool from_log =
        text_at(*container, {"terminationMessagePolicy"}) == "FallbackToLogsOnError" && end.exit_code != 0;
    auto read = [pod = pod_folder(parts.config, view.uid), container_name = before->name, attempt = before->restarts,
                 from_log, logs = log_folder(parts.config, view.ns, view.name, view.uid)] {
      auto message = termination_message(pod, container_name, attempt);
      if (!message.empty() || !from_log) return message;
      return valid_utf8(last_lines(log_of_attempt(logs / container_name, attempt), {.lines = 80, .bytes = 2048}));
    };
    std::string message;
    auto run = [](auto its_read, std::string& out) -> Task<> { out = co_await offload(std::move(its_read)); };
    co_await attempt(run(std::move(read), message));
    if (!message.empty()) end.message = message;
  }
  auto* one = running(id);
  if (!one) co_return;
  probes.end(id);
  if (oom_killed.contains(id) && end.exit_code != 0) end.reason = "OOMKilled";
  note_end(*one, end);
  if (one->backoff > 0ms && !leaving && should_restart(*one, policy())) {
    event("Warning", "BackOff", "Back-off restarting failed container " + one->name + " in pod " + view.name);
  }
  changed();
}

// Throws what went wrong.
Task<> PodWorker::State::run_hook(json::object handler, std::string id, std::chrono::seconds limit) {
  if (const auto& command = array_at(handler, {"exec", "command"}); !command.empty()) {
    std::vector<std::string> words;
    for (const auto& word : command) words.emplace_back(word.as_string());
    const auto done = co_await parts.runtime.exec_sync(id, std::move(words), limit);
    if (done.exit_code == 0) co_return;
    throw Error(ErrorKind::unprocessable, "exited with " + std::to_string(done.exit_code) + ": " +
                                              valid_utf8(std::string(trim(done.out + done.err))));
  }
  if (const auto seconds = integer_at(handler, {"sleep", "seconds"})) {
    co_await sleep_for(std::min<std::chrono::seconds>(std::chrono::seconds(*seconds), limit));
  } else if (handler.contains("httpGet")) {
    const auto* one = running(id);
    const auto answer = co_await ask(parts.runtime, parts.http, handler,
                                     {record.ip, id, one ? view.container(one->name) : nullptr}, limit);
    if (answer.verdict != ProbeAnswer::Verdict::well) throw Error(ErrorKind::unprocessable, answer.why);
  }
}

std::chrono::seconds PodWorker::State::left_until(Time deadline) const {
  return std::max<std::chrono::seconds>(std::chrono::ceil<std::chrono::seconds>(deadline - now()), 0s);
}

Task<> PodWorker::State::stop_container(std::string container, Time deadline) {
  const auto* one = find(container);
  if (!one) co_return;
  const auto id = one->id;
  struct Busy {
    State& self;
    const std::string& id;
    Stop& stop;
    Busy(State& s, const std::string& i, Time by) : self(s), id(i), stop(s.stops[i]) {
      stop.busy = true;
      stop.deadline = by;
    }
    ~Busy() {
      stop.busy = false;
      if (!self.running(id)) self.stops.erase(id);
      self.changed();
    }
  };
  const Busy busy(*this, id, deadline);
  const auto held = view.object;
  if (!std::exchange(busy.stop.is_told, true))
    event("Normal", "Killing", one->doom && !leaving ? one->doom->event : "Stopping container " + container);
  const auto* its_spec = view.container(container);
  const auto& hook = its_spec ? object_at(*its_spec, {"lifecycle", "preStop"}) : json::object();
  if (!hook.empty() && left_until(busy.stop.deadline) > 0s && !std::exchange(busy.stop.is_hooked, true)) {
    if (const auto trouble = co_await attempt(run_hook(hook, id, left_until(busy.stop.deadline))))
      event("Warning", "FailedPreStopHook", "PreStopHook failed: " + trouble->message());
  }
  probes.end(id);
  // Whoever still has a moment has a whole second.
  const auto patience =
      std::max<std::chrono::seconds>(left_until(busy.stop.deadline), busy.stop.deadline > now() ? 1s : 0s);
  const auto trouble = co_await attempt(parts.runtime.stop_container(id, patience));
  co_await look_at(id, std::nullopt);
  if (!running(id)) co_return;
  const auto why = trouble ? trouble->message() : "the runtime says that it still runs";
  const bool passing = trouble && trouble->kind() == ErrorKind::unavailable;
  if (passing && busy.stop.retry.interrupted(now())) co_return;
  log::warn("container could not be stopped", kv("pod", view.name), kv("container", container), kv("error", why));
  event("Warning", "FailedKillPod", "error killing container " + container + ": " + why);
  busy.stop.retry.failed(now());
}

Task<> PodWorker::State::hurry(std::string container, Time deadline) {
  const auto* one = find(container);
  const auto stop = one ? stops.find(one->id) : stops.end();
  if (stop == stops.end()) co_return;
  stop->second.deadline = deadline;
  // Should this fail: the one that stops it already will tell.
  co_await attempt(parts.runtime.stop_container(one->id, left_until(deadline)));
}

void PodWorker::State::give_up() {
  record.failure = "DeadlineExceeded";
  record.failure_message = "Pod was active on the node longer than the specified deadline";
  event("Warning", record.failure, record.failure_message);
  stop_by = now() + grace();
  starts.cancel();
  changed();
}

Task<> PodWorker::State::release_sandbox() {
  const auto id = record.sandbox_id;
  const auto trouble = co_await attempt(parts.runtime.stop_sandbox(id));
  if (trouble && trouble->kind() != ErrorKind::not_found) throw *trouble;
  if (record.sandbox_id == id) record.sandbox_id.clear();
}

Task<> PodWorker::State::remove_everything() {
  for (const auto& sandbox : co_await parts.runtime.list_sandboxes({{label_uid, view.uid}})) {
    co_await parts.runtime.stop_sandbox(sandbox.id);
    co_await parts.runtime.remove_sandbox(sandbox.id);
  }
  record.sandbox_id.clear();
  for (auto& one : record.containers) {
    if (one.phase == Phase::running) note_end(one, lost_container(one, now()));
  }
  co_await offload([folder = pod_folder(parts.config, view.uid),
                    logs = log_folder(parts.config, view.ns, view.name, view.uid),
                    cgroup = pod_cgroup(parts.config, view.uid)] {
    remove_volumes(folder);
    remove_cgroup(cgroup);
    std::error_code ignored;
    fs::remove_all(logs, ignored);
  });
}

// Its last status first: somebody may wait for how it ended.
Task<> PodWorker::State::delete_object() {
  if (gone) co_return;
  if (!was_finished) co_await attempt(write_status());
  DeleteOptions options;
  options.grace_period_seconds = 0;
  options.uid = view.uid;
  const auto trouble = co_await attempt([](State& self, DeleteOptions its) -> Task<> {
    co_await self.parts.store.remove(kube::resources::pods, self.view.ns, self.view.name, std::move(its));
  }(*this, std::move(options)));
  if (trouble && trouble->kind() != ErrorKind::not_found && trouble->kind() != ErrorKind::conflict) throw *trouble;
}

}  // namespace workflow::engine
