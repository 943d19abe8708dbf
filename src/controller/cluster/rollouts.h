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
  std::string told;       // progress that was reported last
  ObjectPtr written;      // the server's answer, until the watch shows the Deployment
  bool finished = false;  // of a held one: it needs nobody any more
};
// A pod of before: of another release, or one that was there when the rollout began.
bool is_old(const Rollout& r, const json::object& pod);

// For a Deployment as the server answered our write. Pods that are there already count as old.
Rollout rollout_of(const AppWatch& watch, const json::object& deployment, std::chrono::seconds limit,
                   const Settings& settings);

// Until all are up (ok), a held one as far as its next step, or one failed: its message names the type, the reason and
// the last lines of its log.
Task<DeployOutcome> follow(kube::Client& client, AppWatch& watch, std::vector<Rollout>& rollouts,
                           const Progress& progress);

}  // namespace workflow::controller::cluster
