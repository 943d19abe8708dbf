// src/engine/controllers/autoscaler_metrics.h: how many pods a metric of an autoscaler asks for. Inside controllers
// only.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "engine/controllers/workload.h"
#include "engine/usage.h"

namespace workflow::engine {

struct MetricResult {
  std::int64_t replicas = 0;
  json::object current;  // for status.currentMetrics
  std::string what;      // "cpu resource utilization (percentage of request)"
  std::string problem;   // not "": nothing can be said, and why
};
// `pods`: those that the target selects. `metric`: an entry of spec.metrics.
MetricResult ask_metric(const json::object& metric, const Objects& pods, const std::map<std::string, PodUsage>& usage,
                        std::int64_t replicas, Time now);

}  // namespace workflow::engine
