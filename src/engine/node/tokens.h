// src/engine/node/tokens.h: tokens of service accounts, which the API server issues and volumes hold.
#pragma once
#include <chrono>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/clock.h"
#include "lib/base/domain.h"

namespace workflow::engine {

// A token of a service account, bound to a pod.
struct TokenRequest {
  std::string ns, service_account;
  std::vector<std::string> audiences;  // empty: the API server's own
  std::chrono::seconds lifetime{3607};
  std::string pod_name, pod_uid;
};
struct IssuedToken {
  Secret token;
  Time expires;
};
using TokenIssuer = std::function<Task<IssuedToken>(TokenRequest)>;

// Issued already, by audience.
using Tokens = std::map<std::string, IssuedToken>;

}  // namespace workflow::engine
