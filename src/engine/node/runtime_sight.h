// src/engine/node/runtime_sight.h: what runs although containerd does not know it.
//   A containerd that begins on a full disk cannot load the containers that there are, and answers as if they had never
//   been. Their processes run on, each in its control group, and that is what counts: they are neither called lost nor
//   started a second time. Once the disk has space containerd is started anew, and finds them.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "engine/node/node_config.h"
#include "lib/async/task.h"

namespace workflow::engine {

class RuntimeSight {
 public:
  RuntimeSight(Executor executor, const NodeConfig& config) : config_(config), changes_(std::move(executor)) {}

  // Whether a container or sandbox that containerd does not know has processes. Should another containerd, which could
  // read and write everything, not know it either, containerd is right.
  bool still_runs(const std::string& pod_uid, const std::string& id);
  void is_known(const std::string& id) { missed_.erase(id); }
  // Starts containerd anew whenever it does not see what runs, once it can write. Until cancelled.
  Task<> restore();

 private:
  static constexpr std::uint64_t enough = 2;  // containerds that did not know it

  bool is_missing() const;  // something that another containerd may find

  const NodeConfig& config_;
  Notifier changes_;
  std::uint64_t begun_ = 0;  // containerds that were started here, with space on the disk
  struct Missed {
    std::string cgroup;
    std::uint64_t begun = 0;  // when it was missed first
  };
  std::map<std::string, Missed> missed_;  // by id
};

}  // namespace workflow::engine
