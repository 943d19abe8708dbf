// src/engine/node/pod_worker.h: runs one pod, from its first volume to its last trace.
#pragma once
#include <functional>
#include <memory>
#include <string>

#include "engine/node/cri_client.h"
#include "engine/node/node.h"
#include "engine/node/pod_state.h"
#include "engine/node/volumes.h"

namespace workflow::engine {

// What all workers of a node share.
struct NodeParts {
  const NodeConfig& config;
  Store& store;
  Clock& clock;
  cri::Client& runtime;
  http::Client& http;
  TokenIssuer& tokens;
  Executor executor;
};

// What the runtime already has of a pod, at the start of the engine.
struct Adopted {
  std::optional<cri::Sandbox> sandbox;
  std::vector<cri::ContainerStatus> containers;
};

// The end of a container's first process.
struct Exit {
  int code = 0;
  Time at{};
};

class PodWorker {
 public:
  PodWorker(NodeParts& parts, std::string ns, std::string name, std::string uid, Adopted adopted);
  ~PodWorker();
  // Until the pod is gone from the store and from the machine, or cancelled (containers run on).
  Task<> run();
  void wake();                                       // the pod changed
  void refresh_volumes();                            // something that it mounts changed, or a token grows old
  void container_ended(const std::string& id, const Exit& exit);  // told by the runtime's events
  void look_at(const std::string& id);               // a doubt: something may have been missed
  bool has_container(const std::string& id) const;
  const PodRecord& record() const;
  bool mounts(const std::string& name) const;         // a secret or config map of this name

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Labels of everything we make in the runtime, as kubelet names them.
inline constexpr const char* label_pod = "io.kubernetes.pod.name";
inline constexpr const char* label_namespace = "io.kubernetes.pod.namespace";
inline constexpr const char* label_uid = "io.kubernetes.pod.uid";
inline constexpr const char* label_container = "io.kubernetes.container.name";

std::filesystem::path pod_folder(const NodeConfig& config, const std::string& uid);
std::filesystem::path log_folder(const NodeConfig& config, const std::string& ns, const std::string& pod, const std::string& uid);

}  // namespace workflow::engine
