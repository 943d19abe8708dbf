#include "engine/node/node.h"

#include <algorithm>
#include <set>

#include "engine/node/attempt.h"
#include "engine/node/cgroup.h"
#include "engine/node/containerd.h"
#include "engine/node/cri_client.h"
#include "engine/node/exec.h"
#include "engine/node/log_files.h"
#include "engine/node/log_rotation.h"
#include "engine/node/node_object.h"
#include "engine/node/pod_logs.h"
#include "engine/node/pod_view.h"
#include "engine/node/pod_worker.h"
#include "engine/node/port_forward.h"
#include "engine/node/streams.h"
#include "engine/node/upkeep.h"
#include "lib/async/bounded_log.h"
#include "lib/async/supervisor.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// The uids of pods that have a folder or logs.
std::set<std::string> pods_with_traces(const fs::path& state) {
  std::set<std::string> uids;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(state / "pods", ignored))
    uids.insert(entry.path().filename().string());
  for (const auto& entry : fs::directory_iterator(state / "logs" / "pods", ignored)) {
    const auto name = entry.path().filename().string();
    uids.insert(name.substr(name.rfind('_') + 1));
  }
  return uids;
}

// What pods keep, and are told, is root's alone on this machine; into their containers it comes by mounts.
void make_private_folders(const fs::path& state) {
  for (const char* name : {"pods", "volumes", "logs"}) {
    fs::create_directories(state / name);
    fs::permissions(state / name, fs::perms::owner_all);
  }
}

void remove_logs_of(const fs::path& state, const std::string& uid) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(state / "logs" / "pods", ignored)) {
    if (entry.path().filename().string().ends_with("_" + uid)) fs::remove_all(entry.path(), ignored);
  }
}

}  // namespace

struct Node::State {
  State(Executor ex, NodeConfig c, Store& s, Clock& k, TokenIssuer t)
      : executor(ex),
        config(std::move(c)),
        store(s),
        clock(k),
        tokens(std::move(t)),
        runtime(ex, containerd_socket(config)),
        sight(ex, config),
        http(ex, {.tls = {.verify = false}, .connect_timeout = 5s, .max_idle_per_host = 0, .user_agent = "kube-probe"}),
        container_changes(ex),
        parts{config, store, clock, runtime, sight, http, tokens, network_settled, container_changes, ex},
        supervisor(ex),
        tasks(ex),
        ready_note(ex),
        execs(ex, config, runtime),
        upkeep(config, store, clock, runtime),
        rotation({config, clock, runtime, [this] { return open_logs(); }, container_changes}) {}

  Executor executor;
  NodeConfig config;
  Store& store;
  Clock& clock;
  TokenIssuer tokens;
  cri::Client runtime;
  RuntimeSight sight;
  http::Client http;
  std::function<Task<>()> network_settled;
  Notifier container_changes;
  NodeParts parts;
  Supervisor supervisor;
  TaskGroup tasks;
  Notifier ready_note;
  Execs execs;
  Upkeep upkeep;
  LogRotation rotation;
  bool ready = false;
  std::map<std::string, std::unique_ptr<PodWorker>> workers;  // by pod uid
  std::vector<std::unique_ptr<Store::Subscription>> subscriptions;
  std::map<std::string, CgroupSample> samples;  // the last look at each container's use, by container id

  std::vector<OpenLog> open_logs() const {
    std::vector<OpenLog> logs;
    for (const auto& pod : store.list(kube::resources::pods)) {
      const auto found = workers.find(kube::uid_of(*pod));
      if (found == workers.end()) continue;
      const auto folder = log_folder(config, kube::namespace_of(*pod), kube::name_of(*pod), kube::uid_of(*pod));
      for (const auto& one : found->second->record().containers) {
        if (one.phase == Phase::running) logs.push_back({one.id, log_of_attempt(folder / one.name, one.restarts)});
      }
    }
    return logs;
  }

  bool is_ours(const json::object& pod) const { return find_string(pod, {"spec", "nodeName"}) == config.node_name; }

  Task<> register_node() {
    const auto object = node_object(config, co_await runtime.version());
    const auto found = store.find(kube::resources::nodes, "", config.node_name);
    if (!found) {
      co_await store.create(kube::resources::nodes, object);
    }
    // Labels and annotations that the operator set stay.
    auto refresh = [&object](json::object& node) {
      node["status"] = object.at("status");
      auto& labels = node["metadata"].as_object()["labels"];
      if (!labels.is_object()) labels = json::object();
      for (const auto& [key, value] : object.at("metadata").at("labels").as_object()) labels.as_object()[key] = value;
      return true;
    };
    co_await store.edit(kube::resources::nodes, "", config.node_name, refresh);
  }

