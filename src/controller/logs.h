// src/controller/logs.h: what `deis logs` shows: the lines that the app wrote, and what the platform says of the app.
#pragma once
#include <string>
#include <vector>

#include "controller/cluster/cluster.h"

namespace workflow::controller {

struct AppEvent {
  Time at{};
  std::string what, reason;  // reason: of what failed; may have several lines
};
// As the original's log store kept them: `2026-01-02T03:04:05+00:00 deis[controller]: INFO alice deployed 1a2b3c4`.
std::vector<cluster::LogLine> lines_of(const AppEvent& event);
// The last `count` lines of all, by time; lines of one moment keep their order.
std::vector<std::string> newest_lines(std::vector<cluster::LogLine> lines, std::size_t count);

}  // namespace workflow::controller
