// src/controller/cluster/pod_state.h: pods in the original's words.
#pragma once
#include <string>

#include "controller/cluster/cluster.h"

namespace workflow::controller::cluster {

// up, starting, creating, initializing, terminating, down, crashed, error, or why a container waits, verbatim.
std::string pod_state(const json::object& pod);
PodInfo pod_info(const json::object& pod);
// What `deis ps` lists: no one-off pods, none that ended or is past its deletion.
bool is_listed(const json::object& pod, Time now);
bool fits(const json::object& pod, const AppName& app, const PodFilter& filter);

// One line of a container's log as the log store keeps it. `timestamp` as the Kubernetes API prints it.
std::string log_line(const json::object& pod, std::string_view timestamp, std::string_view text);

}  // namespace workflow::controller::cluster
