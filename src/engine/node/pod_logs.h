// src/engine/node/pod_logs.h: reading the CRI log files of a container.
#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/node/node_config.h"
#include "engine/node/pod_access.h"
#include "engine/node/pod_state.h"
#include "lib/async/task.h"
#include "lib/http/http.h"

namespace workflow::engine {

struct LogSource {
  std::filesystem::path log;  // of an instance: with the parts that were set aside
  std::string container;
  int attempt = 0;
};
// Which instance the options mean. Throws invalid (several containers, none named; unknown container; not started yet)
// and not_found (no previous run) in Kubernetes' words.
LogSource log_source(const NodeConfig& config, const json::object& pod, const PodRecord& record,
                     const PodLogOptions& options);
std::string running_container(const json::object& pod, const PodRecord& record, const std::string& container);

// Writes what the options ask for; following ends once `is_over` and everything is told. `ends` is told when a
// container ends.
Task<> stream_log(LogSource source, PodLogOptions options, std::function<bool()> is_over, Notifier& ends,
                  http::BodyWriter& to);

}  // namespace workflow::engine
