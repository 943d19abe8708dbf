// src/engine/node/container_config.h: what a pod's spec asks of the runtime. Pure.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "lib/json/json.h"

namespace workflow::engine {

using EnvList = std::vector<std::pair<std::string, std::string>>;

// Where values of an environment come from.
struct EnvSources {
  std::function<std::optional<std::map<std::string, std::string>>(const std::string& name)> secret, config_map;
  std::function<std::string(const std::string& path)> field;  // fieldRef
  std::function<std::string(const std::string& container, const std::string& resource, const std::string& divisor)>
      resource;
  EnvList service_links;
};
// Throws invalid in Kubernetes' words (CreateContainerConfigError) for a missing secret, config map or key.
EnvList environment_of(const json::object& container, const EnvSources& sources);
// $(NAME) becomes its value, $$ a dollar sign; what is unknown stays as it is.
std::string expand_variables(std::string_view text, const std::map<std::string, std::string>& values);

// Variables that tell pods where Services are: KUBERNETES_SERVICE_HOST always, the namespace's own with `all`.
EnvList service_links(const std::vector<const json::object*>& services, bool all);

cri::Resources resources_of(const json::object& container);
cri::SecurityContext security_of(const json::object& pod_spec, const json::object& container);
std::string qos_class(const json::object& pod_spec);
// From here on a pod is one that the machine cannot do without: the highest that a PriorityClass may have, and
// Kubernetes' own system-cluster-critical and system-node-critical.
inline constexpr std::int64_t critical_priority = 1'000'000'000;
std::int64_t pod_priority(const json::object& pod_spec);
// Whom the kernel's out-of-memory killer takes first: who promised nothing, and pods below others; last of all critical
// ones.
std::int64_t oom_score_adjustment(const json::object& pod_spec, const json::object& container);
// runAsNonRoot: throws invalid in Kubernetes' words when the image's or the pod's user is root, or cannot be told.
void check_non_root(const json::object& pod_spec, const json::object& container, const cri::Image& image);

}  // namespace workflow::engine
