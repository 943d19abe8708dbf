#include "engine/node/pod_worker.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "engine/fields.h"
#include "engine/node/cgroup.h"
#include "engine/node/images.h"
#include "engine/node/pod_logs.h"
#include "engine/node/pod_probes.h"
#include "engine/node/pod_record.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto runtime_pause = 200ms;  // before another try at a runtime that is not there

void write_plainly(const fs::path& file, const std::string& text) {
  std::ofstream out(file);
  out << text;
}

}  // namespace

struct PodWorker::State {
  State(NodeParts& p, std::string pod_ns, std::string pod_name, std::string pod_uid, Adopted adopted_parts)
      : parts(p),
        view{p.config,
             p.store,
             std::move(pod_ns),
             std::move(pod_name),
             std::move(pod_uid),
             nullptr,
             "",
             p.config.network.gateway.text()},
        adopted(std::move(adopted_parts)),
        changes(p.executor),
        tasks(p.executor),
        probes(p.executor, p.runtime, p.http,
               {.ready = [this](auto&&... a) { probe_ready(a...); },
                .started = [this](auto&&... a) { probe_started(a...); },
                .unwell = [this](auto&&... a) { probe_unwell(a...); },
                .lost = [this](auto&&... a) { probe_lost(a...); }}) {}

  NodeParts& parts;
  PodView view;
  Adopted adopted;
  PodRecord record;
  Notifier changes;
  TaskGroup tasks;  // starts, ends, hooks, events
  PodProbes probes;
  std::set<std::string> starting;  // containers that a task is starting now
  std::set<std::string> killing;   // container ids that a task is stopping now
  std::set<std::string> oom_killed;
  std::set<std::string> unnamed;                 // container ids that start and that the record does not name yet …
  std::map<std::string, cri::Event> early_ends;  // … and those of them that have ended meanwhile
  Time sandbox_not_before{};
  std::chrono::milliseconds sandbox_backoff{0};
  std::uint32_t sandbox_attempt = 0;
  bool volumes_ready = false, finished_before = false, has_leftovers = false;
  Tokens tokens;

  const json::object& spec() const { return view.spec(); }
  RestartPolicy policy() const { return restart_policy_of(spec()); }
  Time now() const { return parts.clock.now(); }
  std::chrono::seconds grace() const {
    return std::chrono::seconds(integer_at(spec(), {"terminationGracePeriodSeconds"}).value_or(30));
  }

  void event(std::string type, std::string reason, std::string message) {
    tasks.spawn("event", record_event(parts.store, parts.clock, view.object, std::move(type), std::move(reason),
                                      std::move(message), "kubelet"));
  }
  void changed() {
    changes.notify_all();
    parts.container_changes.notify_all();
  }

  ContainerRecord* find(const std::string& container) {
    const auto found = std::ranges::find(record.containers, container, &ContainerRecord::name);
    return found == record.containers.end() ? nullptr : &*found;
  }
  ContainerRecord* running(const std::string& id) {
    const auto found = std::ranges::find(record.containers, id, &ContainerRecord::id);
    return found == record.containers.end() || found->phase != Phase::running ? nullptr : &*found;
  }

  // --- how it begins

  void begin() {
    finished_before = was_finished(*view.object);
    record = begun_record(*view.object, std::move(adopted.containers), view.host_ip, now());
    has_leftovers = adopted.sandbox.has_value();
    view.ip = text_at(*view.object, {"status", "podIP"});
    if (adopted.sandbox) sandbox_attempt = adopted.sandbox->attempt;
    if (!adopted.sandbox || !adopted.sandbox->ready) return;
    record.sandbox_id = adopted.sandbox->id;
    record.ip = view.ip = view.is_on_host_network() ? view.host_ip : adopted.sandbox->ip;
    for (auto& one : record.containers) {
      if (one.phase == Phase::running) begin_probes(one, true);
    }
  }

  // --- volumes

