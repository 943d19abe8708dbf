#include "engine/controllers/action.h"

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/patch.h"
#include "engine/fields.h"
#include "engine/object_equal.h"
#include "engine/turns.h"
#include "lib/base/log.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

Task<> create(ControllerContext context, Create action, Created& result) {
  try {
    auto object = std::move(action.object);
    if (context.admit) object = co_await context.admit(*action.resource, std::move(object));
    result.object = co_await context.store.create(*action.resource, std::move(object));
  } catch (const ApiError& error) {
    result.error = Error{ErrorKind::forbidden, error.what()};
  } catch (const Error& error) {
    result.error = error;
  }
}

Task<> merge(ControllerContext context, Merge action) {
  auto change = [&action](json::object& object) {
    if (!action.uid.empty() && kube::uid_of(object) != action.uid) return false;
    apply_merge(object, action);
    return true;
  };
  co_await context.store.edit(*action.resource, action.ns, action.name, change);
}

Task<> remove(ControllerContext context, Remove action) {
  DeleteOptions options{
      .grace_period_seconds = {}, .propagation = action.propagation, .uid = {}, .resource_version = {}};
  if (!action.uid.empty()) options.uid = action.uid;
  try {
    co_await context.store.remove(*action.resource, action.ns, action.name, std::move(options));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found && error.kind() != ErrorKind::conflict) throw;
  }
}

// The first failure of several; the others were the same or will come again.
Task<> noting(Task<> task, std::exception_ptr& failure) {
  try {
    co_await std::move(task);
  } catch (...) {
    if (!failure) failure = std::current_exception();
  }
}

}  // namespace

void apply_merge(json::object& object, const Merge& merge) {
  json::value value = std::move(object);
  merge_into(value, merge.patch);
  object = std::move(value.get_object());
}

json::object merge_patch_between(const json::object& before, const json::object& after) {
  json::object patch;
  for (const auto& [name, value] : after) {
    const auto* old = before.if_contains(name);
    if (old != nullptr && is_same(*old, value)) continue;
    if (old != nullptr && old->is_object() && value.is_object()) {
      patch[name] = merge_patch_between(old->get_object(), value.get_object());
    } else {
      patch[name] = value;
    }
  }
  for (const auto& [name, value] : before) {
    if (!after.contains(name)) patch[name] = nullptr;
  }
  return patch;
}

void merge_status(Actions& actions, const kube::Resource& r, const json::object& object, const json::object& status) {
  const auto& before = object_at(object, {"status"});
  if (is_same(before, status)) return;
  actions.push_back(Merge{&r, kube::namespace_of(object), kube::name_of(object), kube::uid_of(object),
                          json::object{{"status", merge_patch_between(before, status)}}});
}

Task<std::vector<Created>> perform(ControllerContext context, Actions actions) {
  std::vector<Created> created;
  created.reserve(actions.size());
  std::exception_ptr failure;
  const auto executor = co_await asio::this_coro::executor;
  co_await keep_waiting();  // the group ends before this does; each write is short
  TaskGroup group(executor);
  Turn turn;
  for (auto& action : actions) {
    if (turn.is_long()) co_await turn.end();
    if (auto* c = std::get_if<Create>(&action)) {
      created.emplace_back();
      group.spawn("create", noting(create(context, std::move(*c), created.back()), failure));
    } else if (auto* m = std::get_if<Merge>(&action)) {
      group.spawn("merge", noting(merge(context, std::move(*m)), failure));
    } else if (auto* r = std::get_if<Remove>(&action)) {
      group.spawn("remove", noting(remove(context, std::move(*r)), failure));
    } else {
      auto& e = std::get<Emit>(action);
      group.spawn("event", noting(record_event(context.store, context.clock, e.about, e.type, e.reason, e.message,
                                               context.component),
                                  failure));
    }
  }
  co_await group.join();
  if (failure) std::rethrow_exception(failure);
  co_return created;
}

}  // namespace workflow::engine
