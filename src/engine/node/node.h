// src/engine/node/node.h: the node agent: runs the pods that are bound to this machine, through CRI.
//   Owns    containerd (starts, watches, restarts it), volumes, pod logs, the Node object and the status of its pods.
//   Used by engine.cpp (run), the API server (logs, exec, attach, stats) and `workflow up` (import_image), `down`
//   (teardown). Rules   containers outlive the engine and containerd; whatever runs when the engine starts is adopted.
#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/node/node_config.h"
#include "engine/node/pod_access.h"
#include "engine/node/tokens.h"
#include "engine/store.h"
#include "engine/usage.h"
#include "lib/http/http.h"

namespace workflow::engine {

class Node {
 public:
  Node(Executor executor, NodeConfig config, Store& store, Clock& clock, TokenIssuer tokens);
  ~Node();

  // Starts or adopts containerd, registers the Node object, runs the pods with spec.nodeName == node_name until
  // cancelled. Cancelling stops no container. Throws unavailable, naming the Debian package, when containerd, runc or
  // the CNI plugins are missing.
  Task<> run();
  // Resolves once containerd answers and the Node object is Ready.
  Task<> ready();
  // What of its background work keeps failing, if any does.
  std::optional<std::string> problem() const;
  const std::string& name() const;

  // GET pods/log. Throws not_found, invalid (which container?) before anything is streamed.
  Task<http::StreamBody> logs(std::string ns, std::string pod, PodLogOptions options);
  // GET or POST pods/exec and pods/attach: an answer that upgrades to a WebSocket or to SPDY (exec_client.h).
  Task<http::Response> exec(const http::Request& request, std::string ns, std::string pod, ExecOptions options);
  Task<http::Response> attach(const http::Request& request, std::string ns, std::string pod, ExecOptions options);

  // GET or POST pods/portforward. Throws invalid for a pod that does not run.
  Task<http::Response> forward(const http::Request& request, std::string ns, std::string pod);

  // Current use, for metrics.k8s.io and the summary. Pods without a first sample are left out.
  Task<std::vector<PodUsage>> pod_usage();
  Task<Usage> node_usage();

  // Loads a docker or OCI archive (tar) into containerd; returns at once when this very file is loaded already.
  // Resolves to the names of the images in it.
  Task<std::vector<std::string>> import_image(std::filesystem::path archive);

  // Where NetworkPolicies may concern a pod, its containers start only after `settled` resolved. Call before run().
  void hold_pods_for(std::function<Task<>()> settled);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Removes every trace of an engine's pods from the machine: containers, shims, mounts, network namespaces, bridge,
// nftables tables, cgroups, containerd. Volumes, images and the objects stay. The engine must not run.
Task<> teardown(NodeConfig config);

}  // namespace workflow::engine