  // Tokens that the volumes need, issued before files are written; renewed at four fifths of their life.
  Task<> refresh_tokens() {
    for (const auto& volume : array_at(spec(), {"volumes"})) {
      for (const auto& source : array_at(volume.as_object(), {"projected", "sources"})) {
        const auto* wanted = value_at(source.as_object(), {"serviceAccountToken"});
        if (!wanted) continue;
        const auto audience = text_at(wanted->as_object(), {"audience"});
        const auto lifetime = std::chrono::seconds(
            std::max<std::int64_t>(600, integer_at(wanted->as_object(), {"expirationSeconds"}).value_or(3600)));
        const auto cached = tokens.find(audience);
        if (cached != tokens.end() && cached->second.expires - lifetime / 5 > now()) continue;
        auto account = text_at(spec(), {"serviceAccountName"});
        TokenRequest request{view.ns, account.empty() ? "default" : account, {}, lifetime, view.name, view.uid};
        if (!audience.empty()) request.audiences.push_back(audience);
        tokens[audience] = co_await parts.tokens(std::move(request));
      }
    }
  }

  Task<> prepare_volumes() {
    co_await refresh_tokens();
    struct Work {
      json::object volume;
      std::optional<VolumeFiles> files;
    };
    std::vector<Work> work;
    const auto sources = volume_sources(view, tokens);
    for (const auto& item : array_at(spec(), {"volumes"})) {
      const auto& volume = item.as_object();
      const auto claim = text_at(volume, {"persistentVolumeClaim", "claimName"});
      if (!claim.empty() && !parts.store.find(kube::resources::persistent_volume_claims, view.ns, claim)) {
        throw Error(ErrorKind::invalid, "persistentvolumeclaim \"" + claim + "\" not found");
      }
      work.push_back({volume, volume_files(volume, sources)});
    }
    auto write = [work = std::move(work), ns = view.ns, group = fs_group(view), places = volume_places(view)] {
      fs::create_directories(places.pod / "volumes");
      for (const auto& [volume, files] : work) {
        const auto folder = prepare_volume(volume, ns, places, group);
        if (files) write_volume(folder, *files, group);
      }
    };
    co_await offload(std::move(write));
    volumes_ready = true;
  }

  // --- sandbox

