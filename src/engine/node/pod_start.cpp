// How a pod starts: its volumes, its sandbox, its containers.
#include <algorithm>

#include "engine/fields.h"
#include "engine/node/cgroup.h"
#include "engine/node/images.h"
#include "engine/node/log_files.h"
#include "engine/node/pod_record.h"
#include "engine/node/pod_worker_state.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

// The runtime is not there now, or is still busy with what it was asked for by an engine that died meanwhile.
bool is_passing(const Error& error) {
  return (error.kind() == ErrorKind::unavailable && error.detail().empty()) ||
         error.message().find("is reserved for") != std::string::npos;
}

constexpr const char* mount_failed = "FailedMount";

}  // namespace

// --- volumes and sandbox

Task<> PodWorker::State::set_everything_up() {
  set_up_step = mount_failed;
  if (!volumes.are_ready()) co_await volumes.write();
  set_up_step = "FailedCreatePodSandBox";
  co_await ensure_sandbox();
}

void PodWorker::State::setting_up_failed(const Error& error) {
  const bool is_mount = set_up_step == mount_failed;
  has_leftovers = has_leftovers || !is_mount;
  if (!is_mount && is_passing(error) && set_up.retry.interrupted(now())) return;
  event("Warning", set_up_step,
        (is_mount ? "MountVolume.SetUp failed: " : "Failed to create pod sandbox: ") + error.message());
}

Task<> PodWorker::State::ensure_sandbox() {
  if (!record.sandbox_id.empty()) co_return;
  auto prepare = [logs = log_folder(parts.config, view.ns, view.name, view.uid),
                  pod = pod_folder(parts.config, view.uid), cgroup = pod_cgroup(parts.config, view.uid),
                  weight = pod_weight(*view.object, processors_of_machine())] {
    make_pod_folder(pod);
    fs::create_directories(logs);
    prepare_cgroup(cgroup, weight);
  };
  co_await offload(prepare);
  if (has_leftovers) {
    // One that was left half-made holds its name in the runtime.
    for (const auto& old : co_await parts.runtime.list_sandboxes({{label_uid, view.uid}})) {
      co_await parts.runtime.stop_sandbox(old.id);
      co_await parts.runtime.remove_sandbox(old.id);
      sandbox_attempt = std::max(sandbox_attempt, old.attempt + 1);
    }
  }
  has_leftovers = true;
  const auto id = co_await parts.runtime.run_sandbox(sandbox_config(view, sandbox_attempt));
  const auto status = co_await parts.runtime.sandbox_status(id);
  record.ip = view.ip = view.is_on_host_network() ? view.host_ip : status.ip;
  if (!view.is_on_host_network()) {
    co_await offload([file = hosts_file(view), text = hosts_text(view)] { write_hosts_file(file, text); });
  }
  record.sandbox_id = id;
  const bool again =
      std::ranges::any_of(record.containers, [](const auto& one) { return one.phase != Phase::waiting; });
  if (again) {
    for (const auto& one : record.containers) probes.end(one.id);
    note_new_sandbox(record, now());
  }
  co_await hold_for_policies();
}

// Where NetworkPolicies may concern the pod, none of its containers starts before they do.
Task<> PodWorker::State::hold_for_policies() {
  if (!parts.network_settled || parts.store.list(kube::resources::network_policies, view.ns).empty()) co_return;
  auto told = co_await attempt(write_status());
  if (!told)
    told = co_await attempt(with_deadline(10s, "the pod's NetworkPolicies are not in force", parts.network_settled()));
  if (told)
    log::warn("pod starts unprotected", kv("pod", view.name), kv("namespace", view.ns), kv("error", told->message()));
}

// The process that holds the pod's namespaces has ended.
Task<> PodWorker::State::sandbox_ended(std::string id) {
  if (record.sandbox_id != id || leaving) co_return;
  bool ready = false;
  auto look = [](State& self, const std::string& its_id, bool& is_ready) -> Task<> {
    is_ready = (co_await self.parts.runtime.sandbox_status(its_id)).ready;
  };
  const auto trouble = co_await attempt(look(*this, id, ready));
  if (trouble && trouble->kind() != ErrorKind::not_found) co_return;
  if (ready || record.sandbox_id != id || is_finished(record, facts())) co_return;
  if (trouble && parts.sight.still_runs(view.uid, id)) co_return;
  event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
  record.sandbox_id.clear();
  set_up.done = false;
  changed();
}

// --- containers

struct PodWorker::State::StartStep {
  std::string reason;      // of the failure, should there be one; "" while it is the image's
  std::string started_id;  // in the runtime, but not in the record yet
};

Task<> PodWorker::State::start_container(std::string container) {
  struct Busy {
    State& self;
    const std::string& name;
    StartStep step{};
    Busy(State& s, const std::string& n) : self(s), name(n) { self.starting.insert(name); }
    ~Busy() {
      self.unnamed.erase(step.started_id);
      self.early_ends.erase(step.started_id);
      self.starting.erase(name);
      self.changed();
    }
  };
  Busy busy(*this, container);
  auto* one = find(container);
  if (!one) co_return;
  if (const auto trouble = co_await attempt(make_and_start(*one, busy.step))) {
    starting_failed(*one, busy.step, *trouble);
  } else {
    interruptions.erase(container);
  }
}

