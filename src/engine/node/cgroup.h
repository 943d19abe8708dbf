// src/engine/node/cgroup.h: the control group of a pod, which its containers share, and what groups have used. cgroup
// v1 and v2.
#pragma once
#include <cstdint>
#include <set>
#include <string>

#include "lib/base/clock.h"
#include "lib/json/json.h"

namespace workflow::engine {

// What the pod as a whole weighs against others when the processors are busy, in cpu.shares: as much as it requests,
// but
//   the platform's pods (priority of a critical class) each as much as all others together may request: who logs in
//   never waits for an app that computes;
//   pods that request nothing enough to get on beside those that do;
//   pods below others (a negative priority: builds) a quarter of theirs.
// Limits are its containers' own. Pure.
std::int64_t pod_weight(const json::object& pod, std::int64_t processors);
std::int64_t processors_of_machine();

// `path` is below the hierarchy: workflow-1a2b3c/pod<uid>. Controllers that are not there are left out.
void prepare_cgroup(const std::string& path, std::int64_t weight);
// Only once it is empty; a group that is not there is fine.
void remove_cgroup(const std::string& path);

// Whether anything runs in the group itself.
bool has_processes(const std::string& path);

// The uids of pods that have a group in `parent` (workflow-1a2b3c).
std::set<std::string> pods_with_cgroups(const std::string& parent);

struct CgroupSample {
  Time at{};
  std::uint64_t cpu_nanoseconds = 0, memory_bytes = 0;
};
CgroupSample sample_cgroup(const std::string& path, Time now);
std::uint64_t nanocores(const CgroupSample& before, const CgroupSample& after);

}  // namespace workflow::engine
