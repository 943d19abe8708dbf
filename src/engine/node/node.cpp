#include "engine/node/node.h"

#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/node/containerd.h"
#include "engine/node/cri_client.h"
#include "engine/node/pod_logs.h"
#include "engine/node/pod_worker.h"
#include "engine/node/streams.h"
#include "engine/node/usage.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::string host_label() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  std::string label;
  for (const char c : lower(name)) label += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
  while (!label.empty() && label.front() == '-') label.erase(0, 1);
  label = label.substr(0, 63);
  while (!label.empty() && label.back() == '-') label.pop_back();
  return label.empty() ? "node" : label;
}

std::uint64_t meminfo(std::string_view field) {
  for (const auto& line : split(find_file("/proc/meminfo").value_or(""), '\n')) {
    if (!line.starts_with(field)) continue;
    const auto text = trim(std::string_view(line).substr(field.size() + 1));
    return static_cast<std::uint64_t>(parse_integer(text.substr(0, text.find(' '))).value_or(0)) * 1024;
  }
  return 0;
}

json::object node_object(const NodeConfig& config, const std::string& runtime_version) {
  utsname kernel{};
  ::uname(&kernel);
  struct statvfs disk{};
  ::statvfs(config.state.c_str(), &disk);
  const auto cores = std::to_string(::sysconf(_SC_NPROCESSORS_ONLN));
  json::object capacity{{"cpu", cores},
                        {"memory", std::to_string(meminfo("MemTotal") / 1024) + "Ki"},
                        {"ephemeral-storage", std::to_string(disk.f_blocks * disk.f_frsize / 1024) + "Ki"},
                        {"pods", "250"}};
  const auto now = rfc3339(SystemClock().now());
  auto condition = [&](const char* type, const char* status, const char* reason, const char* message) {
    return json::object{{"type", type},     {"status", status},   {"lastHeartbeatTime", now}, {"lastTransitionTime", now},
                        {"reason", reason}, {"message", message}};
  };
  const auto os = find_file("/etc/os-release").value_or("");
  std::string os_image = "Linux";
  for (const auto& line : split(os, '\n')) {
    if (line.starts_with("PRETTY_NAME=")) os_image = replace_all(line.substr(12), "\"", "");
  }
  return {{"apiVersion", "v1"},
          {"kind", "Node"},
          {"metadata",
           {{"name", config.node_name},
            {"labels",
             {{"kubernetes.io/hostname", config.node_name},
              {"kubernetes.io/os", "linux"},
              {"kubernetes.io/arch", "amd64"},
              {"node-role.kubernetes.io/control-plane", ""}}}}},
          {"spec", {{"podCIDR", config.network.pod_cidr.text()}, {"podCIDRs", {config.network.pod_cidr.text()}}}},
          {"status",
           {{"capacity", capacity},
            {"allocatable", capacity},
            {"addresses",
             {{{"type", "InternalIP"}, {"address", config.network.gateway.text()}}, {{"type", "Hostname"}, {"address", config.node_name}}}},
            {"conditions",
             {condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
              condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk"),
              condition("PIDPressure", "False", "KubeletHasSufficientPID", "enough process numbers"),
              condition("Ready", "True", "KubeletReady", "the node agent runs")}},
            {"nodeInfo",
             {{"machineID", std::string(trim(find_file("/etc/machine-id").value_or("")))},
              {"kernelVersion", kernel.release},
              {"osImage", os_image},
              {"containerRuntimeVersion", "containerd://" + runtime_version},
              {"kubeletVersion", "v1.32.0"},
              {"kubeProxyVersion", "v1.32.0"},
              {"operatingSystem", "linux"},
              {"architecture", "amd64"},
              {"bootID", std::string(trim(find_file("/proc/sys/kernel/random/boot_id").value_or("")))},
              {"systemUUID", ""}}}}}};
}

}  // namespace

NodeConfig node_config(const fs::path& state, std::string_view pod_cidr, std::string_view service_cidr) {
  NodeConfig config;
  config.state = fs::absolute(state).lexically_normal();
  config.node_name = host_label();
  config.network = network_config(config.state, pod_cidr, service_cidr);
  config.registry_service = "deis/deis-registry";
  return config;
}

