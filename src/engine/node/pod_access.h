// src/engine/node/pod_access.h: what clients ask of a running pod: its logs, and commands in it.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"

namespace workflow::engine {

struct PodLogOptions {
  std::string container;  // "": the only one, else the annotation kubectl.kubernetes.io/default-container
  bool follow = false, previous = false, timestamps = false;
  std::optional<std::int64_t> tail_lines, since_seconds, limit_bytes;
  std::optional<Time> since_time;
};
struct ExecOptions {
  std::string container;
  std::vector<std::string> command;  // exec only
  bool in = false, out = true, err = true, tty = false;
};

}  // namespace workflow::engine