  Task<> ensure_sandbox() {
    if (!record.sandbox_id.empty()) co_return;
    auto prepare = [logs = log_folder(parts.config, view.ns, view.name, view.uid),
                    cgroup = pod_cgroup(parts.config, view.uid), shares = pod_cpu_shares(*view.object)] {
      fs::create_directories(logs);
      prepare_cgroup(cgroup, shares);
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
    record.sandbox_id = id;
    record.ip = view.ip = view.is_on_host_network() ? view.host_ip : status.ip;
    const bool again =
        std::ranges::any_of(record.containers, [](const auto& one) { return one.phase != Phase::waiting; });
    if (again) {
      for (const auto& one : record.containers) probes.end(one.id);
      note_new_sandbox(record, now());
    }
    if (!view.is_on_host_network()) {
      co_await offload([file = hosts_file(view), text = hosts_text(view)] { write_plainly(file, text); });
    }
    co_await hold_for_policies();
  }

  // Where NetworkPolicies may concern the pod, none of its containers starts before they do.
  Task<> hold_for_policies() {
    if (!parts.network_settled || parts.store.list(kube::resources::network_policies, view.ns).empty()) co_return;
    co_await write_status();
    try {
      co_await with_deadline(10s, "the pod's NetworkPolicies are not in force", parts.network_settled());
    } catch (const Error& error) {
      log::warn("pod starts unprotected", kv("pod", view.name), kv("namespace", view.ns), kv("error", error.message()));
    }
  }

  // The process that holds the pod's namespaces has ended.
  Task<> sandbox_ended(std::string id) {
    if (record.sandbox_id != id || record.terminating) co_return;
    bool ready = false;
    try {
      ready = (co_await parts.runtime.sandbox_status(id)).ready;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) co_return;
    }
    if (ready || record.sandbox_id != id || finished()) co_return;
    event("Normal", "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
    record.sandbox_id.clear();
    changed();
  }

  bool finished() const {
    if (finished_before) return true;
    const auto phase = phase_of(record, policy());
    return phase == "Succeeded" || phase == "Failed";
  }

  // --- containers

  Task<> start_container(std::size_t index) {
    auto& one = record.containers[index];
    const auto held = view.object;  // the spec below points into it
    const auto* container = view.container(one.name);
    std::string reason, trouble, started_id;
    bool transient = false;
    try {
      const auto image =
          co_await ensure_image(parts.runtime, view, *container, [this](auto... a) { event(std::move(a)...); });
      if (record.terminating) co_return;
      const bool ended_before = one.phase == Phase::terminated;
      const int attempt = one.id.empty() ? one.restarts : one.restarts + 1;  // one that ran had the number before
      reason = "CreateContainerConfigError";
      auto config = container_config(view, *container, attempt, image);
      reason = "CreateContainerError";
      co_await remove_old_containers(one, attempt);
      const auto id = co_await parts.runtime.create_container(record.sandbox_id, std::move(config),
                                                              sandbox_config(view, sandbox_attempt));
      event("Normal", "Created", "Created container: " + one.name);
      reason = "RunContainerError";
      started_id = id;
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
    } catch (const Error& error) {
      if (error.detail().starts_with("Err")) reason = error.detail();
      transient = error.kind() == ErrorKind::unavailable && error.detail().empty();
      trouble = error.message();
    }
    unnamed.erase(started_id);
    early_ends.erase(started_id);
    if (transient) {
      one.not_before = now() + runtime_pause;
    } else if (!trouble.empty()) {
      event("Warning", "Failed", (reason.starts_with("Err") ? "" : "Error: ") + trouble);
      note_failed_start(one, reason, trouble, now());
    }
    has_leftovers = has_leftovers || !trouble.empty();
    changed();
  }

  // Those of earlier starts: the last one that ran stays, the runtime may still be asked about it. One that did not
  // end, or never ran, is a start that the engine before did not finish.
  Task<> remove_old_containers(const ContainerRecord& one, int attempt) {
    if (attempt == 0 && !adopted.sandbox && one.backoff == 0ms) co_return;
    for (const auto& old :
         co_await parts.runtime.list_containers({{label_uid, view.uid}, {label_container, one.name}})) {
      using enum cri::ContainerState;
      if (old.state == running || old.state == unknown) co_await parts.runtime.stop_container(old.id, 0s);
      if (old.id != one.id) co_await parts.runtime.remove_container(old.id);
    }
    co_await offload([folder = log_folder(parts.config, view.ns, view.name, view.uid) / one.name, attempt] {
      remove_old_logs(folder, attempt - 1);
    });
  }

  Task<> after_start(std::string container_name, std::string id) {
    const auto held = view.object;
    const auto* container = view.container(container_name);
    if (const auto& hook = object_at(*container, {"lifecycle", "postStart"}); !hook.empty()) {
      const auto trouble = co_await run_hook(hook, id, 120s);
      if (!trouble.empty()) {
        event("Warning", "FailedPostStartHook", "PostStartHook failed: " + trouble);
        if (auto* one = running(id)) co_await stop_container(*one, now() + grace(), "FailedPostStartHook");
        co_return;
      }
    }
    if (auto* one = running(id)) begin_probes(*one, false);
    changed();
  }

  void begin_probes(const ContainerRecord& one, bool ran_before) {
    const auto* container = view.container(one.name);
    if (!container) return;
    const auto before = kube::pod_status_of(*view.object);
    const auto* known = before.find_container(one.name);
    PodProbes::Start start{.pod_ip = record.ip,
                           .interval = kube::annotation_of(*view.object, "engine.deis.io/probe-interval")};
    start.was_ready = ran_before && known && known->ready;
    start.was_started = ran_before && was_started(one.name);
    probes.begin(one, *container, start);
  }

  bool was_started(const std::string& container) const {
    for (const char* kind : {"initContainerStatuses", "containerStatuses"}) {
      for (const auto& item : array_at(*view.object, {"status", kind})) {
        if (item.is_object() && text_at(item.get_object(), {"name"}) == container)
          return flag_at(item.get_object(), {"started"});
      }
    }
    return false;
  }

  // --- what probes say

  void probe_ready(const std::string& container, bool ready) {
    if (auto* one = find(container)) one->ready = ready;
    changed();
  }
  void probe_started(const std::string& container) {
    if (auto* one = find(container)) one->startup_done = true;
    changed();
  }
  void probe_unwell(const std::string&, const char* kind, const std::string& why) {
    event("Warning", "Unhealthy", std::string(kind) + " probe failed: " + why);
  }
  void probe_lost(const std::string& container, const json::object& probe, const char* kind) {
    auto* one = find(container);
    if (!one || one->phase != Phase::running) return;
    const auto limit = integer_at(probe, {"terminationGracePeriodSeconds"});
    const auto deadline = now() + (limit ? std::chrono::seconds(*limit) : grace());
    tasks.spawn("kill", stop_container(*one, deadline,
                                       "Container " + container + " failed " + kind + " probe, will be restarted"));
  }

  // --- how containers end

  // Asks the runtime how the container is, after an event or a doubt. The runtime tells of an end before its own
  // records know it; after a moment its word must do.
  Task<> look_at(std::string id, std::optional<cri::Event> told) {
    for (auto pause = 1ms; running(id); pause *= 2) {
      std::optional<cri::ContainerStatus> status;
      try {
        status = co_await parts.runtime.container_status(id);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::not_found) co_return;  // asked again when the runtime is back
      }
      auto* one = running(id);
      if (!one) co_return;
      if (!status) co_return co_await ended(id, lost_container(*one, now()));
      if (status->state == cri::ContainerState::exited) co_return co_await ended(id, termination_of(*status));
      if (!told) co_return;
      if (pause > 500ms) {
        co_return co_await ended(
            id, {id, told->exit_code, told->exit_code == 0 ? "Completed" : "Error", "", one->started, told->at});
      }
      co_await sleep_for(pause);
    }
  }

