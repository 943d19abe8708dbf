// src/cli/healthcheck.h: a probe as the controller's config holds it, from the words of `healthchecks:set`.
#pragma once
#include <string>
#include <vector>

#include "lib/json/json.h"

namespace workflow::cli {

struct ProbeOptions {
  std::string path = "/";
  std::string headers;  // "Name:Value,Name:Value"
  std::int64_t initial_delay = 50, timeout = 50, period = 10, success_threshold = 1, failure_threshold = 3;
};

// Throws invalid when the kind, the port or a header is wrong.
json::object probe_from(const std::string& kind, const std::vector<std::string>& words, const ProbeOptions& options);

}  // namespace workflow::cli
