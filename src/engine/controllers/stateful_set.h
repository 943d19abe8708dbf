// src/engine/controllers/stateful_set.h: pods with a name, a place in an order and claims of their own. Pure.
//   Rules  a pod is never replaced before the one of its name is gone; with OrderedReady one step at a time, each once
//   all
//          before it serve. Revisions of the template are ControllerRevisions; pods below `partition` keep the current
//          one.
#pragma once
#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

struct StatefulSetPlan {
  Actions actions;
  std::optional<Time> again;
};
struct StatefulSetView {
  Objects pods;       // its own, and nobody's
  Objects claims;     // of the namespace
  Objects revisions;  // its own
};
StatefulSetPlan plan_stateful_set(const ObjectPtr& set, const StatefulSetView& view, Time now);

}  // namespace workflow::engine