  Task<> ended(std::string id, Termination end) {
    const auto* before = running(id);
    const auto held = view.object;
    const auto* container = before && view.object ? view.container(before->name) : nullptr;
    if (container) {
      const bool from_log =
          text_at(*container, {"terminationMessagePolicy"}) == "FallbackToLogsOnError" && end.exit_code != 0;
      auto read = [file = termination_file(view, before->name, before->restarts), from_log,
                   log = log_folder(parts.config, view.ns, view.name, view.uid) / before->name /
                         (std::to_string(before->restarts) + ".log")] {
        auto message = find_file(file).value_or("").substr(0, 4096);
        return message.empty() && from_log ? last_lines(log, 80, 2048) : message;
      };
      if (const auto message = co_await offload(read); !message.empty()) end.message = message;
    }
    auto* one = running(id);
    if (!one) co_return;
    probes.end(id);
    if (oom_killed.contains(id) && end.exit_code != 0) end.reason = "OOMKilled";
    note_end(*one, end);
    if (one->backoff > 0ms && !record.terminating && should_restart(*one, policy())) {
      event("Warning", "BackOff", "Back-off restarting failed container " + one->name + " in pod " + view.name);
    }
    changed();
  }

  void out_of_memory(const std::string& id) {
    oom_killed.insert(id);
    for (auto& one : record.containers) {
      if (one.phase != Phase::terminated || one.last.container_id != id || one.last.exit_code == 0) continue;
      one.last.reason = "OOMKilled";
      changed();
    }
  }

  // "" or what went wrong.
  Task<std::string> run_hook(json::object handler, std::string id, std::chrono::seconds limit) {
    try {
      if (const auto& command = array_at(handler, {"exec", "command"}); !command.empty()) {
        std::vector<std::string> words;
        for (const auto& word : command) words.emplace_back(word.as_string());
        const auto done = co_await parts.runtime.exec_sync(id, std::move(words), limit);
        if (done.exit_code != 0)
          co_return "exited with " + std::to_string(done.exit_code) + ": " + std::string(trim(done.out + done.err));
      } else if (const auto seconds = integer_at(handler, {"sleep", "seconds"})) {
        co_await sleep_for(std::min<std::chrono::seconds>(std::chrono::seconds(*seconds), limit));
      } else if (handler.contains("httpGet")) {
        const auto* one = running(id);
        const auto answer = co_await ask(parts.runtime, parts.http, handler,
                                         {record.ip, id, one ? view.container(one->name) : nullptr}, limit);
        if (answer.verdict != ProbeAnswer::Verdict::well) co_return answer.why;
      }
    } catch (const Error& error) {
      co_return error.message();
    }
    co_return "";
  }