  PodWorker* worker_of(const std::string& ns, const std::string& pod) {
    const auto object = store.find(kube::resources::pods, ns, pod);
    const auto found = object ? workers.find(kube::uid_of(*object)) : workers.end();
    return found == workers.end() ? nullptr : found->second.get();
  }

  // Its id. Throws not_found, invalid (which container?).
  std::string running_container_of(const std::string& ns, const std::string& pod, const std::string& container) {
    auto* worker = worker_of(ns, pod);
    const auto object = store.find(kube::resources::pods, ns, pod);
    if (!worker || !object) throw Error(ErrorKind::not_found, "pods \"" + pod + "\" not found");
    return running_container(*object, worker->record(), container);
  }

  void start_worker(const std::string& ns, const std::string& name, const std::string& uid, Adopted adopted) {
    auto worker = std::make_unique<PodWorker>(parts, PodKey{ns, name, uid}, std::move(adopted));
    auto* raw = worker.get();
    workers[uid] = std::move(worker);
    auto live = [](State& self, PodWorker& its, std::string its_uid) -> Task<> {
      auto run = [&its]() -> Task<Supervisor::Next> {
        co_await its.run();
        co_return Supervisor::Next::done;
      };
      co_await self.supervisor.until_done("pod " + its_uid, run, {.role = Supervisor::Role::housekeeping});
      auto bury = [](State& s, std::string dead) -> Task<> {
        co_await sleep_for(0ms);  // not inside its own last step
        s.workers.erase(dead);
      };
      self.tasks.spawn("bury", bury(self, its_uid));
    };
    tasks.spawn("pod " + ns + "/" + name, live(*this, *raw, uid));
  }

  // Everything that runs already, by pod.
  Task<std::map<std::string, Adopted>> running_pods() {
    std::map<std::string, Adopted> found;
    for (const auto& sandbox : co_await runtime.list_sandboxes()) {
      const auto uid = sandbox.labels.find(label_uid);
      if (uid == sandbox.labels.end()) continue;
      auto& adopted = found[uid->second];
      if (adopted.sandbox && adopted.sandbox->attempt > sandbox.attempt) continue;
      adopted.sandbox = sandbox.ready ? co_await runtime.sandbox_status(sandbox.id) : sandbox;
      adopted.sandbox->labels = sandbox.labels;
    }
    for (const auto& container : co_await runtime.list_containers()) {
      const auto uid = container.labels.find(label_uid);
      if (uid == container.labels.end() || !found.contains(uid->second)) continue;
      auto status = co_await runtime.container_status(container.id);
      status.name = container.labels.contains(label_container) ? container.labels.at(label_container) : container.name;
      status.attempt = container.attempt;
      found[uid->second].containers.push_back(std::move(status));
    }
    co_return found;
  }

  Task<> adopt() {
    auto found = co_await running_pods();
    for (const auto& pod : store.list(kube::resources::pods)) {
      if (!is_ours(*pod)) continue;
      const auto uid = kube::uid_of(*pod);
      auto adopted = found.contains(uid) ? std::move(found[uid]) : Adopted{};
      found.erase(uid);
      if (!workers.contains(uid)) start_worker(kube::namespace_of(*pod), kube::name_of(*pod), uid, std::move(adopted));
    }
    // Pods that nobody wants any more.
    for (auto& [uid, adopted] : found) {
      const auto labels = adopted.sandbox->labels;
      start_worker(labels.at(label_namespace), labels.at(label_pod), uid, std::move(adopted));
    }
  }

  // Until the status of every pod is of now. One whose status cannot be written must not hold up the others.
  Task<> first_reports() {
    auto wait = [](State& self) -> Task<> {
      for (;;) {
        const auto seen = self.container_changes.version();
        if (std::ranges::all_of(self.workers, [](const auto& worker) { return worker.second->has_reported(); }))
          co_return;
        co_await self.container_changes.wait(seen);
      }
    };
    std::string trouble;
    try {
      co_await with_deadline(10s, "the status of some pods is still of before the start", wait(*this));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
      trouble = error.message();
    }
    if (!trouble.empty()) log::warn("ready with old statuses", kv("reason", trouble));
  }

  void on_pod(const StoreEvent& event) {
    if (!is_ours(*event.object)) return;
    const auto uid = kube::uid_of(*event.object);
    if (const auto found = workers.find(uid); found != workers.end())
      found->second->wake();
    else if (event.type != StoreEvent::Type::deleted)
      start_worker(kube::namespace_of(*event.object), kube::name_of(*event.object), uid, {});
  }

