#include <algorithm>
#include <random>
#include <set>

#include "lib/base/log.h"
#include "lib/kube/client.h"

namespace workflow::kube {

using namespace std::chrono_literals;

namespace {
using Object = Informer::Object;

std::string key_of(const json::object& object) {
  return find_string(object, {"metadata", "namespace"}).value_or("") + "/" +
         find_string(object, {"metadata", "name"}).value_or("");
}
std::string version_of(const json::object& object) {
  return find_string(object, {"metadata", "resourceVersion"}).value_or("");
}
std::string uid_of(const json::object& object) { return find_string(object, {"metadata", "uid"}).value_or(""); }

// Doubles from 50 ms to 5 s; half of it is chance, so that many informers do not come back at the same moment.
class Backoff {
 public:
  std::chrono::milliseconds next() {
    const auto base = std::min<std::int64_t>(50LL << std::min(failures_, 10), 5000);
    ++failures_;
    std::uniform_int_distribution<std::int64_t> jitter(0, base / 2);
    return std::chrono::milliseconds(base / 2 + jitter(random_));
  }
  void reset() { failures_ = 0; }
  int failures() const { return failures_; }

 private:
  int failures_ = 0;
  std::minstd_rand random_{std::random_device{}()};
};
}  // namespace

struct Informer::State {
  State(Client& c, const Resource& r, std::string n, ListOptions o, Callbacks b)
      : client(c),
        resource(r),
        ns(std::move(n)),
        options(std::move(o)),
        callbacks(std::move(b)),
        changes(c.executor()) {}

  Client& client;
  Resource resource;
  std::string ns;
  ListOptions options;
  Callbacks callbacks;
  Notifier changes;
  std::map<std::string, Object> objects;
  std::string version;  // where the next watch begins; "": list first
  bool synced = false;
  Backoff backoff;
  int gone_in_a_row = 0;  // 410 Gone without an event in between

  void put(json::object body) {
    auto key = key_of(body);
    auto after = std::make_shared<const json::object>(std::move(body));
    auto& slot = objects[key];
    const auto before = std::exchange(slot, after);
    if (before == nullptr) {
      tell(callbacks.added, after);
    } else if (uid_of(*before) != uid_of(*after)) {  // deleted and made again while we did not look
      tell(callbacks.deleted, before);
      tell(callbacks.added, after);
    } else if (version_of(*before) != version_of(*after)) {
      tell(callbacks.modified, before, after);
    }
  }

  // One who is told and fails misses this change and no other.
  template <typename... Told>
  void tell(const std::function<void(const Told&...)>& callback, const Told&... objects_told) {
    if (!callback) return;
    try {
      callback(objects_told...);
    } catch (...) {
      log::error("a change of an object could not be taken in", kv("resource", resource.plural),
                 kv("error", describe(std::current_exception())));
    }
  }

  void drop(const std::string& key) {
    const auto found = objects.find(key);
    if (found == objects.end()) return;
    const auto last = found->second;
    objects.erase(found);
    tell(callbacks.deleted, last);
  }

  // Tells the differences between what we knew and what is there.
  Task<> relist() {
    auto list = co_await client.list(resource, ns, {options.label_selector, options.field_selector, ""});
    std::set<std::string> gone;
    for (const auto& [key, object] : objects) gone.insert(key);
    for (const auto& item : list.items) gone.erase(key_of(item));
    for (const auto& key : gone) drop(key);
    for (auto& item : list.items) put(std::move(item));
    version = list.resource_version.empty() ? "0" : list.resource_version;
    synced = true;
    changes.notify_all();
  }

  void take(WatchEvent event) {
    const auto event_version = version_of(event.object);
    switch (event.type) {
      case WatchEventType::added:
      case WatchEventType::modified: put(std::move(event.object)); break;
      case WatchEventType::deleted: drop(key_of(event.object)); break;
      case WatchEventType::bookmark: break;
    }
    if (!event_version.empty()) version = event_version;
    if (event.type != WatchEventType::bookmark) changes.notify_all();
  }

  // One connection, to its end.
  Task<> follow() {
    auto watch = co_await client.watch(resource, ns, {options.label_selector, options.field_selector, version});
    while (auto event = co_await watch->next()) {
      settle();
      take(std::move(*event));
    }
  }

  void settle() {
    backoff.reset();
    gone_in_a_row = 0;
  }

  // One list or watch; true when the next may follow at once. Whatever it throws is told and tried again.
  Task<bool> step() {
    const auto begin = std::chrono::steady_clock::now();
    std::exception_ptr failure;
    bool listed = false;
    try {
      listed = version.empty();
      if (listed)
        co_await relist();
      else
        co_await follow();
    } catch (...) {
      failure = std::current_exception();
    }
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (failure && cancellation.cancelled() != asio::cancellation_type::none) std::rethrow_exception(failure);
    if (!failure && listed) co_return true;
    const bool lasted = std::chrono::steady_clock::now() - begin > 1s;
    if (lasted) settle();
    co_return failure ? go_on_after(failure) : lasted;
  }

  bool go_on_after(const std::exception_ptr& failure) {
    auto kind = ErrorKind::internal;
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      kind = error.kind();
    } catch (...) {
    }
    const bool gone = kind == ErrorKind::conflict;
    const bool broken = kind == ErrorKind::unavailable && !version.empty();
    if (!broken) version.clear();  // what else the server says about our position, a list is the answer
    if (!gone && backoff.failures() == 3) {
      log::warn("cannot follow the Kubernetes API, trying again", kv("resource", resource.plural), kv("namespace", ns),
                kv("error", describe(failure)));
    }
    return gone && ++gone_in_a_row == 1;
  }
};

Informer::Informer(Client& client, const Resource& resource, std::string ns, ListOptions options, Callbacks callbacks)
    : state_(std::make_unique<State>(client, resource, std::move(ns), std::move(options), std::move(callbacks))) {}
Informer::~Informer() = default;

Task<> Informer::run() {
  for (;;) {
    const bool at_once = co_await state_->step();
    if (!at_once) co_await sleep_for(state_->backoff.next());
  }
}

bool Informer::synced() const { return state_->synced; }

Task<> Informer::wait_synced() {
  while (!state_->synced) co_await state_->changes.wait(state_->changes.version());
}

const std::map<std::string, Informer::Object>& Informer::objects() const { return state_->objects; }

Informer::Object Informer::find(const std::string& ns, const std::string& name) const {
  const auto found = state_->objects.find((state_->resource.namespaced ? ns : std::string()) + "/" + name);
  return found == state_->objects.end() ? nullptr : found->second;
}

Task<Informer::Object> Informer::wait_for(std::string ns, std::string name, std::function<bool(const Object&)> accept,
                                          std::chrono::milliseconds limit, std::string what) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto seen = state_->changes.version();
    if (state_->synced) {
      auto object = find(ns, name);
      if (accept(object)) co_return object;
    }
    const auto left = deadline - std::chrono::steady_clock::now();
    co_await with_deadline(std::max<std::chrono::nanoseconds>(left, 0ns), what, state_->changes.wait(seen));
  }
}

Notifier& Informer::changes() { return state_->changes; }

}  // namespace workflow::kube
