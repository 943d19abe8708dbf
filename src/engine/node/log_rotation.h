// src/engine/node/log_rotation.h: keeps each container's log within config.log_max_bytes times config.log_max_files.
//   A log that nobody writes to costs nothing: the kernel tells of the first write. Then it is looked at every quarter
//   of a second until it is quiet again, so that it is never longer than the limit and what is written in that time.
#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "engine/node/node_config.h"

namespace workflow::engine {

struct OpenLog {
  std::string container_id;
  std::filesystem::path file;
};

class LogRotation {
 public:
  struct Parts {
    const NodeConfig& config;
    const Clock& clock;
    cri::Client& runtime;
    std::function<std::vector<OpenLog>()> logs;
    Notifier& changes;  // told when the logs that are open may have changed
  };
  explicit LogRotation(Parts parts) : parts_(std::move(parts)) {}
  Task<> run();  // until cancelled

 private:
  struct Watched {
    std::filesystem::path file;
    std::uint64_t size = 0;
    int quiet_looks = 0;
    bool is_active = true;     // looked at; else the kernel tells of the next write
    bool must_reopen = false;  // it was set aside, and the runtime does not know
  };
  class Alarm;
  Task<> look(Alarm& alarm);
  void take_over();

  Parts parts_;
  std::map<std::string, Watched> watched_;  // by container id
};

}  // namespace workflow::engine
