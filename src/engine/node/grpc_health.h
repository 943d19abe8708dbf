// src/engine/node/grpc_health.h: asking a server how it is in gRPC's own words (grpc.health.v1.Health/Check).
#pragma once
#include <chrono>
#include <string>

#include "lib/async/task.h"

namespace workflow::engine {

// "" when `service` ("": the server as a whole) is serving, else why not, in Kubernetes' words. `address`:
// "10.42.0.3:80".
Task<std::string> grpc_health(std::string address, std::string service, std::chrono::milliseconds limit);

}  // namespace workflow::engine
