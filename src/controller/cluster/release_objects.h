// src/controller/cluster/release_objects.h: a release as Kubernetes objects. Pure: the same release gives the same
// bytes, so
//   that deploying it again changes nothing.
#pragma once
#include <optional>

#include "controller/cluster/spec.h"

namespace workflow::controller::cluster {

// Everything that is wrong with a release before the cluster sees it, as one `invalid` Error by process type or
// setting.
void check_release(const AppSpec& app, const ReleaseSpec& release);

std::string deployment_name(const AppName& app, const ProcessType& type);  // also the container's name
std::string env_secret_name(const ReleaseSpec& release);
std::string slug_secret_name(const AppName& app);
// Named after its content, so that a rollback to other credentials does not change those of running pods.
std::string pull_secret_name(const ReleaseSpec& release);

// Variables by name, as containers see them: the platform's, then the app's config over them.
std::map<std::string, std::string> environment_of(const ReleaseSpec& release);
json::object env_secret_for(const ReleaseSpec& release);
json::object slug_secret_for(const ReleaseSpec& release);  // only with slug_url
std::optional<json::object> pull_secret_for(const ReleaseSpec& release);

// True when requests reach pods of this type: it gets a readiness check.
bool is_routed(const AppSpec& app, const ProcessType& type);
// True when they would, were the app routable, which may change while its pods live: it gets a port, and time to drain.
bool is_reachable(const AppSpec& app, const ProcessType& type);

struct DeploymentOptions {
  int replicas = 0;
  std::size_t nodes = 1;  // that match the release's tags
};
json::object deployment_for(const Settings& settings, const AppSpec& app, const ReleaseSpec& release,
                            const ProcessType& type, const DeploymentOptions& options);
// How long bringing up `replicas` pods of the type may take altogether.
std::chrono::seconds rollout_limit(const Settings& settings, const AppSpec& app, const ReleaseSpec& release,
                                   const ProcessType& type, const DeploymentOptions& options);

json::object run_pod_for(const Settings& settings, const ReleaseSpec& release, const std::string& command,
                         const std::string& suffix);

}  // namespace workflow::controller::cluster
