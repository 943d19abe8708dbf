// src/controller/cluster/cluster.h: makes apps and releases so in a Kubernetes cluster.
//   Owns    nothing: all state is in the cluster; every function may be called again after a crash and goes on from
//   there. Needs   a Kubernetes client. Waits only by watching, never by polling. Throws  Error: unavailable when the
//   API server cannot be reached, unprocessable with the cluster's own words when it
//           refuses an object, invalid when a spec cannot be run. What goes wrong inside a rollout is a DeployOutcome.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "controller/cluster/routers.h"
#include "controller/cluster/spec.h"
#include "lib/http/http.h"
#include "lib/kube/client.h"

namespace workflow::controller::cluster {

// The cluster that apps run in, and those who lead requests to them.
struct Place {
  kube::Client& client;
  const Settings& settings;
  Routers& routers;
};

// --- apps

// Namespace, quota, Service with its router annotations, certificate secrets, path Services: created, or changed to
// match. Certificates and path Services that the spec no longer names are removed. Pods are not touched. Throws
// conflict when the namespace exists and is not an app's (label heritage=deis is missing, or it is being deleted).
// Returns what every router has in effect a moment later.
Task<std::vector<Route>> apply_app(kube::Client& client, const Settings& settings, AppSpec app);
// `<A> already exists as a namespace …`: true when a namespace of that name is there.
Task<bool> namespace_exists(kube::Client& client, AppName app);
// Deletes the namespace and waits until it is gone. Throws timeout after `limit`, saying that deletion goes on.
Task<> destroy_app(kube::Client& client, AppName app, std::chrono::milliseconds limit = std::chrono::seconds(60));

// --- releases

// A line of progress, for the app's log and for whoever pushed: `web: 1 of 3 pods ready`.
using Progress = std::function<void(std::string_view)>;

struct DeployOutcome {
  bool ok = false;
  std::string message;  // of a failure: what failed, in which process type, the last log lines, what to do
  std::string late;     // the routers did not have it in effect in time: who lacks what
  bool operator==(const DeployOutcome&) const = default;
};

// Start new, check, switch, drain, stop. Brings all process types of `next` up; when one fails, those already moved are
// put back to `previous` (nullptr: there is none, what was started is removed) and the outcome says why. Types of
// `previous` that `next` lacks, or has with 0 replicas, are stopped after the switch. Returns when every router leads
// requests to the new pods and to no other; old pods may still be finishing theirs. Cancelling leaves the cluster as it
// is at that moment: call again.
struct Deployment {
  AppSpec app;
  ReleaseSpec next;
  std::shared_ptr<const ReleaseSpec> previous;
  Progress progress;
};
Task<DeployOutcome> deploy(Place place, Deployment what);

// Brings the named types to the counts in `release` and waits until the routers lead requests to those, and to none of
// the surplus, which is leaving then. On failure the counts of `before` are restored.
struct Scaling {
  AppSpec app;
  ReleaseSpec release;
  std::map<ProcessType, int> before;
  Progress progress;
};
Task<DeployOutcome> scale(Place place, Scaling what);

// Removes env secrets, pull secrets and slug URLs that no ReplicaSet or pod refers to any more, and one-off pods that a
// controller left behind. Cheap; after each deploy.
Task<> clean_up(kube::Client& client, AppName app, ReleaseVersion current);

// Writes fresh presigned URLs into Secret `<app>-slug`; running containers are not touched.
Task<> renew_slug_urls(kube::Client& client, AppName app, std::map<ReleaseVersion, Secret> urls);

// The number of nodes that carry all of `tags`; setting tags that no node has is refused with this.
Task<std::size_t> count_nodes(kube::Client& client, std::map<std::string, std::string> tags);

// --- pods

struct PodFilter {
  std::optional<ProcessType> type;
  std::string name;  // "": all; "x2k4p" or "web-…-x2k4p" are completed with the app's name
  std::optional<ReleaseVersion> version;
};
struct PodInfo {
  std::string name, state, type, release;  // state in the original's words: up, starting, crashed, ImagePullBackOff, …
  std::string started;                     // RFC 3339
  int restarts = 0;
  bool operator==(const PodInfo&) const = default;
};
// As `deis ps` shows them, newest first: no one-off pods, none that are down, crashed or past their deletion.
Task<std::vector<PodInfo>> list_pods(kube::Client& client, AppName app, PodFilter filter);

// Restarts without a failed request: a single pod of several is deleted and replaced; otherwise the type is rolled.
// Returns the pods that came instead; none when the filter meets none. Throws timeout, with the reason, when they do
// not come.
Task<std::vector<PodInfo>> restart(Place place, AppName app, PodFilter filter,
                                   std::chrono::milliseconds limit = std::chrono::seconds(300));

struct LogLine {
  Time at{};
  std::string text;  // in the form of the original's log store: 2024-05-02T10:11:12+00:00 shop[web.v7.x2k4p]: GET /cart
};
LogLine platform_line(Time at, std::string_view level, std::string_view text);  // …+00:00 deis[controller]: INFO …
// The last `lines` lines of each pod of the app, in no order. A pod whose node cannot be reached is a line that says
// so.
Task<std::vector<LogLine>> logs(kube::Client& client, AppName app, int lines);

struct RunResult {
  int exit_code = 0;
  std::string output;
};
// A one-off pod of the release, waited for and removed. Output comes through `output` as it appears (may be empty).
// Throws unprocessable when it cannot be started (image, scheduling), timeout after `limit`.
struct OneOff {
  ReleaseSpec release;
  std::string command;
  std::function<void(std::string_view)> output;
  std::chrono::milliseconds limit = std::chrono::minutes(20);
};
Task<RunResult> run(kube::Client& client, const Settings& settings, OneOff what);

}  // namespace workflow::controller::cluster