  void on_mounted(const StoreEvent& event) {
    const auto ns = kube::namespace_of(*event.object), name = kube::name_of(*event.object);
    for (const auto& pod : store.list(kube::resources::pods, ns)) {
      const auto found = workers.find(kube::uid_of(*pod));
      if (found != workers.end() && found->second->mounts(name)) found->second->refresh_volumes();
    }
  }

  // Ends are told by containerd; after a gap every container is asked about once.
  Task<> follow_runtime() {
    for (;;) {
      auto on_open = [this] {
        for (auto& [uid, worker] : workers) worker->doubt();
      };
      auto on_event = [this](const cri::Event& event) {
        for (auto& [uid, worker] : workers) {
          if (worker->owns(event.container_id)) worker->on_runtime_event(event);
        }
      };
      const auto trouble = co_await attempt(runtime.events(on_open, on_event));
      log::debug("containerd's events were interrupted", kv("reason", trouble ? trouble->message() : "it ended"));
      co_await sleep_for(100ms);
    }
  }

  // Should an event ever be lost, it is made up for here. More often at first: what the runtime had begun when the last
  // engine died may come to light only now.
  Task<> look_after() {
    for (auto pause = 2s;; pause = std::min<std::chrono::seconds>(pause * 2, 60s)) {
      co_await sleep_for(pause);
      for (auto step : {&State::compare_with_runtime, &State::sweep_folders}) {
        if (const auto trouble = co_await attempt((this->*step)()))
          log::debug("not looked after the pods", kv("error", trouble->message()));
      }
    }
  }

  // Two questions for all pods together. Sandboxes of pods that nobody wants get a worker that removes them.
  Task<> compare_with_runtime() {
    std::set<std::string> running;
    std::map<std::string, Adopted> unwanted;
    for (auto& sandbox : co_await runtime.list_sandboxes()) {
      if (sandbox.ready) running.insert(sandbox.id);
      const auto uid = sandbox.labels.find(label_uid);
      if (uid != sandbox.labels.end() && !workers.contains(uid->second)) unwanted[uid->second].sandbox = sandbox;
    }
    for (auto& container : co_await runtime.list_containers()) {
      if (container.state == cri::ContainerState::running) running.insert(container.id);
      const auto uid = container.labels.find(label_uid), name = container.labels.find(label_container);
      if (uid == container.labels.end() || name == container.labels.end() || !unwanted.contains(uid->second)) continue;
      cri::ContainerStatus status{std::move(container)};
      status.name = name->second;
      unwanted[uid->second].containers.push_back(std::move(status));
    }
    for (auto& [uid, worker] : workers) worker->compare(running);
    for (auto& [uid, adopted] : unwanted) {
      const auto labels = adopted.sandbox->labels;
      const auto ns = labels.find(label_namespace), pod = labels.find(label_pod);
      if (workers.contains(uid) || ns == labels.end() || pod == labels.end()) continue;
      const auto object = store.find(kube::resources::pods, ns->second, pod->second);
      if (object && kube::uid_of(*object) == uid) continue;
      log::info("sandbox of a pod that is gone", kv("pod", pod->second), kv("namespace", ns->second));
      start_worker(ns->second, pod->second, uid, std::move(adopted));
    }
  }

  // Folders and control groups of pods that went while no engine could clear up after them.
  Task<> sweep_folders() {
    auto uids = co_await offload([state = config.state, cgroup = "workflow-" + config.network.id] {
      auto found = pods_with_traces(state);
      found.merge(pods_with_cgroups(cgroup));
      return found;
    });
    for (const auto& pod : store.list(kube::resources::pods)) uids.erase(kube::uid_of(*pod));
    std::erase_if(uids, [this](const std::string& uid) { return workers.contains(uid); });
    if (uids.empty()) co_return;
    co_await offload([&settings = config, uids] {
      for (const auto& uid : uids) {
        try {
          remove_volumes(pod_folder(settings, uid));
        } catch (const Error& error) {
          log::warn("a folder of a pod that is gone stays", kv("uid", uid), kv("error", error.message()));
        }
        remove_cgroup(pod_cgroup(settings, uid));
        remove_logs_of(settings.state, uid);
      }
    });
  }

