// src/engine/node/pod_volumes.h: keeps the volumes of one pod as the objects say that they should be.
//   Rules  one writer at a time, and each reads the objects when its turn comes: an older state never overwrites a
//          newer one.
#pragma once
#include <optional>

#include "engine/node/node_parts.h"
#include "engine/node/pod_view.h"

namespace workflow::engine {

class PodVolumes {
 public:
  PodVolumes(const NodeParts& parts, const PodView& view) : parts_(parts), view_(view), changes_(parts.executor) {}

  // Returns when what is on the disk is no older than this call. Throws what stands in the way, in Kubernetes' words.
  Task<> write();
  bool are_ready() const { return written_ > 0; }
  // When the first token will have used up four fifths of its life.
  std::optional<Time> renewal() const;
  bool mount(const std::string& name) const;  // something of this name: a secret, or a config map

 private:
  Task<> write_all();
  Task<> issue_tokens();

  const NodeParts& parts_;
  const PodView& view_;
  Notifier changes_;
  Tokens tokens_;
  std::map<std::string, Time> renewals_;  // by audience
  std::uint64_t asked_ = 0, written_ = 0;
  bool writing_ = false;
};

}  // namespace workflow::engine
