// Takes an engine's pods off the machine: everything that `run` made, also what a kill -9 left behind.
#include <signal.h>
#include <unistd.h>

#include <set>

#include "engine/node/containerd.h"
#include "engine/node/cri_client.h"
#include "engine/node/mounts.h"
#include "engine/node/node.h"
#include "engine/node/pod_view.h"
#include "lib/async/process.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Stops gracefully, all at once: a database needs its moment.
Task<> stop_pods(const NodeConfig& config) {
  auto executor = co_await asio::this_coro::executor;
  cri::Client runtime(executor, containerd_socket(config));
  co_await runtime.wait_ready(30s);
  TaskGroup stops(executor);
  auto stop = [](cri::Client& its, std::string id, std::chrono::seconds grace) -> Task<> {
    try {
      co_await its.stop_container(id, grace);
    } catch (const Error& error) {
      log::warn("container could not be stopped", kv("id", id), kv("error", error.message()));
    }
  };
  for (const auto& container : co_await runtime.list_containers()) {
    if (container.state != cri::ContainerState::running) continue;
    const auto asked = container.annotations.find(annotation_grace);
    const auto grace = asked == container.annotations.end() ? std::nullopt : parse_integer(asked->second);
    stops.spawn("stop", stop(runtime, container.id,
                             std::min<std::chrono::seconds>(std::chrono::seconds(grace.value_or(30)), 25s)));
  }
  co_await stops.join();
  auto remove = [](cri::Client& its, std::string id) -> Task<> {
    try {
      co_await its.stop_sandbox(id);
      co_await its.remove_sandbox(id);
    } catch (const Error& error) {
      log::warn("sandbox could not be removed", kv("id", id), kv("error", error.message()));
    }
  };
  for (const auto& sandbox : co_await runtime.list_sandboxes()) stops.spawn("remove", remove(runtime, sandbox.id));
  co_await stops.join();
}

// Processes in our cgroups, should the runtime have lost sight of them.
void kill_leftovers(const std::string& cgroup) {
  for (const auto& controller : fs::directory_iterator("/sys/fs/cgroup")) {
    for (const auto& root : {controller.path() / cgroup, fs::path("/sys/fs/cgroup") / cgroup}) {
      std::error_code ignored;
      if (!fs::exists(root, ignored)) continue;
      for (fs::recursive_directory_iterator at(root, ignored), end; at != end; at.increment(ignored)) {
        if (at->path().filename() != "cgroup.procs") continue;
        for (const auto& pid : split(find_file(at->path()).value_or(""), '\n')) {
          if (const auto number = parse_integer(pid)) ::kill(static_cast<pid_t>(*number), SIGKILL);
        }
      }
    }
  }
}

void remove_cgroups(const std::string& cgroup) {
  auto remove_tree = [](const fs::path& root) {
    std::vector<fs::path> folders{root};
    std::error_code ignored;
    for (fs::recursive_directory_iterator at(root, ignored), end; at != end; at.increment(ignored)) {
      if (at->is_directory(ignored)) folders.push_back(at->path());
    }
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) ::rmdir(folder->c_str());
  };
  std::error_code ignored;
  for (const auto& controller : fs::directory_iterator("/sys/fs/cgroup", ignored)) {
    if (fs::exists(controller.path() / cgroup, ignored)) remove_tree(controller.path() / cgroup);
  }
  if (fs::exists(fs::path("/sys/fs/cgroup") / cgroup, ignored)) remove_tree(fs::path("/sys/fs/cgroup") / cgroup);
}

void unmount_what_goes(const fs::path& folder) {
  try {
    unmount_below(folder);
  } catch (const Error& error) {
    log::warn("something stays mounted", kv("error", error.message()));
  }
}

void remove_pod_folders(const fs::path& pods) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(pods, ignored)) {
    try {
      remove_volumes(entry.path());
    } catch (const Error& error) {
      log::warn("a pod's folder stays", kv("error", error.message()));
    }
  }
  fs::remove(pods, ignored);
}

// Shims of our containerd that outlived their containers.
void kill_shims(const NodeConfig& config) {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const auto pid = parse_integer(entry.path().filename().string());
    if (!pid) continue;
    const auto command = find_file(entry.path() / "cmdline").value_or("");
    if (command.find("containerd-shim") != std::string::npos &&
        command.find(containerd_socket(config).string()) != std::string::npos) {
      ::kill(static_cast<pid_t>(*pid), SIGKILL);
    }
  }
}

}  // namespace

Task<> teardown(NodeConfig config) {
  std::exception_ptr failure;
  if (fs::exists(containerd_folder(config) / "config.toml")) {
    try {
      co_await ensure_containerd(config);
      co_await stop_pods(config);
    } catch (const Error&) {
      failure = std::current_exception();
    }
    if (failure) log::warn("containers could not be stopped in order", kv("error", describe(failure)));
    co_await stop_containerd(config);
  }
  kill_shims(config);
  const auto cgroup = "workflow-" + config.network.id;
  kill_leftovers(cgroup);
  co_await sleep_for(100ms);  // the kernel takes a moment to empty a cgroup of the dead
  co_await offload([config] {
    unmount_what_goes(containerd_folder(config));
    remove_pod_folders(config.state / "pods");
  });
  remove_cgroups(cgroup);
  co_await offload([config] {
    std::error_code ignored;
    for (const char* folder : {"cni", "exec"}) fs::remove_all(config.state / folder, ignored);
  });
  co_await remove_network(config.network);
}

}  // namespace workflow::engine
