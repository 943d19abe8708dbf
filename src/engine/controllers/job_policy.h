// src/engine/controllers/job_policy.h: what a Job says about failures, and which of its indexes are done. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "lib/json/json.h"

namespace workflow::engine {

// spec.podFailurePolicy of a failed pod: the first rule that matches decides.
enum class OnFailure { count, ignore, fail_job };
struct FailureVerdict {
  OnFailure action = OnFailure::count;
  std::string why;  // of fail_job, as Kubernetes says it
};
FailureVerdict failure_verdict(const json::object& job, const json::object& pod);

// "0-2,4": status.completedIndexes. What is no such text has none.
using Indexes = std::set<std::int64_t>;
constexpr std::int64_t most_indexes = 100'000;
Indexes parse_indexes(std::string_view text);
std::string print_indexes(const Indexes& indexes);

std::optional<std::int64_t> index_of(const json::object& pod);
// Makes a pod from the Job's template the one of this index.
void give_index(json::object& pod, const std::string& job, std::int64_t index);

}  // namespace workflow::engine
