// src/engine/node/exec.h: commands that clients run in containers, with input, output and a terminal.
//   Owns   <state>/exec: for each command that runs, a private folder of FIFOs, named after container and process.
//   Rules  a command ends with its client: it is told (end of input, SIGHUP), and killed with its process group after a
//          moment. Bytes wait in the FIFOs and in one buffer each way, so whoever is slow slows the other side.
//   Why    containerd's own task service and not CRI's stream: before containerd 1.7 that has no end of input.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "engine/node/exec_client.h"
#include "engine/node/node_config.h"
#include "engine/node/pod_access.h"

namespace workflow::engine {

class Execs {
 public:
  Execs(Executor executor, const NodeConfig& config, cri::Client& runtime);

  // Makes the folder. What an engine before left in it is ended and removed in the background.
  Task<> begin();
  // Runs the command for as long as it and its client last. Cancelled: kills it at once.
  Task<> serve(ExecClient& client, std::string container, ExecOptions options);
  // Ends the work in the background; what is left then is left to the next engine.
  Task<> stop();

 private:
  Task<> end(cri::ExecId exec);                    // kills it if it runs, and removes every trace
  Task<std::string> try_to_end(cri::ExecId exec);  // within its limit; "" or why not
  Task<> end_whatever_comes(cri::ExecId id);       // tries again until it could
  std::filesystem::path folder_of(const cri::ExecId& exec) const;

  Executor executor_;
  std::filesystem::path folder_;
  cri::Client& runtime_;
  TaskGroup endings_;
  bool stopping_ = false;
};

}  // namespace workflow::engine
