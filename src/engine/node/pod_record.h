// src/engine/node/pod_record.h: how a worker that begins learns what it has: from the pod's spec, from the runtime,
// and, for
//   what the runtime has lost, from the status that was written last. Pure.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "engine/node/pod_state.h"

namespace workflow::engine {

// `found`: the pod's containers in the runtime, any order. `host_ip` is the node's.
PodRecord begun_record(const json::object& pod, std::vector<cri::ContainerStatus> found, const std::string& host_ip,
                       Time now);

// The containers that ran when the status was written, that are not among `found`, and that `runs` sees run.
std::vector<cri::ContainerStatus> unseen_containers(const json::object& pod,
                                                    const std::vector<cri::ContainerStatus>& found,
                                                    const std::function<bool(const std::string& id)>& runs);

// The pod was finished before: it must never run again, whatever the runtime still has of it.
bool was_finished(const json::object& pod);

Termination termination_of(const cri::ContainerStatus& status);
// A container that ran and is nowhere to be found.
Termination lost_container(const ContainerRecord& record, Time now);

// Its sandbox is gone, and the containers with it: init containers run again in the next one.
void note_new_sandbox(PodRecord& record, Time now);

}  // namespace workflow::engine
