// src/controller/cluster/rollout.h: is a process type's new release up, coming, or doomed? Pure: what the cluster shows
// goes in,
//   with the time; a judgement comes out.
#pragma once
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controller/cluster/spec.h"
#include "lib/kube/objects.h"

namespace workflow::controller::cluster {

using ObjectPtr = std::shared_ptr<const json::object>;

// What is looked at for one process type.
struct RolloutView {
  ProcessType type;
  std::string container;        // name of the app's container, which is the Deployment's too
  std::int64_t generation = 0;  // of the Deployment, as our write answered it
  int replicas = 0;             // wanted
  // While a Deployment is held (turnover.h), it is ready for its next step when so many pods of the new release serve
  // as the surge leaves room for beside the old ones. Otherwise the rollout is up when it is over.
  enum class Until { over, next_step } until = Until::over;
  int surge = 0;                        // of a held one
  int old_serving = 0;                  // pods of before that are not leaving yet
  bool probed = false;                  // has a readiness probe
  std::optional<int> port;              // for advice
  ObjectPtr deployment;                 // null: it is gone
  std::vector<ObjectPtr> pods;          // of the new release
  std::set<std::string> old_pods;       // uids of those that were there before: they count, but are not judged
  std::vector<kube::EventView> events;  // about this type's ReplicaSets and pods, since the rollout began
};

// When something was first seen, by our own clock: that of the cluster may differ. One per process type.
using FirstSeen = std::map<std::string, Time>;

struct RolloutLimits {
  Time began{};
  std::chrono::seconds whole{120};  // then it has failed
  bool ignore_scheduling = false;
  std::chrono::milliseconds settle{1000};    // a pod without a readiness probe counts as up when it lived so long
  std::chrono::seconds patience{10};         // for refusals that may pass: quota of a stopping pod, a full node
  std::chrono::seconds pull_extension{600};  // granted once, to an image whose pull takes longer than a minute
};

struct Judgement {
  enum class State { waiting, up, failed } state = State::waiting;
  int ready = 0;                   // pods that serve
  std::string reason;              // of a failure: a sentence; of waiting: a few words
  std::string pod;                 // whose last lines explain a failure; "" none
  bool previous = false;           // the lines are those of the container that ended
  std::optional<Time> look_again;  // judge again then, even when nothing changes
};
Judgement judge(const RolloutView& view, const RolloutLimits& limits, FirstSeen& seen, Time now);

}  // namespace workflow::controller::cluster
