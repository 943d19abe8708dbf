// src/engine/node/pod_worker.h: runs one pod, from its first volume to its last trace.
//   One loop: what is to be done is planned (pod_plan.h), begun in the background, and planned anew when something has
//   happened. Whatever fails is an event of the pod and is tried again; nothing that fails ends a worker.
#pragma once
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "engine/node/node_parts.h"
#include "engine/node/pod_state.h"

namespace workflow::engine {

// What the runtime already has of a pod, at the start of the engine.
struct Adopted {
  std::optional<cri::Sandbox> sandbox;
  std::vector<cri::ContainerStatus> containers;
};

// Which pod: another one may get its name, never its uid.
struct PodKey {
  std::string ns, name, uid;
};

class PodWorker {
 public:
  PodWorker(NodeParts& parts, PodKey pod, Adopted adopted);
  ~PodWorker();
  // Until the pod is gone from the store and from the machine, or cancelled (containers run on).
  Task<> run();
  void wake();                                     // the pod changed
  void refresh_volumes();                          // something that it mounts changed, or a token grows old
  void on_runtime_event(const cri::Event& event);  // of one of its containers, or of its sandbox
  void doubt();                                    // events may have been missed: asks the runtime about everything
  // The same for one who has just asked: `running` are the ids of all containers and sandboxes that run.
  void compare(const std::set<std::string>& running);
  bool owns(const std::string& id) const;  // a container, or the sandbox
  bool has_reported() const;               // the pod's status says how it is now, not how an earlier engine left it
  const PodRecord& record() const;
  bool mounts(const std::string& name) const;  // a secret or config map of this name

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace workflow::engine