  // Images of the platform's own registry are pulled from its Service, wherever that is now.
  void point_to_registry() {
    if (!config.registry_service) return;
    const auto slash = config.registry_service->find('/');
    const auto service = store.find(kube::resources::services, config.registry_service->substr(0, slash),
                                    config.registry_service->substr(slash + 1));
    const auto address = service ? find_string(*service, {"spec", "clusterIP"}).value_or("") : "";
    const auto* ports = service ? find_path(*service, {"spec", "ports"}) : nullptr;
    if (address.empty() || address == "None" || !ports || !ports->is_array() || ports->get_array().empty()) return;
    const auto port = find_integer(ports->get_array().front(), {"port"}).value_or(80);
    auto write = [](State& self, std::string url) -> Task<> {
      co_await offload([&self, url] { write_registry_hosts(self.config, url); });
    };
    tasks.spawn("registry", write(*this, "http://" + address + ":" + std::to_string(port)));
  }

  Task<> work() {
    co_await offload([state = config.state] { make_private_folders(state); });
    co_await ensure_containerd(config);
    supervisor.keep("containerd", [this] { return watch_containerd(config); });
    constexpr std::uint64_t longest_own_log = 10u << 20;
    supervisor.keep("containerd's log", [this] { return bound_log(containerd_log(config), longest_own_log); });
    co_await runtime.wait_ready(30s);
    co_await ensure_pause_image(config);
    co_await register_node();
    co_await execs.begin();
    co_await adopt();
    subscriptions.push_back(store.subscribe(kube::resources::pods, [this](const StoreEvent& event) { on_pod(event); }));
    for (const auto* kind : {&kube::resources::secrets, &kube::resources::config_maps}) {
      subscriptions.push_back(store.subscribe(*kind, [this](const StoreEvent& event) { on_mounted(event); }));
    }
    subscriptions.push_back(store.subscribe(kube::resources::services, [this](const StoreEvent& event) {
      if (kube::namespace_of(*event.object) + "/" + kube::name_of(*event.object) == config.registry_service)
        point_to_registry();
    }));
    point_to_registry();
    // What was created between the two.
    for (const auto& pod : store.list(kube::resources::pods)) {
      if (is_ours(*pod) && !workers.contains(kube::uid_of(*pod))) {
        start_worker(kube::namespace_of(*pod), kube::name_of(*pod), kube::uid_of(*pod), {});
      }
    }
    supervisor.keep("containerd's events", [this] { return follow_runtime(); });
    supervisor.keep("containerd's sight", [this] { return sight.restore(); });
    supervisor.keep("look after pods", [this] { return look_after(); });
    supervisor.keep("upkeep", [this] { return upkeep.run(); });
    supervisor.keep("log rotation", [this] { return rotation.run(); });
    co_await first_reports();
    ready = true;
    ready_note.notify_all();
    log::info("node ready", kv("node", config.node_name), kv("pods", workers.size()));
    Notifier never(executor);
    co_await never.wait(never.version());
  }
};

Node::Node(Executor executor, NodeConfig config, Store& store, Clock& clock, TokenIssuer tokens)
    : state_(std::make_shared<State>(executor, std::move(config), store, clock, std::move(tokens))) {}
Node::~Node() = default;

Task<> Node::run() {
  check_programs(state_->config);
  auto stop = [state = state_]() -> Task<> {
    state->subscriptions.clear();
    co_await state->execs.stop();
    co_await state->tasks.stop();
    co_await state->supervisor.stop();
    state->workers.clear();
  };
  co_await with_cleanup(state_->work(), stop);
}

Task<> Node::ready() {
  while (!state_->ready) co_await state_->ready_note.wait(state_->ready_note.version());
}

std::optional<std::string> Node::problem() const { return state_->supervisor.problem(); }

void Node::hold_pods_for(std::function<Task<>()> settled) { state_->network_settled = std::move(settled); }

const std::string& Node::name() const { return state_->config.node_name; }

Task<http::StreamBody> Node::logs(std::string ns, std::string pod, PodLogOptions options) {
  auto* worker = state_->worker_of(ns, pod);
  const auto object = state_->store.find(kube::resources::pods, ns, pod);
  if (!worker || !object) throw Error(ErrorKind::not_found, "pods \"" + pod + "\" not found");
  auto source = log_source(state_->config, *object, worker->record(), options);
  // The follower asks whether its container still runs; the pod may go while it reads.
  auto is_over = [state = state_, ns, pod, container = source.container, restarts = source.attempt] {
    auto* now = state->worker_of(ns, pod);
    if (!now) return true;
    for (const auto& one : now->record().containers) {
      if (one.name == container) return one.phase != Phase::running || one.restarts != restarts;
    }
    return true;
  };
  co_return [state = state_, source = std::move(source), options, is_over](http::BodyWriter& to) {
    return stream_log(source, options, is_over, state->container_changes, to);
  };
}

