// src/engine/node/usage.h: what a cgroup has used.
#pragma once
#include <cstdint>
#include <string>

#include "lib/base/clock.h"

namespace workflow::engine {

struct CgroupSample {
  Time at{};
  std::uint64_t cpu_nanoseconds = 0, memory_bytes = 0;
};
CgroupSample sample_cgroup(const std::string& path, Time now);  // path below the hierarchy: workflow-1a2b3c/pod…/<container>
std::uint64_t nanocores(const CgroupSample& before, const CgroupSample& after);

}  // namespace workflow::engine
