#include "engine/node/runtime_sight.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "engine/node/attempt.h"
#include "engine/node/cgroup.h"
#include "engine/node/containerd.h"
#include "engine/node/pod_view.h"
#include "lib/base/file.h"
#include "lib/base/log.h"

namespace workflow::engine {

using namespace std::chrono_literals;

namespace {

// As much as containerd writes while it loads what there is, and more.
bool has_space(const std::filesystem::path& folder) {
  constexpr std::size_t enough = 1u << 20;
  const auto file = folder / "space";
  bool written = true;
  try {
    write_file_atomically(file, std::string(enough, ' '));
  } catch (const Error&) {
    written = false;
  }
  std::error_code ignored;
  std::filesystem::remove(file, ignored);
  return written;
}

}  // namespace

bool RuntimeSight::still_runs(const std::string& pod_uid, const std::string& id) {
  auto cgroup = pod_cgroup(config_, pod_uid) + "/" + id;
  if (!has_processes(cgroup)) return false;
  const auto [found, is_new] = missed_.emplace(id, Missed{std::move(cgroup), begun_});
  if (is_new) {
    log::warn("containerd does not know a container that runs", kv("container", id));
    changes_.notify_all();
  }
  return begun_ < found->second.begun + enough;
}

bool RuntimeSight::is_missing() const {
  return std::ranges::any_of(missed_, [this](const auto& one) { return begun_ < one.second.begun + enough; });
}

Task<> RuntimeSight::restore() {
  for (auto pause = 1s;;) {
    const auto seen = changes_.version();
    std::erase_if(missed_, [](const auto& one) { return !has_processes(one.second.cgroup); });
    if (!is_missing()) {
      pause = 1s;
      co_await changes_.wait(seen);
    }
    co_await sleep_for(pause);  // what the last one found is told meanwhile
    pause = std::min(pause * 2, std::chrono::seconds(60));
    const auto look = [folder = containerd_folder(config_)] { return has_space(folder); };
    if (!is_missing() || !co_await offload(look)) continue;
    log::warn("containerd is started anew, to find what runs", kv("containers", missed_.size()));
    if (const auto trouble = co_await attempt(renew_containerd(config_))) {
      log::warn("containerd was not started anew", kv("error", trouble->message()));
    } else if (co_await offload(look)) {
      ++begun_;
    }
  }
}

}  // namespace workflow::engine
