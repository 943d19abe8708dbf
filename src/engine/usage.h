// src/engine/usage.h: what pods use now: measured by the node agent, read by metrics.k8s.io and the autoscaler.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/clock.h"

namespace workflow::engine {

// Use of a container, or of the whole node.
struct Usage {
  std::uint64_t cpu_nanocores = 0;
  std::uint64_t memory_bytes = 0;  // working set
};
struct PodUsage {
  std::string ns, pod;
  Time at;
  std::chrono::nanoseconds window{};
  std::vector<std::pair<std::string, Usage>> containers;
};

}  // namespace workflow::engine
