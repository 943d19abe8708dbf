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

// A line of a CRI log: "2026-01-02T03:04:05.000000006Z stdout F text".
struct LogLine {
  std::string_view time, stream, text;
  bool partial = false;  // the line goes on in the next record
};
std::optional<LogLine> parse_log_line(std::string_view line);

struct LogSource {
  std::filesystem::path file;
  std::string container;
  int attempt = 0;
};
// Which file the options mean. Throws invalid (several containers, none named; unknown container; not started yet) and
// not_found (no previous run) in Kubernetes' words.
LogSource log_source(const NodeConfig& config, const json::object& pod, const PodRecord& record,
                     const PodLogOptions& options);
std::string running_container(const json::object& pod, const PodRecord& record, const std::string& container);

// Writes what the options ask for; following ends once `is_over` and everything is told. `ends` is told when a
// container ends.
Task<> stream_log(LogSource source, PodLogOptions options, std::function<bool()> is_over, Notifier& ends,
                  http::BodyWriter& to);

// The text of the last lines of a log file, cut to so many bytes. Blocks.
std::string last_lines(const std::filesystem::path& log, std::int64_t lines, std::size_t bytes);
// Removes the files of attempts before `oldest`, rotated ones too. Blocks.
void remove_old_logs(const std::filesystem::path& folder, int oldest);

// Rotation: the name that a log of this size gets (nullopt: it may stay), and which of the earlier ones go. Pure.
std::optional<std::filesystem::path> rotated_name(const std::filesystem::path& log, std::uint64_t size,
                                                  std::uint64_t most, Time now);
std::vector<std::filesystem::path> surplus_logs(std::vector<std::filesystem::path> rotated, std::size_t keep);

}  // namespace workflow::engine
