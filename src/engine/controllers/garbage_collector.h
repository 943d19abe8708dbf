// src/engine/controllers/garbage_collector.h: removes what lost its owner, and lets owners go that wait for what they
// own.
#pragma once
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/controllers/action.h"
#include "engine/controllers/garbage.h"
#include "engine/controllers/loop.h"

namespace workflow {
class Supervisor;
}

namespace workflow::engine {

class GarbageCollector {
 public:
  GarbageCollector(Executor executor, ControllerContext context);
  Task<> run(Supervisor& supervisor);  // until cancelled

 private:
  void changed(const kube::Resource& r, const StoreEvent& event);
  std::vector<Dependent> dependents_of(const std::string& uid) const;
  Task<std::optional<Time>> orphaned(std::string uid);
  Task<std::optional<Time>> waiting_owner(std::string uid);

  ControllerContext context_;
  OwnerIndex index_;
  std::map<std::string, OwnerIndex::Entry> waiting_;  // owners with a deletionTimestamp, by uid
  Loop orphans_, waiting_owners_;
  std::vector<std::unique_ptr<Store::Subscription>> subscriptions_;
};

}  // namespace workflow::engine
