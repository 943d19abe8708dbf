// src/engine/engine.h: the single-machine Kubernetes: store, API server, controllers, node agent, service proxy in one
// process.
//   Owns    its state folder: engine.db, pki/, kubeconfig, containerd/, volumes/, logs/.
//   Needs   root, containerd, runc, the CNI plugins and nftables. The containers outlive it.
#pragma once

namespace workflow::engine {

int engine_main(int argc, char** argv);

}  // namespace workflow::engine
