// src/engine/apiserver/pod_printer.h: the READY, STATUS and RESTARTS of a pod, as kubectl shows them. Pure.
#pragma once
#include <string>

#include "lib/base/clock.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct PodSummary {
  std::string ready;     // 1/2
  std::string status;    // Running, CrashLoopBackOff, Init:0/1, Terminating, …
  std::string restarts;  // 3 (5m ago)
};
PodSummary pod_summary(const json::object& pod, Time now);

}  // namespace workflow::engine