  Task<> stop_container(ContainerRecord& one, Time deadline, std::string why) {
    const auto id = one.id;
    const auto held = view.object;
    if (!killing.insert(id).second) {  // a probe's verdict is carried out already
      while (running(id) && killing.contains(id)) co_await changes.wait(changes.version());
      co_return;
    }
    event("Normal", "Killing", why);
    auto left = [&] {
      return std::max<std::chrono::seconds>(std::chrono::ceil<std::chrono::seconds>(deadline - now()), 0s);
    };
    const auto* container = view.container(one.name);
    if (const auto& hook = container ? object_at(*container, {"lifecycle", "preStop"}) : json::object();
        !hook.empty() && left() > 0s) {
      const auto trouble = co_await run_hook(hook, id, left());
      if (!trouble.empty()) event("Warning", "FailedPreStopHook", "PreStopHook failed: " + trouble);
    }
    probes.end(id);
    std::string trouble;
    try {
      co_await parts.runtime.stop_container(id, std::max<std::chrono::seconds>(left(), deadline > now() ? 1s : 0s));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) trouble = error.message();
    }
    if (!trouble.empty())
      log::warn("container could not be stopped", kv("pod", view.name), kv("container", one.name),
                kv("error", trouble));
    co_await look_at(id, std::nullopt);
    killing.erase(id);
    changed();
  }

  Task<> stop_together(std::vector<ContainerRecord*> ones, Time deadline) {
    TaskGroup stops(parts.executor);
    for (auto* one : ones) stops.spawn("stop", stop_container(*one, deadline, "Stopping container " + one->name));
    co_await with_cleanup(stops.join(), [&stops] { return stops.stop(); });
  }

  // The work first, then the sidecars that served it, the last one first.
  Task<> stop_running(Time deadline) {
    std::vector<ContainerRecord*> work, sidecars;
    for (auto& one : record.containers) {
      if (one.phase == Phase::running) (one.sidecar ? sidecars : work).push_back(&one);
    }
    co_await stop_together(work, deadline);
    for (auto one = sidecars.rbegin(); one != sidecars.rend(); ++one) co_await stop_together({*one}, deadline);
  }

  // --- status

  Task<> write_status() {
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

  // --- the loop

  std::optional<Time> deadline_of_pod() const {
    const auto seconds = integer_at(spec(), {"activeDeadlineSeconds"});
    return seconds ? std::optional(record.started + std::chrono::seconds(*seconds)) : std::nullopt;
  }

  Task<> wait_for_change(std::uint64_t seen, std::optional<Time> until) {
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

  // Volumes and sandbox; false when it must be tried again later.
  Task<bool> set_up() {
    if (sandbox_not_before > now()) co_return false;
    std::string reason = "FailedMount", trouble;
    bool transient = false;
    try {
      if (!volumes_ready) co_await prepare_volumes();
      reason = "FailedCreatePodSandBox";
      co_await ensure_sandbox();
    } catch (const Error& error) {
      transient = error.kind() == ErrorKind::unavailable && reason == "FailedCreatePodSandBox";
      trouble = error.message();
    }
    if (trouble.empty()) {
      sandbox_backoff = 0ms;
      co_return true;
    }
    if (transient) {
      sandbox_not_before = now() + runtime_pause;
      co_return false;
    }
    event("Warning", reason,
          (reason == "FailedMount" ? "MountVolume.SetUp failed: " : "Failed to create pod sandbox: ") + trouble);
    sandbox_backoff = sandbox_backoff == 0ms ? 500ms : std::min<std::chrono::milliseconds>(sandbox_backoff * 2, 30s);
    sandbox_not_before = now() + sandbox_backoff;
    co_return false;
  }

  // One look at what should be; starts what can be started. Returns when to look again by time alone.
  Task<std::optional<Time>> step() {
    if (finished_before || finished()) {
      co_await let_sandbox_go();
      co_return std::nullopt;
    }
    if (const auto deadline = deadline_of_pod(); deadline && *deadline <= now()) {
      record.failure = "DeadlineExceeded";
      record.failure_message = "Pod was active on the node longer than the specified deadline";
      event("Warning", record.failure, record.failure_message);
      tasks.spawn("deadline", stop_running(now() + grace()));
      co_return std::nullopt;
    }
    const bool ready = (!record.sandbox_id.empty() && volumes_ready) || co_await set_up();
    auto again = next_start(record, policy());
    auto sooner = [&again](Time time) { again = !again || time < *again ? time : *again; };
    if (const auto deadline = deadline_of_pod()) sooner(*deadline);
    if (!ready) {
      sooner(sandbox_not_before);
      co_return again;
    }
    if (work_is_over(record, policy())) {
      for (auto& one : record.containers) {
        if (one.sidecar && one.phase == Phase::running && !killing.contains(one.id)) {
          tasks.spawn("sidecars", stop_running(now() + grace()));
          break;
        }
      }
    }
    for (const auto index : startable(record, policy(), now())) {
      const auto container_name = record.containers[index].name;
      if (!starting.insert(container_name).second) continue;
      auto start = [](State& self, std::size_t i, std::string its_name) -> Task<> {
        co_await self.start_container(i);
        self.starting.erase(its_name);
        self.changed();
      };
      tasks.spawn("start container", start(*this, index, container_name));
    }
    co_return again;
  }

  // A finished pod keeps its logs and its status, not its address and its process.
  Task<> let_sandbox_go() {
    const bool ended =
        std::ranges::none_of(record.containers, [](const auto& one) { return one.phase == Phase::running; });
    if (record.sandbox_id.empty() || !ended) co_return;
    const auto id = std::exchange(record.sandbox_id, "");
    try {
      co_await parts.runtime.stop_sandbox(id);
    } catch (const Error& error) {
      log::debug("sandbox not stopped", kv("pod", view.name), kv("error", error.message()));
    }
  }

  bool is_there() const { return view.object && kube::uid_of(*view.object) == view.uid; }
  void look_up() {
    const auto found = parts.store.find(kube::resources::pods, view.ns, view.name);
    if (found && kube::uid_of(*found) == view.uid)
      view.object = found;
    else
      gone = true;
  }
  bool gone = false;  // from the store

  bool reported = false;
  void report() {
    reported = true;
    changed();
  }

  Task<> live() {
    begin();
    // What an earlier engine wrote is true no longer if the pod has ended meanwhile: nobody is to act on it.
    if (!finished_before && !view.ip.empty()) co_await write_status();
    report();
    for (;;) {
      const auto seen = changes.version();
      look_up();
      if (gone || kube::is_being_deleted(*view.object)) break;
      const auto again = co_await step();
      if (!finished_before) co_await write_status();
      co_await wait_for_change(seen, again);
    }
  }

  // --- the end

  std::chrono::seconds deletion_grace() const {
    return std::chrono::seconds(
        integer_at(*view.object, {"metadata", "deletionGracePeriodSeconds"}).value_or(grace().count()));
  }

  // Stops everything; a second, more impatient wish to delete is heard.
  Task<> stop_for_good(Time deadline) {
    record.terminating = true;
    co_await write_status();
    TaskGroup stops(parts.executor);
    auto work = [](State& self, TaskGroup& group, Time end) -> Task<> {
      const bool was_gone = self.gone;
      auto stopping = std::make_shared<bool>(true);
      auto stop = [](State& its, Time until, std::shared_ptr<bool> flag) -> Task<> {
        co_await its.stop_running(until);
        *flag = false;
        its.changes.notify_all();
      };
      group.spawn("stop", stop(self, end, stopping));
      while (*stopping) {
        const auto seen = self.changes.version();
        if (!was_gone) self.look_up();
        const auto earlier = self.now() + (self.gone ? std::chrono::seconds(0) : self.deletion_grace());
        if (!was_gone && earlier < end && *stopping) {
          end = earlier;
          for (const auto& one : self.record.containers) {
            if (one.phase == Phase::running) group.spawn("hurry", self.hurry(one.id, end));
          }
        }
        if (*stopping) co_await self.changes.wait(seen);
      }
    };
    co_await with_cleanup(work(*this, stops, deadline), [&stops] { return stops.stop(); });
  }

  Task<> hurry(std::string id, Time deadline) {
    const auto left = std::max<std::chrono::seconds>(std::chrono::ceil<std::chrono::seconds>(deadline - now()), 0s);
    try {
      co_await parts.runtime.stop_container(id, left);
    } catch (const Error&) {
      // The one that stops it already will tell.
    }
  }

  Task<> remove_everything() {
    for (const auto& sandbox : co_await parts.runtime.list_sandboxes({{label_uid, view.uid}})) {
      co_await parts.runtime.stop_sandbox(sandbox.id);
      co_await parts.runtime.remove_sandbox(sandbox.id);
    }
    record.sandbox_id.clear();
    co_await offload([folder = pod_folder(parts.config, view.uid),
                      logs = log_folder(parts.config, view.ns, view.name, view.uid),
                      cgroup = pod_cgroup(parts.config, view.uid)] {
      remove_volumes(folder);
      remove_cgroup(cgroup);
      std::error_code ignored;
      fs::remove_all(logs, ignored);
    });
  }

  Task<> end() {
    report();
    const auto wait = !gone ? deletion_grace() : view.object ? 0s : 5s;
    if (!view.object) {  // nobody wants it any more; it ran when the engine began
      view.object = std::make_shared<json::object>(json::object{
          {"metadata", {{"name", view.name}, {"namespace", view.ns}, {"uid", view.uid}}}, {"spec", json::object()}});
      for (const auto& found : adopted.containers) {
        ContainerRecord one{.name = found.name,
                            .phase = found.state == cri::ContainerState::running ? Phase::running : Phase::waiting,
                            .id = found.id};
        record.containers.push_back(std::move(one));
      }
    }
    co_await stop_for_good(now() + wait);
    co_await tasks.stop();
    if (!gone) co_await write_status();
    for (auto pause = 100ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
      std::string trouble;
      try {
        co_await remove_everything();
      } catch (const Error& error) {
        trouble = describe(std::current_exception());
      }
      if (trouble.empty()) break;
      log::warn("pod could not be removed; trying again", kv("pod", view.name), kv("namespace", view.ns),
                kv("error", trouble));
      co_await sleep_for(pause);
    }
    try {
      DeleteOptions options;
      options.grace_period_seconds = 0;
      options.uid = view.uid;
      if (!gone) co_await parts.store.remove(kube::resources::pods, view.ns, view.name, options);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found && error.kind() != ErrorKind::conflict) throw;
    }
  }
};