void PodWorker::State::starting_failed(ContainerRecord& one, const StartStep& step, const Error& error) {
  has_leftovers = true;
  const bool of_image = error.detail().starts_with("Err");
  const bool of_config = step.reason == "CreateContainerConfigError";
  if (!of_image && !of_config && is_passing(error) && interruptions[one.name].interrupted(now())) {
    one.not_before = interruptions[one.name].not_before();
    return;
  }
  event("Warning", "Failed", (of_image ? "" : "Error: ") + error.message());
  note_failed_start(one,
                    of_image              ? error.detail()
                    : step.reason.empty() ? "ErrImageInspect"
                                          : step.reason,
                    error.message(), now());
}

Task<> PodWorker::State::make_and_start(ContainerRecord& one, StartStep& step) {
  const auto held = view.object;  // the spec below points into it
  const auto* container = view.container(one.name);
  const auto image =
      co_await ensure_image(parts.runtime, view, *container, [this](auto... a) { event(std::move(a)...); });
  if (leaving) co_return;
  const bool ended_before = one.phase == Phase::terminated;
  const int attempt = one.id.empty() ? one.restarts : one.restarts + 1;  // one that ran had the number before
  step.reason = "CreateContainerConfigError";
  auto wish = container_wish(view, *container, attempt, image);
  wish.config.mounts = co_await offload([files = std::move(wish.files)] { return make_mounts(files); });
  step.reason = "CreateContainerError";
  co_await remove_old_containers(one, attempt);
  const auto id = co_await parts.runtime.create_container(record.sandbox_id, std::move(wish.config),
                                                          sandbox_config(view, sandbox_attempt));
  event("Normal", "Created", "Created container: " + one.name);
  step.reason = "RunContainerError";
  step.started_id = id;
  unnamed.insert(id);
  co_await parts.runtime.start_container(id);
  if (ended_before) one.previous = one.last;
  one.id = id;
  one.image_id = image.id;
  one.restarts = attempt;
  one.phase = Phase::running;
  one.started = now();
  one.ready = one.startup_done = false;
  one.message.clear();
  event("Normal", "Started", "Started container " + one.name);
  tasks.spawn("begin", after_start(one.name, id));
  const auto early = early_ends.find(id);
  if (early != early_ends.end()) tasks.spawn("ended", look_at(id, early->second));
}

// Those of earlier starts: the last one that ran stays, the runtime may still be asked about it. One that did not
// end, or never ran, is a start that was not finished.
Task<> PodWorker::State::remove_old_containers(const ContainerRecord& one, int attempt) {
  if (attempt == 0 && !has_leftovers && one.backoff == 0ms) co_return;
  for (const auto& old : co_await parts.runtime.list_containers({{label_uid, view.uid}, {label_container, one.name}})) {
    using enum cri::ContainerState;
    if (old.state == running || old.state == unknown) co_await parts.runtime.stop_container(old.id, 0s);
    if (old.id != one.id) co_await parts.runtime.remove_container(old.id);
  }
  co_await offload([folder = log_folder(parts.config, view.ns, view.name, view.uid) / one.name, attempt] {
    remove_old_logs(folder, attempt - 1);
  });
}

Task<> PodWorker::State::after_start(std::string container_name, std::string id) {
  const auto held = view.object;
  const auto* container = view.container(container_name);
  if (const auto& hook = object_at(*container, {"lifecycle", "postStart"}); !hook.empty()) {
    if (const auto trouble = co_await attempt(run_hook(hook, id, 120s))) {
      event("Warning", "FailedPostStartHook", "PostStartHook failed: " + trouble->message());
      doom(container_name, {.deadline = now() + grace(),
                            .reason = "PostStartHookError",
                            .why = "PostStartHook failed: " + trouble->message(),
                            .event = "FailedPostStartHook"});
      co_return;
    }
  }
  if (auto* one = running(id)) begin_probes(*one, Ran::now);
  changed();
}

void PodWorker::State::begin_probes(const ContainerRecord& one, Ran ran) {
  const auto* container = view.container(one.name);
  if (!container) return;
  const auto before = kube::pod_status_of(*view.object);
  const auto* known = before.find_container(one.name);
  PodProbes::Start start{.pod_ip = record.ip,
                         .interval = kube::annotation_of(*view.object, "engine.deis.io/probe-interval")};
  start.was_ready = ran == Ran::before && known && known->ready;
  start.was_started = ran == Ran::before && was_started(one.name);
  probes.begin(one, *container, start);
}

bool PodWorker::State::was_started(const std::string& container) const {
  for (const char* kind : {"initContainerStatuses", "containerStatuses"}) {
    for (const auto& item : array_at(*view.object, {"status", kind})) {
      if (item.is_object() && text_at(item.get_object(), {"name"}) == container)
        return flag_at(item.get_object(), {"started"});
    }
  }
  return false;
}

}  // namespace workflow::engine
