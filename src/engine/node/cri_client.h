// src/engine/node/cri_client.h: the Container Runtime Interface (runtime.v1) as plain structs and coroutines, and what
//   containerd's own services do better: events, and processes with an input that ends.
//   Owns    the gRPC channel to containerd's socket. All of gRPC is behind cri_call.h.
//   Throws  Error by status code: not_found, conflict (already exists), timeout, unavailable, else internal with the
//           runtime's message. A cancelled call is cancelled at the runtime, too.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/clock.h"
#include "lib/base/domain.h"

namespace workflow::engine::cri {

using Labels = std::map<std::string, std::string>;

enum class NamespaceMode { pod = 0, container = 1, node = 2 };
struct Namespaces {
  NamespaceMode network = NamespaceMode::pod, pid = NamespaceMode::container, ipc = NamespaceMode::pod;
  bool operator==(const Namespaces&) const = default;
};
struct Seccomp {
  enum class Type { runtime_default = 0, unconfined = 1, localhost = 2 } type = Type::runtime_default;
  std::string localhost;
  bool operator==(const Seccomp&) const = default;
};

struct SandboxConfig {
  std::string name, uid, ns;
  std::uint32_t attempt = 0;
  std::string hostname, log_directory;
  std::vector<std::string> dns_servers, dns_searches, dns_options;
  Labels labels, annotations;
  std::string cgroup_parent;
  Namespaces namespaces;
  std::map<std::string, std::string> sysctls;
  bool privileged = false;
};
struct Sandbox {
  std::string id, name, uid, ns;
  std::uint32_t attempt = 0;
  bool ready = false;
  Time created;
  Labels labels, annotations;
  std::string ip;  // only from sandbox_status
};

struct Mount {
  std::string container_path, host_path;
  bool read_only = false;
  enum class Propagation { private_ = 0, host_to_container = 1, bidirectional = 2 } propagation = Propagation::private_;
  bool operator==(const Mount&) const = default;
};
struct Resources {
  std::int64_t cpu_period = 0, cpu_quota = 0, cpu_shares = 0, memory_limit = 0, memory_swap_limit = 0,
               oom_score_adj = 0;
  bool operator==(const Resources&) const = default;
};
struct SecurityContext {
  std::vector<std::string> add_capabilities, drop_capabilities;
  bool privileged = false, read_only_root = false, no_new_privileges = false;
  std::optional<std::int64_t> user, group;
  std::vector<std::int64_t> supplemental_groups;
  std::optional<Seccomp> seccomp;
  std::vector<std::string> masked_paths, read_only_paths;
  Namespaces namespaces;
  bool operator==(const SecurityContext&) const = default;
};
struct ContainerConfig {
  std::string name;
  std::uint32_t attempt = 0;
  std::string image;  // as resolved by the runtime: an image id or reference
  std::vector<std::string> command, args;
  std::string working_dir;
  std::vector<std::pair<std::string, std::string>> env;
  std::vector<Mount> mounts;
  Labels labels, annotations;
  std::string log_path;  // relative to the sandbox's log directory
  bool in = false, in_once = false, tty = false;
  Resources resources;
  SecurityContext security;
};
enum class ContainerState { created = 0, running = 1, exited = 2, unknown = 3 };
struct Container {
  std::string id, sandbox_id, name;
  std::uint32_t attempt = 0;
  ContainerState state = ContainerState::unknown;
  Labels labels, annotations;
  std::string image, image_ref;
  Time created;
};
struct ContainerStatus : Container {
  Time started{}, finished{};
  int exit_code = 0;
  std::string reason, message, log_path;
};

struct Image {
  std::string id;  // digest of its configuration
  std::vector<std::string> tags, digests;
  std::uint64_t size = 0;
  std::optional<std::int64_t> uid;
  std::string username;
};
struct Auth {
  std::string username;
  Secret password, auth, identity_token;
};
struct ExecResult {
  std::string out, err;
  int exit_code = 0;
};
struct StreamRequest {
  std::string container;
  bool in = false, out = true, err = true, tty = false;
};

// A process beside the container's own.
struct ExecId {
  std::string container, id;
};
struct ExecRequest {
  ExecId exec;
  std::string process;                 // the OCI runtime's Process, as JSON
  std::filesystem::path in, out, err;  // FIFOs; empty: none
  bool tty = false;
};
struct ExecState {
  int pid = 0;  // on this machine; 0 until it is started
  bool running = false;
};

struct Event {
  enum class Type { exited, out_of_memory, image_changed } type;
  std::string container_id;
  int exit_code = 0;
  Time at{};
};

class Client {
 public:
  Client(Executor executor, std::filesystem::path socket);
  ~Client();

  // Resolves when the runtime answers; throws timeout after `limit`.
  Task<std::string> wait_ready(std::chrono::milliseconds limit);
  Task<std::string> version();

  Task<std::string> run_sandbox(SandboxConfig config);
  Task<> stop_sandbox(std::string id);
  Task<> remove_sandbox(std::string id);
  Task<Sandbox> sandbox_status(std::string id);
  Task<std::vector<Sandbox>> list_sandboxes(Labels labels = {});

  Task<std::string> create_container(std::string sandbox_id, ContainerConfig config, SandboxConfig sandbox);
  Task<> start_container(std::string id);
  Task<> stop_container(std::string id, std::chrono::seconds grace);  // SIGTERM, then SIGKILL; returns when it is gone
  Task<> remove_container(std::string id);
  Task<std::vector<Container>> list_containers(Labels labels = {});
  Task<ContainerStatus> container_status(std::string id);
  Task<> reopen_log(std::string id);
  Task<ExecResult> exec_sync(std::string id, std::vector<std::string> command, std::chrono::seconds limit);
  Task<std::string> attach_url(StreamRequest request);

  Task<std::string> container_spec(std::string id);  // the OCI runtime's Spec, as JSON
  Task<> create_exec(ExecRequest request);
  Task<int> start_exec(ExecId exec);  // its pid. The FIFOs must have readers, or the runtime waits for them
  Task<int> wait_exec(ExecId exec);   // its exit code; for as long as it runs
  Task<std::optional<ExecState>> find_exec(ExecId exec);
  Task<> close_exec_input(ExecId exec);
  Task<> resize_exec(ExecId exec, std::uint16_t width, std::uint16_t height);
  Task<> kill_exec(ExecId exec);
  Task<> delete_exec(ExecId exec);  // it must have ended

  Task<std::vector<Image>> list_images();
  Task<std::optional<Image>> image_status(std::string image);
  Task<std::string> pull_image(std::string image, std::optional<Auth> auth);
  Task<> remove_image(std::string image);

  // Tells every event from the moment `on_open` is called until the stream breaks (returns) or the coroutine is
  // cancelled.
  Task<> events(std::function<void()> on_open, std::function<void(const Event&)> on_event);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace workflow::engine::cri
