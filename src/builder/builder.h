// src/builder/builder.h: git push over SSH: key → user → permission → receive → build → release.
//   Owns    a bare repository per app in BUILDER_REPOS_DIR; build pods and their secrets in its own namespace.
//   Needs   the programs sshd, git and workflow-push (client.h), and a user for git; the controller's hooks, the object
//   store, the Kubernetes API. Speaks  SSH (OpenSSH) on BUILDER_SSH_PORT, health on BUILDER_HEALTH_PORT; a unix socket
//   per trusted program in
//           BUILDER_RUN_DIR, over which what sshd and git start hands its work to this process.
//   A push belongs to this process from its first byte on: who pushes may go away, the build and its release go on.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "builder/build_pod.h"
#include "lib/async/task.h"
#include "lib/base/settings.h"
#include "lib/s3/s3.h"

namespace workflow::builder {

struct Config {
  std::string ns;              // POD_NAMESPACE: where build pods run
  std::string controller_url;  // DEIS_CONTROLLER_URL: default http://deis-controller.deis
  Secret builder_key;          // BUILDER_KEY_FILE: shared with the controller
  s3::Endpoint store;          // S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY_FILE, S3_SECRET_KEY_FILE
  std::string bucket;          // BUILDER_BUCKET: default builder
  std::string host_keys_dir;   // BUILDER_SSH_HOST_KEYS_DIR: files ssh-host-rsa-key, -ecdsa-key, -ed25519-key
  std::string repos_dir;       // BUILDER_REPOS_DIR: default /home/git
  std::string run_dir;         // BUILDER_RUN_DIR: default /run/workflow-builder; sockets and generated files
  std::string git_user;        // BUILDER_GIT_USER: whom people name in the remote's URL, default git
  std::uint16_t ssh_port;      // BUILDER_SSH_PORT: default 2223
  bool ssh_post_quantum;       // BUILDER_SSH_POST_QUANTUM: offer a post-quantum key exchange, default false (slow)
  std::uint16_t health_port;   // BUILDER_HEALTH_PORT: default 8092
  std::chrono::milliseconds build_timeout;  // BUILDER_BUILD_TIMEOUT: a build's hard limit, default 30m
  std::chrono::milliseconds
      release_timeout;  // BUILDER_RELEASE_TIMEOUT: how long the controller may deploy, default 30m
  std::chrono::milliseconds receive_timeout;  // BUILDER_RECEIVE_TIMEOUT: longest silence of who pushes, default 5m
  std::chrono::milliseconds heartbeat;        // SESSION_IDLE_INTERVAL: default 10s
  std::chrono::milliseconds drain_timeout;    // BUILDER_DRAIN_TIMEOUT: for pushes under way at SIGTERM, default 45s
  std::uint64_t max_push_bytes;  // BUILDER_MAX_PUSH_BYTES: of one pack, and of the packed source, default 2 GiB
  BuildSettings build;
  std::map<std::string, std::string> environment;  // for kube::Connection
  static Config from(Env& env);
};

Task<> serve(Executor executor, Config config);  // until cancelled; throws when sshd ends

int builder_main(int argc, char** argv);

}  // namespace workflow::builder
