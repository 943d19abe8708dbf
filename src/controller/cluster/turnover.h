// src/controller/cluster/turnover.h: pods give way to others, and no request fails meanwhile.
//   A pod that requests may reach carries a label that Services select. While a new release comes up, its Deployment is
//   held: it makes new pods, and gives up old ones only as far as it is allowed to. Those that are to go are taken out
//   of the endpoints first (the label goes), then every router lets go of them, and only then are they stopped.
//   All of it is in the cluster: whoever begins again after a crash goes on from there, and a hold ends by itself.
#pragma once
#include "controller/cluster/rollouts.h"
#include "controller/cluster/routers.h"

namespace workflow::controller::cluster {

// Not a part of the selectors of Deployments: a pod without it is still theirs.
inline constexpr const char* serving_label = "router.deis.io/serving";
bool is_labelled(const json::object& pod_or_template);

// --- decisions

// A Deployment whose old pods stay until they are allowed to go: no new one counts as available for as long as the
// hold lasts, so that exactly maxUnavailable old ones may go (as in Kubernetes' own reckoning).
void hold(json::object& deployment);
bool is_held(const json::object& deployment);
void let_go(json::object& deployment);
json::object release_patch(const json::object& deployment);      // the rest of the old pods goes
json::object allowing_patch(const RolloutView& view, int stay);  // so many old pods stay
json::object leaving_patch();                                    // of a pod: out of the endpoints, first to go
json::object staying_patch(const json::object& pod_template);    // takes that back
bool is_leaving(const json::object& pod);                        // marked so, or being deleted
std::optional<std::string> address_of(const json::object& pod);  // where it takes requests
// `count` of the pods, as a Deployment would choose them: what was chosen before, what is not ready, then the newest.
std::vector<ObjectPtr> first_to_go(std::vector<ObjectPtr> pods, std::size_t count);
// The old pods that a held rollout which is ready for its next step can spare.
std::vector<ObjectPtr> spare_pods(const RolloutView& view, const std::vector<ObjectPtr>& old_pods);

// The Services of the app that the routers lead requests to, with those of `pods` that each selects.
enum class Pods { serving, leaving };  // leaving ones are compared without the label
std::vector<Route> routes_to(const std::vector<json::object>& services, const std::vector<ObjectPtr>& pods, Pods kind);

// --- acts

// Until the routers serve the pods, or a deadline: "" or what they lack.
Task<std::string> served(const Place& place, AppName app, std::vector<ObjectPtr> pods);
// Takes pods out of the endpoints and waits until no router sends them requests: "" or what lacks at the deadline.
Task<std::string> retire(const Place& place, AppName app, std::vector<ObjectPtr> pods);
// Pods that were to go and stay after all serve again.
Task<> bring_back(const Place& place, const AppWatch& watch);

// Brings held rollouts to their end, step by step. `rest`: pods of types that stop altogether, with the last step.
// Late routers are told through `outcome.late`; a step that fails leaves the Deployments as they are then.
struct Turnover {
  AppWatch& watch;
  std::vector<Rollout>& rollouts;
  std::vector<ObjectPtr> rest;
  Progress progress;
};
Task<> turn_over(const Place& place, Turnover what, DeployOutcome& outcome);

}  // namespace workflow::controller::cluster
