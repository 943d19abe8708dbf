// src/engine/node/node_parts.h: what the workers of a node share.
#pragma once
#include <functional>

#include "engine/node/cri_client.h"
#include "engine/node/node_config.h"
#include "engine/node/runtime_sight.h"
#include "engine/node/tokens.h"
#include "engine/store.h"
#include "lib/http/http.h"

namespace workflow::engine {

struct NodeParts {
  const NodeConfig& config;
  Store& store;
  Clock& clock;
  cri::Client& runtime;
  RuntimeSight& sight;
  http::Client& http;
  TokenIssuer& tokens;
  const std::function<Task<>()>& network_settled;  // once policies know the pod's address; empty: nobody minds
  Notifier& container_changes;                     // told whenever a container of any pod starts or ends
  Executor executor;
};

}  // namespace workflow::engine
