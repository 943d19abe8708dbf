// src/engine/node/port_forward.h: connections of clients to ports inside a pod (`kubectl port-forward`).
//   Speaks  SPDY/3.1 (portforward.k8s.io), the same inside a WebSocket, and a WebSocket's channels
//   ([v4.]channel.k8s.io). Rules   a connection begins inside the pod's network, at its own 127.0.0.1, so that it
//   reaches what listens there only.
#pragma once
#include <string>

#include "lib/http/http.h"

namespace workflow::engine {

// An answer that upgrades the request. `network` is the file of the pod's network namespace; "" the machine's own.
// Throws invalid for a client that asks for no upgrade that is known, or for no port where the protocol wants them.
http::Response port_forward(const http::Request& request, Executor executor, std::string network);

// The network namespace in a container's Spec (OCI runtime); "" when it has the machine's.
std::string network_of_spec(std::string_view container_spec);

}  // namespace workflow::engine
