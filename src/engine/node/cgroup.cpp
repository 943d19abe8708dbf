#include "engine/node/cgroup.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "engine/fields.h"
#include "engine/node/container_config.h"
#include "engine/quantity.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

std::uint64_t number_in(const fs::path& file) {
  return static_cast<std::uint64_t>(parse_integer(trim(find_file(file).value_or("0"))).value_or(0));
}

// The value of a "name value" line.
std::uint64_t field_in(const fs::path& file, std::string_view name) {
  for (const auto& line : split(find_file(file).value_or(""), '\n')) {
    if (line.starts_with(std::string(name) + " ")) {
      return static_cast<std::uint64_t>(parse_integer(std::string_view(line).substr(name.size() + 1)).value_or(0));
    }
  }
  return 0;
}

// The kernel's own files: written in place. A controller that refuses costs the pod its share, not its life.
void write_setting(const fs::path& file, std::int64_t value) {
  std::ofstream out(file);
  out << value;
}

const fs::path root = "/sys/fs/cgroup";

bool is_version_2() { return fs::exists(root / "cgroup.controllers"); }

}  // namespace

std::int64_t pod_weight(const json::object& pod, std::int64_t processors) {
  constexpr std::int64_t processor = 1024, least = 128, most = 262144, below = 4;
  const auto requested = pod_amount(pod, "requests", "cpu") * processor / 1000;
  const auto priority = pod_priority(object_at(pod, {"spec"}));
  if (priority >= critical_priority) return std::clamp(std::max(requested, processors * processor), least, most);
  if (priority < 0) return std::clamp(requested / below, least / below, most);
  return std::clamp(requested, least, most);
}

std::int64_t processors_of_machine() { return std::max<std::int64_t>(1, ::sysconf(_SC_NPROCESSORS_ONLN)); }

void prepare_cgroup(const std::string& path, std::int64_t weight) {
  std::error_code ignored;
  if (is_version_2()) {
    fs::create_directories(root / path, ignored);
    write_setting(root / path / "cpu.weight", std::clamp<std::int64_t>(1 + (weight - 2) * 9999 / 262142, 1, 10000));
    return;
  }
  if (!fs::exists(root / "cpu", ignored)) return;
  fs::create_directories(root / "cpu" / path, ignored);
  write_setting(root / "cpu" / path / "cpu.shares", weight);
}

void remove_cgroup(const std::string& path) {
  std::error_code ignored;
  ::rmdir((root / path).c_str());
  for (const auto& controller : fs::directory_iterator(root, ignored)) {
    if (controller.is_directory(ignored)) ::rmdir((controller.path() / path).c_str());
  }
}

bool has_processes(const std::string& path) {
  for (const auto& folder : {root / path, root / "pids" / path, root / "memory" / path}) {
    if (!find_file(folder / "cgroup.procs").value_or("").empty()) return true;
  }
  return false;
}

std::set<std::string> pods_with_cgroups(const std::string& parent) {
  std::set<std::string> uids;
  std::error_code ignored;
  auto look = [&](const fs::path& folder) {
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      const auto name = entry.path().filename().string();
      if (name.starts_with("pod")) uids.insert(name.substr(3));
    }
  };
  look(root / parent);
  for (const auto& controller : fs::directory_iterator(root, ignored)) look(controller.path() / parent);
  return uids;
}

CgroupSample sample_cgroup(const std::string& path, Time now) {
  CgroupSample sample{.at = now};
  if (fs::exists(root / "cpuacct" / path)) {
    sample.cpu_nanoseconds = number_in(root / "cpuacct" / path / "cpuacct.usage");
    const auto used = number_in(root / "memory" / path / "memory.usage_in_bytes");
    const auto cache = field_in(root / "memory" / path / "memory.stat", "total_inactive_file");
    sample.memory_bytes = used > cache ? used - cache : 0;
  } else {
    sample.cpu_nanoseconds = field_in(root / path / "cpu.stat", "usage_usec") * 1000;
    const auto used = number_in(root / path / "memory.current");
    const auto cache = field_in(root / path / "memory.stat", "inactive_file");
    sample.memory_bytes = used > cache ? used - cache : 0;
  }
  return sample;
}

std::uint64_t nanocores(const CgroupSample& before, const CgroupSample& after) {
  const auto window = (after.at - before.at).count();
  if (window <= 0 || after.cpu_nanoseconds < before.cpu_nanoseconds) return 0;
  return static_cast<std::uint64_t>(static_cast<double>(after.cpu_nanoseconds - before.cpu_nanoseconds) * 1e9 /
                                    static_cast<double>(window));
}

}  // namespace workflow::engine