struct Node::State {
  State(Executor ex, NodeConfig c, Store& s, Clock& k, TokenIssuer t)
      : executor(ex), config(std::move(c)), store(s), clock(k), tokens(std::move(t)), runtime(ex, containerd_socket(config)),
        http(ex, {.tls = {.verify = false}, .connect_timeout = 5s, .max_idle_per_host = 0, .user_agent = "kube-probe"}),
        parts{config, store, clock, runtime, http, tokens, ex}, tasks(ex), ready_note(ex) {}

  Executor executor;
  NodeConfig config;
  Store& store;
  Clock& clock;
  TokenIssuer tokens;
  cri::Client runtime;
  http::Client http;
  NodeParts parts;
  TaskGroup tasks;
  Notifier ready_note;
  bool ready = false;
  std::map<std::string, std::unique_ptr<PodWorker>> workers;  // by pod uid
  std::vector<std::unique_ptr<Store::Subscription>> subscriptions;

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

  void start_worker(const std::string& ns, const std::string& name, const std::string& uid, Adopted adopted) {
    auto worker = std::make_unique<PodWorker>(parts, ns, name, uid, std::move(adopted));
    auto* raw = worker.get();
    workers[uid] = std::move(worker);
    auto live = [](State& self, PodWorker& its, std::string its_uid) -> Task<> {
      for (auto pause = 200ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 10s)) {
        std::string trouble;
        try {
          co_await its.run();
        } catch (const Error& error) {
          trouble = describe(std::current_exception());
        }
        if (trouble.empty()) break;
        log::error("pod worker failed; starting it again", kv("uid", its_uid), kv("error", trouble));
        co_await sleep_for(pause);
      }
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

  void on_pod(const StoreEvent& event) {
    if (!is_ours(*event.object)) return;
    const auto uid = kube::uid_of(*event.object);
    if (const auto found = workers.find(uid); found != workers.end()) found->second->wake();
    else if (event.type != StoreEvent::Type::deleted) start_worker(kube::namespace_of(*event.object), kube::name_of(*event.object), uid, {});
  }

  void on_mounted(const StoreEvent& event) {
    const auto ns = kube::namespace_of(*event.object), name = kube::name_of(*event.object);
    for (const auto& pod : store.list(kube::resources::pods, ns)) {
      const auto found = workers.find(kube::uid_of(*pod));
      if (found != workers.end() && found->second->mounts(name)) found->second->refresh_volumes();
    }
  }

  // Exits are told by containerd; after a gap every container is asked once.
  Task<> follow_runtime() {
    for (;;) {
      auto on_open = [this] {
        for (auto& [uid, worker] : workers) {
          for (const auto& one : worker->record().containers) {
            if (one.phase == Phase::running) worker->look_at(one.id);
          }
        }
      };
      auto on_event = [this](const cri::Event& event) {
        if (event.type != cri::Event::Type::exited) return;
        for (auto& [uid, worker] : workers) {
          if (worker->has_container(event.container_id)) worker->container_ended(event.container_id, {event.exit_code, event.at});
        }
      };
      std::string trouble = "the stream ended";
      try {
        co_await runtime.events(on_open, on_event);
      } catch (const Error& error) {
        trouble = error.message();
      }
      log::debug("containerd's events were interrupted", kv("reason", trouble));
      co_await sleep_for(100ms);
    }
  }

  // Tokens grow old; and should an event ever be lost, it is made up for here.
  Task<> look_after() {
    for (;;) {
      co_await sleep_for(60s);
      for (auto& [uid, worker] : workers) {
        worker->refresh_volumes();
        for (const auto& one : worker->record().containers) {
          if (one.phase == Phase::running) worker->look_at(one.id);
        }
      }
    }
  }

  Task<> work() {
    co_await ensure_containerd(config);
    tasks.spawn("containerd", watch_containerd(config));
    co_await runtime.wait_ready(30s);
    co_await ensure_pause_image(config);
    co_await register_node();
    co_await adopt();
    subscriptions.push_back(store.subscribe(kube::resources::pods, [this](const StoreEvent& event) { on_pod(event); }));
    for (const auto* kind : {&kube::resources::secrets, &kube::resources::config_maps}) {
      subscriptions.push_back(store.subscribe(*kind, [this](const StoreEvent& event) { on_mounted(event); }));
    }
    // What was created between the two.
    for (const auto& pod : store.list(kube::resources::pods)) {
      if (is_ours(*pod) && !workers.contains(kube::uid_of(*pod))) {
        start_worker(kube::namespace_of(*pod), kube::name_of(*pod), kube::uid_of(*pod), {});
      }
    }
    tasks.spawn("runtime events", follow_runtime());
    tasks.spawn("look after", look_after());
    ready = true;
    ready_note.notify_all();
    log::info("node ready", kv("node", config.node_name), kv("pods", workers.size()));
    co_await tasks.join();
  }
};

Node::Node(Executor executor, NodeConfig config, Store& store, Clock& clock, TokenIssuer tokens)
    : state_(std::make_shared<State>(executor, std::move(config), store, clock, std::move(tokens))) {}
Node::~Node() = default;

Task<> Node::run() {
  check_programs(state_->config);
  auto stop = [state = state_]() -> Task<> {
    state->subscriptions.clear();
    co_await state->tasks.stop();
    state->workers.clear();
  };
  co_await with_cleanup(state_->work(), stop);
}

Task<> Node::ready() {
  while (!state_->ready) co_await state_->ready_note.wait(state_->ready_note.version());
}

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
  co_return [source = std::move(source), options, is_over](http::BodyWriter& to) { return stream_log(source, options, is_over, to); };
}

