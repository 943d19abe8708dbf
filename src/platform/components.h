// src/platform/components.h: the platform's own Deployments and how far they are.
#pragma once
#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "lib/kube/client.h"

namespace workflow::platform {

struct Component {
  std::string name, version;
  int wanted = 0, ready = 0;
  bool current = false;  // every wanted pod is of the newest template and ready, and no older one is left
  std::string problem;   // why not, from its newest pod
};
Component component_from(const json::object& deployment);
// What keeps the pod from being ready, in Kubernetes' words; "" when nothing does.
std::string problem_of(const json::object& pod);

Task<std::vector<Component>> components(kube::Client& client);
// Follows the Deployments until all are current, telling each name once. Throws timeout that names who is not and why.
Task<> wait_until_ready(kube::Client& client, std::chrono::seconds limit,
                        std::function<void(const std::string&)> ready);

}  // namespace workflow::platform
