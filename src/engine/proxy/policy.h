// src/engine/proxy/policy.h: what NetworkPolicies let through, as nftables rules. Pure.
//   A pod that no policy selects is open. Traffic of the machine itself (probes, the router's host ports) always
//   passes, and so do a pod's questions to the API server and to DNS, which the engine answers itself.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "engine/store.h"

namespace workflow::engine {

struct PolicyRules {
  std::map<std::string, std::vector<std::string>> chains;  // each returns what is allowed and rejects the rest
  std::map<std::string, std::string> ingress, egress;      // address of a pod → its chain
};
PolicyRules policy_rules(const std::vector<ObjectPtr>& policies, const std::vector<ObjectPtr>& pods,
                         const std::vector<ObjectPtr>& namespaces);

}  // namespace workflow::engine
