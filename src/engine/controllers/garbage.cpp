#include "engine/controllers/garbage.h"

#include <algorithm>

#include "engine/fields.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

// Owners of types that are not served here are nobody's to judge.
bool is_known(const json::object& reference) {
  return kube::find_resource(text_at(reference, {"apiVersion"}), text_at(reference, {"kind"})) != nullptr;
}

std::vector<std::string> owner_uids(const json::object& object) {
  std::vector<std::string> uids;
  for (const auto& owner : array_at(object, {"metadata", "ownerReferences"})) {
    if (owner.is_object() && is_known(owner.get_object())) uids.push_back(text_at(owner.get_object(), {"uid"}));
  }
  return uids;
}

bool has_finalizer(const json::object& object, std::string_view name) {
  const auto& list = array_at(object, {"metadata", "finalizers"});
  return std::any_of(list.begin(), list.end(),
                     [&](const auto& f) { return f.is_string() && view(f.get_string()) == name; });
}

json::object without_finalizer(const json::object& object, std::string_view name) {
  json::array rest;
  for (const auto& f : array_at(object, {"metadata", "finalizers"})) {
    if (!f.is_string() || view(f.get_string()) != name) rest.push_back(f);
  }
  return {{"metadata", json::object{{"finalizers", std::move(rest)}}}};
}

Merge without_owner(const kube::Resource& r, const json::object& object, const std::string& uid) {
  json::array rest;
  for (const auto& owner : array_at(object, {"metadata", "ownerReferences"})) {
    if (owner.is_object() && text_at(owner.get_object(), {"uid"}) != uid) rest.push_back(owner);
  }
  json::object metadata;
  if (rest.empty()) {
    metadata["ownerReferences"] = nullptr;
  } else {
    metadata["ownerReferences"] = std::move(rest);
  }
  return {&r, kube::namespace_of(object), kube::name_of(object), kube::uid_of(object),
          json::object{{"metadata", std::move(metadata)}}};
}

}  // namespace

void OwnerIndex::put(const kube::Resource& r, const json::object& object) {
  drop(r, object);
  const auto uid = kube::uid_of(object);
  alive_.insert(uid);
  auto owners = owner_uids(object);
  if (owners.empty()) return;
  for (const auto& owner : owners) dependents_[owner].insert({&r, kube::namespace_of(object), kube::name_of(object)});
  owners_[uid] = std::move(owners);
}

void OwnerIndex::drop(const kube::Resource& r, const json::object& object) {
  const auto uid = kube::uid_of(object);
  alive_.erase(uid);
  const auto found = owners_.find(uid);
  if (found == owners_.end()) return;
  for (const auto& owner : found->second) {
    const auto entry = dependents_.find(owner);
    if (entry == dependents_.end()) continue;
    entry->second.erase({&r, kube::namespace_of(object), kube::name_of(object)});
    if (entry->second.empty()) dependents_.erase(entry);
  }
  owners_.erase(found);
}

std::vector<OwnerIndex::Entry> OwnerIndex::dependents(const std::string& uid) const {
  const auto found = dependents_.find(uid);
  if (found == dependents_.end()) return {};
  return {found->second.begin(), found->second.end()};
}

std::set<std::string> OwnerIndex::ancestors(const std::string& uid) const {
  constexpr std::size_t most = 1000;
  std::set<std::string> found;
  std::vector<std::string> next{uid};
  while (!next.empty() && found.size() < most) {
    const auto owners = owners_.find(next.back());
    next.pop_back();
    if (owners == owners_.end()) continue;
    for (const auto& owner : owners->second) {
      if (found.insert(owner).second) next.push_back(owner);
    }
  }
  return found;
}

std::vector<std::string> OwnerIndex::missing_owners() const {
  std::vector<std::string> missing;
  for (const auto& [uid, entries] : dependents_) {
    if (!alive_.contains(uid)) missing.push_back(uid);
  }
  return missing;
}

Actions plan_orphan(const kube::Resource& r, const json::object& dependent, const std::string& gone,
                    const OwnerIndex& index) {
  if (kube::is_being_deleted(dependent)) return {};
  const auto owners = owner_uids(dependent);
  if (std::find(owners.begin(), owners.end(), gone) == owners.end()) return {};
  const bool kept =
      std::any_of(owners.begin(), owners.end(), [&](const auto& uid) { return uid != gone && index.is_alive(uid); });
  if (kept) return {without_owner(r, dependent, gone)};
  return {Remove{&r, kube::namespace_of(dependent), kube::name_of(dependent), kube::uid_of(dependent)}};
}

Actions plan_waiting_owner(const kube::Resource& r, const json::object& owner, const std::vector<Dependent>& dependents,
                           const std::set<std::string>& ancestors) {
  if (!kube::is_being_deleted(owner)) return {};
  const auto uid = kube::uid_of(owner);
  Actions actions;
  if (has_finalizer(owner, "orphan")) {
    for (const auto& d : dependents) actions.push_back(without_owner(*d.resource, *d.object, uid));
    if (dependents.empty()) {
      actions.push_back(
          Merge{&r, kube::namespace_of(owner), kube::name_of(owner), uid, without_finalizer(owner, "orphan")});
    }
    return actions;
  }
  if (!has_finalizer(owner, "foregroundDeletion")) return {};
  bool blocked = false;
  for (const auto& d : dependents) {
    for (const auto& reference : array_at(*d.object, {"metadata", "ownerReferences"})) {
      if (reference.is_object() && text_at(reference.get_object(), {"uid"}) == uid) {
        const bool blocks = flag_at(reference.get_object(), {"blockOwnerDeletion"});
        blocked = blocked || (blocks && !ancestors.contains(kube::uid_of(*d.object)));
      }
    }
    if (!kube::is_being_deleted(*d.object)) {
      actions.push_back(Remove{d.resource, kube::namespace_of(*d.object), kube::name_of(*d.object),
                               kube::uid_of(*d.object), "Foreground"});
    }
  }
  if (!blocked) {
    actions.push_back(Merge{&r, kube::namespace_of(owner), kube::name_of(owner), uid,
                            without_finalizer(owner, "foregroundDeletion")});
  }
  return actions;
}

}  // namespace workflow::engine
