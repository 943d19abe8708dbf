// src/engine/controllers/garbage.h: objects go when their owners are gone. Background, foreground, orphan.
#pragma once
#include <map>
#include <set>
#include <string>
#include <vector>

#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

// Who owns whom, by uid; kept current by the store's events. Pure bookkeeping.
class OwnerIndex {
 public:
  struct Entry {
    const kube::Resource* resource;
    std::string ns, name;
    auto operator<=>(const Entry&) const = default;
  };
  void put(const kube::Resource& r, const json::object& object);
  void drop(const kube::Resource& r, const json::object& object);
  bool is_alive(const std::string& uid) const { return alive_.contains(uid); }
  std::vector<Entry> dependents(const std::string& uid) const;
  // Its owners, theirs, and so on; of a circle that is all of it. At most a thousand.
  std::set<std::string> ancestors(const std::string& uid) const;
  // Owners that are named by something and not alive.
  std::vector<std::string> missing_owners() const;

 private:
  std::map<std::string, std::set<Entry>> dependents_;
  std::map<std::string, std::vector<std::string>> owners_;  // uid of a dependent → uids of its owners
  std::set<std::string> alive_;
};

// What becomes of one dependent whose owner `gone` is no longer there.
Actions plan_orphan(const kube::Resource& r, const json::object& dependent, const std::string& gone,
                    const OwnerIndex& index);
// What an owner that waits to go (finalizer foregroundDeletion or orphan) needs. `dependents`: those that name it. Of a
// circle none would ever go: what is among its `ancestors` holds up nobody.
struct Dependent {
  const kube::Resource* resource;
  ObjectPtr object;
};
Actions plan_waiting_owner(const kube::Resource& r, const json::object& owner, const std::vector<Dependent>& dependents,
                           const std::set<std::string>& ancestors = {});

}  // namespace workflow::engine
