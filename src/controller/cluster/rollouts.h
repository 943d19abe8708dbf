// src/controller/cluster/rollouts.h: following several process types at once until all are up or one has failed.
#pragma once
#include "controller/cluster/app_watch.h"
#include "controller/cluster/cluster.h"

namespace workflow::controller::cluster {

struct Rollout {
  RolloutView view;
  std::string version;  // label of the pods; "" any
  RolloutLimits limits;
  FirstSeen seen;
  std::string told;   // progress that was reported last
  ObjectPtr written;  // the server's answer, until the watch shows the Deployment
};

// For a Deployment as the server answered our write. `before`: pods that were there already.
Rollout rollout_of(const AppWatch& watch, const json::object& deployment, std::chrono::seconds limit,
                   const Settings& settings);

// Until all are up (ok) or one failed: its message names the type, the reason and the last lines of its log.
Task<DeployOutcome> follow(kube::Client& client, AppWatch& watch, std::vector<Rollout> rollouts, Progress progress);

}  // namespace workflow::controller::cluster