Task<http::Response> Node::exec(const http::Request& request, std::string ns, std::string pod, ExecOptions options) {
  auto* worker = state_->worker_of(ns, pod);
  const auto object = state_->store.find(kube::resources::pods, ns, pod);
  if (!worker || !object) throw Error(ErrorKind::not_found, "pods \"" + pod + "\" not found");
  const auto id = running_container(*object, worker->record(), options.container);
  cri::StreamRequest wanted{id, options.command, options.in, options.out, options.err && !options.tty, options.tty};
  auto url = co_await state_->runtime.exec_url(std::move(wanted));
  co_return relay(request, state_->http, std::move(url), options);
}

Task<http::Response> Node::attach(const http::Request& request, std::string ns, std::string pod, ExecOptions options) {
  auto* worker = state_->worker_of(ns, pod);
  const auto object = state_->store.find(kube::resources::pods, ns, pod);
  if (!worker || !object) throw Error(ErrorKind::not_found, "pods \"" + pod + "\" not found");
  const auto id = running_container(*object, worker->record(), options.container);
  cri::StreamRequest wanted{id, {}, options.in, options.out, options.err && !options.tty, options.tty};
  auto url = co_await state_->runtime.attach_url(std::move(wanted));
  co_return relay(request, state_->http, std::move(url), options);
}

// Two looks at the cgroups, half a second apart: what is used now, not since the start.
Task<std::vector<PodUsage>> Node::pod_usage() {
  struct Place {
    std::string ns, pod, container, cgroup;
    CgroupSample before;
  };
  std::vector<Place> places;
  for (const auto& object : state_->store.list(kube::resources::pods)) {
    const auto found = state_->workers.find(kube::uid_of(*object));
    if (found == state_->workers.end()) continue;
    for (const auto& one : found->second->record().containers) {
      if (one.phase != Phase::running) continue;
      const auto cgroup = "workflow-" + state_->config.network.id + "/pod" + kube::uid_of(*object) + "/" + one.id;
      places.push_back({kube::namespace_of(*object), kube::name_of(*object), one.name, cgroup, sample_cgroup(cgroup, state_->clock.now())});
    }
  }
  co_await sleep_for(500ms);
  std::map<std::pair<std::string, std::string>, PodUsage> pods;
  for (const auto& place : places) {
    const auto after = sample_cgroup(place.cgroup, state_->clock.now());
    auto& usage = pods[{place.ns, place.pod}];
    usage.ns = place.ns;
    usage.pod = place.pod;
    usage.at = after.at;
    usage.window = after.at - place.before.at;
    usage.containers.push_back({place.container, {nanocores(place.before, after), after.memory_bytes}});
  }
  std::vector<PodUsage> out;
  for (auto& [key, usage] : pods) out.push_back(std::move(usage));
  co_return out;
}

Task<Usage> Node::node_usage() {
  const auto before = sample_cgroup("", state_->clock.now());
  co_await sleep_for(500ms);
  const auto after = sample_cgroup("", state_->clock.now());
  co_return Usage{nanocores(before, after), meminfo("MemTotal") - meminfo("MemAvailable")};
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
