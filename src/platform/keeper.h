// src/platform/keeper.h: two small processes that keep the engine running, and each other.
//   The keeper restarts the engine and its twin; the twin takes the keeper's place when it dies. So any of the three
//   may be killed at any time. Under systemd, workflow.service runs the keeper.
#pragma once
#include <chrono>
#include <filesystem>
#include <optional>

#include "lib/async/task.h"

namespace workflow::platform {

// A process by number and start time, so that a recycled number is never taken for it.
struct ProcessId {
  int pid = 0;
  std::string started;  // field 22 of /proc/<pid>/stat
  bool operator==(const ProcessId&) const = default;
};
std::optional<ProcessId> identify(int pid);                                     // nullopt when there is none
std::optional<ProcessId> read_process_file(const std::filesystem::path& file);  // only if it still runs
void write_process_file(const std::filesystem::path& file, const ProcessId& id);
Task<> gone(ProcessId id);  // returns when it has ended

std::filesystem::path keeper_file(const std::filesystem::path& state);
std::filesystem::path engine_file(const std::filesystem::path& state);

// Starts a keeper in the background, and tells which process it is; nullopt: one runs already.
std::optional<ProcessId> start_keeper(const std::filesystem::path& state);
// Stops keeper, twin and engine; containers run on. Returns once they are gone; throws timeout.
Task<> stop_keeper(std::filesystem::path state, std::chrono::seconds limit);

// How long to wait before the engine is started again, after it ran for `lifetime` and failed `failures` times in a
// row.
std::chrono::milliseconds restart_delay(std::chrono::milliseconds lifetime, int failures);

}  // namespace workflow::platform