Task<http::Response> Node::exec(const http::Request& request, std::string ns, std::string pod, ExecOptions options) {
  const auto id = state_->running_container_of(ns, pod, options.container);
  co_return exec_stream(request, state_->executor, options, [state = state_, id, options](ExecClient& client) {
    return state->execs.serve(client, id, options);
  });
}

Task<http::Response> Node::attach(const http::Request& request, std::string ns, std::string pod, ExecOptions options) {
  const auto id = state_->running_container_of(ns, pod, options.container);
  cri::StreamRequest wanted{id, options.in, options.out, options.err && !options.tty, options.tty};
  auto url = co_await state_->runtime.attach_url(std::move(wanted));
  co_return exec_stream(request, state_->executor, options,
                        [state = state_, url](ExecClient& client) { return relay(client, state->http, url); });
}

Task<http::Response> Node::forward(const http::Request& request, std::string ns, std::string pod) {
  auto* worker = state_->worker_of(ns, pod);
  if (!worker) throw Error(ErrorKind::not_found, "pods \"" + pod + "\" not found");
  const auto containers = worker->record().containers;
  const auto running = std::ranges::find(containers, Phase::running, [](const auto& one) { return one.phase; });
  if (running == containers.end())
    throw Error(ErrorKind::invalid, "unable to forward port because pod is not running: none of its containers is");
  auto network = network_of_spec(co_await state_->runtime.container_spec(running->id));
  co_return port_forward(request, state_->executor, std::move(network));
}

// Use is what happened between two looks. An earlier one serves if it is neither too fresh nor too old; else two are
// taken.
Task<std::vector<PodUsage>> Node::pod_usage() {
  constexpr auto too_fresh = 5s, too_old = 60s;
  struct Place {
    std::string ns, pod, container, id, cgroup;
  };
  auto state = state_;
  std::vector<Place> places;
  std::map<std::string, CgroupSample> before;
  bool must_wait = false;
  for (const auto& object : state->store.list(kube::resources::pods)) {
    const auto found = state->workers.find(kube::uid_of(*object));
    if (found == state->workers.end()) continue;
    for (const auto& one : found->second->record().containers) {
      if (one.phase != Phase::running) continue;
      places.push_back({kube::namespace_of(*object), kube::name_of(*object), one.name, one.id,
                        pod_cgroup(state->config, kube::uid_of(*object)) + "/" + one.id});
      const auto known = state->samples.find(one.id);
      const auto now = state->clock.now();
      if (known != state->samples.end() && now - known->second.at >= too_fresh && now - known->second.at <= too_old) {
        before[one.id] = known->second;
      } else {
        before[one.id] = sample_cgroup(places.back().cgroup, now);
        must_wait = true;
      }
    }
  }
  if (must_wait) co_await sleep_for(500ms);
  std::map<std::pair<std::string, std::string>, PodUsage> pods;
  std::map<std::string, CgroupSample> seen;
  for (const auto& place : places) {
    const auto after = sample_cgroup(place.cgroup, state->clock.now());
    const auto& first = before[place.id];
    auto& usage = pods[{place.ns, place.pod}];
    usage.ns = place.ns;
    usage.pod = place.pod;
    usage.at = after.at;
    usage.window = after.at - first.at;
    usage.containers.push_back({place.container, {nanocores(first, after), after.memory_bytes}});
    // A look that served stays the base of the next ones until it is too old.
    const auto known = state->samples.find(place.id);
    seen[place.id] =
        known != state->samples.end() && after.at - known->second.at < 2 * too_fresh ? known->second : after;
  }
  state->samples = std::move(seen);
  std::vector<PodUsage> out;
  for (auto& [key, usage] : pods) out.push_back(std::move(usage));
  co_return out;
}

Task<Usage> Node::node_usage() {
  const auto before = sample_cgroup("", state_->clock.now());
  co_await sleep_for(500ms);
  const auto after = sample_cgroup("", state_->clock.now());
  co_return Usage{nanocores(before, after), memory_of_machine("MemTotal") - memory_of_machine("MemAvailable")};
}

Task<std::vector<std::string>> Node::import_image(fs::path archive) {
  const auto before = co_await ctr(state_->config, {"images", "ls", "-q"}, 30s);
  co_await ctr(state_->config, {"images", "import", archive.string()}, 300s);
  const auto after = co_await ctr(state_->config, {"images", "ls", "-q"}, 30s);
  std::vector<std::string> fresh;
  for (const auto& line : split(after, '\n')) {
    if (!line.empty() && ("\n" + before).find("\n" + line + "\n") == std::string::npos) fresh.push_back(line);
  }
  co_return fresh;
}

}  // namespace workflow::engine
