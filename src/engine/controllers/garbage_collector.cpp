#include "engine/controllers/garbage_collector.h"

#include "engine/fields.h"
#include "engine/turns.h"
#include "lib/async/supervisor.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

GarbageCollector::GarbageCollector(Executor executor, ControllerContext context)
    : context_(std::move(context)),
      orphans_(executor, "garbage", context_.clock, [this](std::string uid) { return orphaned(std::move(uid)); }),
      waiting_owners_(executor, "garbage-owner", context_.clock,
                      [this](std::string uid) { return waiting_owner(std::move(uid)); }) {
  for (const auto* r : kube::all_resources()) {
    for (const auto& object : context_.store.list(*r)) index_.put(*r, *object);
  }
  for (const auto* r : kube::all_resources()) {
    subscriptions_.push_back(context_.store.subscribe(*r, [this, r](const StoreEvent& event) { changed(*r, event); }));
  }
  for (const auto& uid : index_.missing_owners()) orphans_.add(uid);
}

void GarbageCollector::changed(const kube::Resource& r, const StoreEvent& event) {
  const auto uid = kube::uid_of(*event.object);
  const auto& owners = array_at(*event.object, {"metadata", "ownerReferences"});
  if (event.type == StoreEvent::Type::deleted) {
    index_.drop(r, *event.object);
    waiting_.erase(uid);
    if (!index_.dependents(uid).empty()) orphans_.add(uid);
    for (const auto& owner : owners) {
      if (owner.is_object()) waiting_owners_.add(text_at(owner.get_object(), {"uid"}));
    }
    return;
  }
  index_.put(r, *event.object);
  if (kube::is_being_deleted(*event.object)) {
    waiting_.insert_or_assign(uid,
                              OwnerIndex::Entry{&r, kube::namespace_of(*event.object), kube::name_of(*event.object)});
    waiting_owners_.add(uid);
  }
  for (const auto& owner : owners) {
    if (!owner.is_object()) continue;
    const auto owner_uid = text_at(owner.get_object(), {"uid"});
    if (!index_.is_alive(owner_uid)) orphans_.add(owner_uid);
    if (waiting_.contains(owner_uid)) waiting_owners_.add(owner_uid);
  }
}

std::vector<Dependent> GarbageCollector::dependents_of(const std::string& uid) const {
  std::vector<Dependent> dependents;
  for (const auto& entry : index_.dependents(uid)) {
    if (auto object = context_.store.find(*entry.resource, entry.ns, entry.name))
      dependents.push_back({entry.resource, std::move(object)});
  }
  return dependents;
}

Task<std::optional<Time>> GarbageCollector::orphaned(std::string uid) {
  if (index_.is_alive(uid)) co_return std::nullopt;
  Actions actions;
  Turn turn;
  for (const auto& d : dependents_of(uid)) {
    if (turn.is_long()) co_await turn.end();
    for (auto& action : plan_orphan(*d.resource, *d.object, uid, index_)) actions.push_back(std::move(action));
  }
  co_await perform(context_, std::move(actions));
  co_return std::nullopt;
}

Task<std::optional<Time>> GarbageCollector::waiting_owner(std::string uid) {
  const auto entry = waiting_.find(uid);
  if (entry == waiting_.end()) co_return std::nullopt;
  const auto owner = context_.store.find(*entry->second.resource, entry->second.ns, entry->second.name);
  if (!owner || kube::uid_of(*owner) != uid) {
    waiting_.erase(entry);
    co_return std::nullopt;
  }
  co_await perform(context_,
                   plan_waiting_owner(*entry->second.resource, *owner, dependents_of(uid), index_.ancestors(uid)));
  co_return std::nullopt;
}

Task<> GarbageCollector::run(Supervisor& supervisor) {
  auto group = std::make_shared<TaskGroup>(co_await asio::this_coro::executor);
  group->spawn("garbage", supervisor.forever("garbage", [this] { return orphans_.run(); }));
  group->spawn("garbage-owner", supervisor.forever("garbage-owner", [this] { return waiting_owners_.run(); }));
  co_await with_cleanup(group->join(), [group] { return group->stop(); });
}

}  // namespace workflow::engine