PodWorker::PodWorker(NodeParts& parts, std::string ns, std::string name, std::string uid, Adopted adopted)
    : state_(std::make_unique<State>(parts, std::move(ns), std::move(name), std::move(uid), std::move(adopted))) {}
PodWorker::~PodWorker() = default;

Task<> PodWorker::run() {
  auto& state = *state_;
  state.look_up();
  auto stop = [&state]() -> Task<> {
    co_await state.tasks.stop();
    co_await state.probes.stop();
  };
  auto life = [&state]() -> Task<> {
    if (!state.gone) co_await state.live();
    co_await state.end();
  };
  co_await with_cleanup(life(), stop);
}

void PodWorker::wake() { state_->changes.notify_all(); }

void PodWorker::refresh_volumes() {
  if (!state_->volumes_ready || state_->gone || state_->record.terminating || state_->finished_before) return;
  auto refresh = [](State& state) -> Task<> {
    try {
      co_await state.prepare_volumes();
    } catch (const Error& error) {
      log::debug("volumes not refreshed", kv("pod", state.view.name), kv("error", error.message()));
    }
  };
  state_->tasks.spawn("volumes", refresh(*state_));
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

void PodWorker::doubt() {
  for (const auto& one : state_->record.containers) {
    if (one.phase == Phase::running) state_->tasks.spawn("look", state_->look_at(one.id, std::nullopt));
  }
  if (!state_->record.sandbox_id.empty())
    state_->tasks.spawn("sandbox", state_->sandbox_ended(state_->record.sandbox_id));
}

bool PodWorker::owns(const std::string& id) const {
  return state_->record.sandbox_id == id || state_->unnamed.contains(id) ||
         std::ranges::any_of(state_->record.containers, [&id](const ContainerRecord& one) { return one.id == id; });
}

bool PodWorker::has_reported() const { return state_->reported; }

const PodRecord& PodWorker::record() const { return state_->record; }

bool PodWorker::mounts(const std::string& name) const {
  if (!state_->view.object) return false;
  // A cheap, generous test: the name anywhere in the volumes.
  const auto* volumes = value_at(*state_->view.object, {"spec", "volumes"});
  return volumes && json::serialize(*volumes).find("\"" + name + "\"") != std::string::npos;
}

}  // namespace workflow::engine
