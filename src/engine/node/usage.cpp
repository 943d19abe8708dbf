// Use of cpu and memory, read from the cgroups of pods (version 1 and 2).
#include "engine/node/usage.h"

#include <filesystem>

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

}  // namespace

CgroupSample sample_cgroup(const std::string& path, Time now) {
  const fs::path root = "/sys/fs/cgroup";
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
  return static_cast<std::uint64_t>(static_cast<double>(after.cpu_nanoseconds - before.cpu_nanoseconds) * 1e9 / static_cast<double>(window));
}

}  // namespace workflow::engine
