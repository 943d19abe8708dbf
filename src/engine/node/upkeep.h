// src/engine/node/upkeep.h: what must be done now and then: disk space, images that nobody needs.
//   Decisions are pure (tested with tables); Upkeep looks every few seconds, since nothing tells when a disk fills up.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "engine/node/node_config.h"
#include "engine/store.h"

namespace workflow::engine {

struct DiskUse {
  std::uint64_t total = 0, available = 0, inodes = 0, free_inodes = 0;
  double used_share() const {
    return total == 0 ? 0 : 1.0 - static_cast<double>(available) / static_cast<double>(total);
  }
};
// Too full to take more pods: less than a twentieth, or than 500 MiB, is left. It ends only with half as much again.
bool is_disk_pressure(const DiskUse& disk, bool before);

// Every image that something may need: pods, and whatever has a template for pods, old revisions included; of this
// machine's (localhost/…) also those that a ConfigMap or a variable of a container names.
std::set<std::string> needed_images(const Store& store);

struct ImagePlan {
  std::vector<std::string> remove;             // ids
  std::map<std::string, Time> unneeded_since;  // what is remembered for the next look
};
// Images that nothing has needed for a while go when the disk is four fifths full; under pressure at once. Those of
// this machine come from no registry: they go only when another build of the same name is needed instead, never at
// once.
ImagePlan plan_images(const std::vector<cri::Image>& images, const std::set<std::string>& needed, const DiskUse& disk,
                      bool pressure, std::map<std::string, Time> unneeded_since, Time now);

class Upkeep {
 public:
  Upkeep(const NodeConfig& config, Store& store, Clock& clock, cri::Client& runtime)
      : config_(config), store_(store), clock_(clock), runtime_(runtime) {}
  Task<> run();  // until cancelled

 private:
  Task<> watch_disk();
  Task<> remove_images(const DiskUse& disk);

  const NodeConfig& config_;
  Store& store_;
  Clock& clock_;
  cri::Client& runtime_;
  bool pressure_ = false;
  std::map<std::string, Time> unneeded_since_;
};

}  // namespace workflow::engine
