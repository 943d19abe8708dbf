#include "engine/store.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/post.hpp>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "engine/fields.h"
#include "engine/object_bytes.h"
#include "engine/object_equal.h"
#include "engine/store_db.h"
#include "engine/store_rules.h"
#include "engine/turns.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

constexpr std::string_view suffix_letters = "bcdfghjklmnpqrstvwxz2456789";  // as Kubernetes: no words by accident

std::string random_suffix() {
  std::string suffix = random_bytes(5);
  for (auto& c : suffix) c = suffix_letters[static_cast<unsigned char>(c) % suffix_letters.size()];
  return suffix;
}

using Name = std::pair<std::string, std::string>;  // namespace, name
using Objects = std::map<Name, ObjectPtr>;

// The names of a resource's objects by namespace and the uid of their controller; "" is nobody's.
using ControllerIndex = std::map<std::pair<std::string, std::string>, std::set<std::string>>;

using Listener = std::function<void(const StoreEvent&)>;

// What the store knows of one resource. Readers see `committed`; writers build on `latest`, which may still be on its
// way to the disk.
struct Table {
  std::string id;
  Objects committed, latest;
  std::optional<ControllerIndex> by_controller;  // of `committed`, once somebody has asked
  std::deque<StoreEvent> events;                 // how far a watch may lag behind
  std::size_t event_bytes = 0;                   // of all of them
  std::int64_t forgotten = 0;                    // the newest event that is no longer remembered
  std::vector<std::weak_ptr<const Listener>> listeners;
};

// A write on its way to the disk, and who waits for it.
struct Write {
  Table* table = nullptr;
  Name name;
  ObjectPtr object;  // null: the row goes
  ObjectPtr before;
  ObjectPtr last;  // of a removal: the object as it went
  std::int64_t version = 0;
  std::size_t bytes = 0;  // of `last` and `before`; the writer counts them
  std::exception_ptr error;
  bool done = false;
  std::optional<asio::steady_timer> wakeup;
};
using WritePtr = std::shared_ptr<Write>;

}  // namespace

struct Store::State : std::enable_shared_from_this<Store::State> {
  State(Executor e, Clock& c, const std::filesystem::path& file) : executor(std::move(e)), clock(c), db(file) {
    load();
  }

  void load() {
    version = db.revision();
    db.for_each([this](StoredRow row) {
      auto value = parse_json(row.body);
      if (!value || !value->is_object()) {
        throw Error{ErrorKind::internal, "the store's row " + row.resource + " " + row.ns + "/" + row.name +
                                             " is damaged; restore the file from a copy"};
      }
      auto object = std::make_shared<const json::object>(std::move(value->get_object()));
      auto& table = table_of(row.resource);
      const Name name{row.ns, row.name};
      table.committed[name] = object;
      table.latest[name] = std::move(object);
    });
    durable_version = version;
    for (auto& [id, table] : tables) table.forgotten = version;
    first_version = version;
  }

  Table& table_of(const std::string& id) {
    auto& table = tables[id];
    if (table.id.empty()) {
      table.id = id;
      table.forgotten = first_version;
    }
    return table;
  }
  Table& table_of(const kube::Resource& r) { return table_of(r.group + "/" + r.plural); }
  static Name name_in(const kube::Resource& r, const std::string& ns, const std::string& name) {
    return {r.namespaced ? ns : std::string(), name};
  }

  [[noreturn]] static void throw_absent(const kube::Resource& r, const std::string& name) {
    throw Error{ErrorKind::not_found, qualified_name(r) + " \"" + name + "\" not found"};
  }

  // Throws unless something may be created in this namespace now.
  void check_namespace(const kube::Resource& r, const std::string& ns) {
    if (!r.namespaced) return;
    const auto& known = table_of(kube::resources::namespaces).latest;
    const auto found = known.find({"", ns});
    if (found == known.end()) throw Error{ErrorKind::not_found, "namespaces \"" + ns + "\" not found"};
    if (!kube::is_being_deleted(*found->second)) return;
    throw Error{ErrorKind::forbidden,
                "unable to create new content in namespace " + ns + " because it is being terminated"}
        .with_detail("NamespaceTerminating");
  }

  ObjectPtr latest_of(const kube::Resource& r, const Name& name) {
    const auto& latest = table_of(r).latest;
    const auto found = latest.find(name);
    return found == latest.end() ? nullptr : found->second;
  }

  // Gives the object the next version and sends it to the disk. `object` empty: removal of `before`.
  WritePtr enqueue(Table& table, Name name, std::optional<json::object> object, ObjectPtr before) {
    auto write = std::make_shared<Write>();
    write->table = &table;
    write->name = name;
    write->before = before;
    write->version = ++version;
    const bool stays = object.has_value();
    auto next = stays ? *std::move(object) : json::object(*before);
    child(next, "metadata")["resourceVersion"] = std::to_string(write->version);
    auto stored = std::make_shared<const json::object>(std::move(next));
    if (stays) {
      write->object = stored;
      table.latest[name] = stored;
    } else {
      table.latest.erase(name);
    }
    write->last = std::move(stored);
    write->wakeup.emplace(executor, asio::steady_timer::time_point::max());
    in_flight.push_back(write);
    {
      const std::lock_guard lock(mutex);
      queue.push_back(write);
    }
    work_arrived.notify_one();
    return write;
  }

  static Task<ObjectPtr> durable(std::shared_ptr<State>, WritePtr write) {
    while (!write->done) co_await write->wakeup->async_wait(asio::as_tuple(asio::use_awaitable));
    if (write->error) std::rethrow_exception(write->error);
    co_return write->last;
  }

  // Stores a changed object, or removes it when its time has come. Equal: nothing is written.
  Task<ObjectPtr> put(const kube::Resource& r, Name name, ObjectPtr before, json::object next, Persist persist) {
    if (is_same(next, *before)) co_return before;
    if (persist == Persist::dry_run) co_return std::make_shared<const json::object>(std::move(next));
    auto& table = table_of(r);
    const bool goes = is_ready_to_go(r, next);
    WritePtr write;
    if (goes) {
      write = enqueue(table, name, std::nullopt, before);
    } else {
      write = enqueue(table, name, std::move(next), before);
    }
    co_return co_await durable(shared_from_this(), std::move(write));
  }

  // --- the writer thread

  void write_batches() {
    for (;;) {
      std::vector<WritePtr> batch;
      {
        std::unique_lock lock(mutex);
        work_arrived.wait(lock, [this] { return stopping || (!failed && !queue.empty()); });
        if (queue.empty() || failed) return;
        batch.swap(queue);
      }
      std::exception_ptr error;
      try {
        std::vector<RowChange> changes;
        changes.reserve(batch.size());
        for (const auto& write : batch) {
          write->bytes = sizeof(StoreEvent) + bytes_of(*write->last) + (write->before ? bytes_of(*write->before) : 0);
          changes.push_back({write->table->id, write->name.first, write->name.second,
                             write->object ? json::serialize(*write->object) : std::string()});
        }
        db.commit(changes, batch.back()->version);
      } catch (...) {
        error = std::current_exception();
        const std::lock_guard lock(mutex);
        failed = true;  // nothing more until undo() has dropped what builds on this
      }
      asio::post(executor, [weak = weak_from_this(), batch = std::move(batch), error]() mutable {
        const auto state = weak.lock();
        if (!state) return;
        state->written.push_back({std::move(batch), error});
        if (state->written.size() == 1) state->settle();
      });
    }
  }

  // --- back on the engine's thread

  // Publishes what is on disk, in order, for one turn: each is told to everyone who listens, and a thousand at once
  // would keep all others waiting.
  void settle() {
    auto& [batch, error] = written.front();
    if (error) {
      undo(error);
      batch.clear();
    } else {
      const Turn turn;
      std::size_t count = 0;
      while (count < batch.size() && (count == 0 || !turn.is_long())) publish(*batch[count++]);
      batch.erase(batch.begin(), batch.begin() + static_cast<std::ptrdiff_t>(count));
    }
    if (batch.empty()) written.pop_front();
    if (written.empty()) return;
    asio::post(executor, [weak = weak_from_this()] {
      if (const auto state = weak.lock()) state->settle();
    });
  }

  void publish(Write& write) {
    in_flight.pop_front();
    auto& table = *write.table;
    StoreEvent event{.type = StoreEvent::Type::modified,
                     .object = write.last,
                     .before = write.before,
                     .resource_version = write.version,
                     .bytes = write.bytes};
    reindex(table, write);
    if (write.object) {
      if (!write.before) event.type = StoreEvent::Type::added;
      table.committed[write.name] = write.object;
    } else {
      event.type = StoreEvent::Type::deleted;
      table.committed.erase(write.name);
    }
    durable_version = write.version;
    remember(table, event);
    tell(table, event);
    write.done = true;
    write.wakeup->cancel();
  }

  static void index(ControllerIndex& all, const Name& name, const json::object& object) {
    all[{name.first, controller_uid(object)}].insert(name.second);
  }

  static void reindex(Table& table, const Write& write) {
    if (!table.by_controller) return;
    if (write.before) {
      const auto found = table.by_controller->find({write.name.first, controller_uid(*write.before)});
      found->second.erase(write.name.second);
      if (found->second.empty()) table.by_controller->erase(found);
    }
    if (write.object) index(*table.by_controller, write.name, *write.object);
  }

  static void remember(Table& table, const StoreEvent& event) {
    table.events.push_back(event);
    table.event_bytes += event.bytes;
    while (table.event_bytes > most_remembered_bytes) {
      const auto& oldest = table.events.front();
      table.forgotten = oldest.resource_version;
      table.event_bytes -= oldest.bytes;
      table.events.pop_front();
    }
  }

  static void tell(Table& table, const StoreEvent& event) {
    bool gone = false;
    for (std::size_t i = 0; i < table.listeners.size(); ++i) {  // callbacks may subscribe
      const auto alive = table.listeners[i].lock();
      gone = gone || !alive;
      try {
        if (alive) (*alive)(event);
      } catch (...) {  // one listener's failure keeps no write from being acknowledged, and no other from hearing of it
        log::error("a change was not taken in", kv("resource", table.id),
                   kv("error", describe(std::current_exception())));
      }
    }
    if (gone) std::erase_if(table.listeners, [](const auto& l) { return l.expired(); });
  }

  // A commit failed: everything after it builds on what was lost, so all of it fails and memory returns to what is on
  // disk.
  void undo(const std::exception_ptr& error) {
    log::error("the store cannot be written", kv("error", describe(error)));
    {
      const std::lock_guard lock(mutex);
      queue.clear();
      failed = false;
    }
    for (const auto& write : in_flight) {
      const auto committed = write->table->committed.find(write->name);
      if (committed == write->table->committed.end()) {
        write->table->latest.erase(write->name);
      } else {
        write->table->latest[write->name] = committed->second;
      }
      write->error = error;
      write->done = true;
      write->wakeup->cancel();
    }
    in_flight.clear();
  }

  Executor executor;
  Clock& clock;
  StoreDb db;
  std::map<std::string, Table> tables;
  std::int64_t version = 0, durable_version = 0, first_version = 0;
  std::deque<WritePtr> in_flight;  // in order of version
  struct Written {
    std::vector<WritePtr> batch;
    std::exception_ptr error;
  };
  std::deque<Written> written;  // what the writer is done with, and nobody was told of yet

  std::mutex mutex;  // guards queue, failed and stopping, shared with the writer
  std::condition_variable work_arrived;
  std::vector<WritePtr> queue;
  bool failed = false, stopping = false;
  std::thread writer;
};

Store::Store(Executor executor, Clock& clock, const std::filesystem::path& file)
    : state_(std::make_shared<State>(std::move(executor), clock, file)) {
  state_->writer = std::thread([state = state_.get()] { state->write_batches(); });
}

Store::~Store() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->work_arrived.notify_one();
  state_->writer.join();
}

ObjectPtr Store::find(const kube::Resource& r, const std::string& ns, const std::string& name) const {
  const auto& objects = state_->table_of(r).committed;
  const auto found = objects.find(State::name_in(r, ns, name));
  return found == objects.end() ? nullptr : found->second;
}

namespace {

std::vector<ObjectPtr> objects_in(const Objects& objects, const kube::Resource& r, const std::string& ns) {
  std::vector<ObjectPtr> result;
  if (ns.empty() || !r.namespaced) {
    result.reserve(objects.size());
    for (const auto& [name, object] : objects) result.push_back(object);
    return result;
  }
  for (auto at = objects.lower_bound({ns, ""}); at != objects.end() && at->first.first == ns; ++at) {
    result.push_back(at->second);
  }
  return result;
}

}  // namespace

std::vector<ObjectPtr> Store::list(const kube::Resource& r, const std::string& ns) const {
  return objects_in(state_->table_of(r).committed, r, ns);
}

std::vector<ObjectPtr> Store::list_latest(const kube::Resource& r, const std::string& ns) const {
  return objects_in(state_->table_of(r).latest, r, ns);
}

ObjectPtr Store::find_latest(const kube::Resource& r, const std::string& ns, const std::string& name) const {
  return state_->latest_of(r, State::name_in(r, ns, name));
}

std::size_t Store::count(const kube::Resource& r) const { return state_->table_of(r).committed.size(); }

std::vector<ObjectPtr> Store::list_controlled(const kube::Resource& r, const std::string& ns,
                                              const std::string& uid) const {
  auto& table = state_->table_of(r);
  if (!table.by_controller) {
    table.by_controller.emplace();
    for (const auto& [name, object] : table.committed) State::index(*table.by_controller, name, *object);
  }
  std::vector<ObjectPtr> result;
  const auto found = table.by_controller->find({ns, uid});
  if (found == table.by_controller->end()) return result;
  result.reserve(found->second.size());
  for (const auto& name : found->second) result.push_back(table.committed.at({ns, name}));
  return result;
}

std::optional<std::vector<ObjectPtr>> Store::list_at(const kube::Resource& r, const std::string& ns,
                                                     std::int64_t version) const {
  const auto& table = state_->table_of(r);
  if (version < table.forgotten || version > state_->durable_version) return std::nullopt;
  Objects then;  // of what has changed since; null: it was not there
  for (auto event = table.events.rbegin(); event != table.events.rend() && event->resource_version > version; ++event) {
    const auto& object = *event->object;
    then[State::name_in(r, kube::namespace_of(object), kube::name_of(object))] = event->before;
  }
  if (then.empty()) return list(r, ns);
  // Both are in the order of their names: what has changed takes the place of what is.
  const auto is_wanted = [&](const Name& name) { return ns.empty() || !r.namespaced || name.first == ns; };
  std::vector<ObjectPtr> result;
  const auto add = [&](const Name& name, const ObjectPtr& object) {
    if (object && is_wanted(name)) result.push_back(object);
  };
  auto past = then.begin();
  for (const auto& [name, object] : table.committed) {
    for (; past != then.end() && past->first < name; ++past) add(past->first, past->second);
    if (past == then.end() || past->first != name) add(name, object);
  }
  for (; past != then.end(); ++past) add(past->first, past->second);
  return result;
}

std::size_t Store::remembered_bytes(const kube::Resource& r) const { return state_->table_of(r).event_bytes; }

std::int64_t Store::resource_version() const { return state_->durable_version; }

Task<ObjectPtr> Store::create(const kube::Resource& r, json::object object, Persist persist) {
  auto state = state_;
  state->check_namespace(r, kube::namespace_of(object));
  auto& table = state->table_of(r);
  const auto is_taken = [&](const std::string& name) {
    return table.latest.contains(State::name_in(r, kube::namespace_of(object), name));
  };
  auto suffix = random_suffix();
  if (kube::name_of(object).empty()) {  // a generated name that is taken is drawn again
    for (int attempt = 0; attempt < 8 && is_taken(generated_name(object, suffix)); ++attempt) suffix = random_suffix();
  }
  if (const auto name = kube::name_of(object).empty() ? generated_name(object, suffix) : kube::name_of(object);
      is_taken(name)) {
    throw Error{ErrorKind::conflict, qualified_name(r) + " \"" + name + "\" already exists"}.with_detail(
        "AlreadyExists");
  }
  auto next = prepared_for_create(r, std::move(object), state->clock.now(), random_uuid(), std::move(suffix));
  auto name = State::name_in(r, kube::namespace_of(next), kube::name_of(next));
  if (persist == Persist::dry_run) co_return std::make_shared<const json::object>(std::move(next));
  auto write = state->enqueue(table, std::move(name), std::move(next), nullptr);
  co_return co_await State::durable(state, std::move(write));
}

Task<ObjectPtr> Store::update(const kube::Resource& r, json::object object, Persist persist) {
  auto state = state_;
  const auto name = State::name_in(r, kube::namespace_of(object), kube::name_of(object));
  const auto before = state->latest_of(r, name);
  if (!before) State::throw_absent(r, name.second);
  check_resource_version(r, *before, text_at(object, {"metadata", "resourceVersion"}));
  if (const auto* status = before->if_contains("status")) {
    object["status"] = *status;
  } else {
    object.erase("status");
  }
  co_return co_await state->put(r, name, before, prepared_for_update(r, *before, std::move(object)), persist);
}

Task<ObjectPtr> Store::update_status(const kube::Resource& r, json::object object, Persist persist) {
  auto state = state_;
  const auto name = State::name_in(r, kube::namespace_of(object), kube::name_of(object));
  const auto before = state->latest_of(r, name);
  if (!before) State::throw_absent(r, name.second);
  check_resource_version(r, *before, text_at(object, {"metadata", "resourceVersion"}));
  json::object next = *before;
  if (auto* status = object.if_contains("status")) {
    next["status"] = std::move(*status);
  } else {
    next.erase("status");
  }
  co_return co_await state->put(r, name, before, std::move(next), persist);
}

Task<ObjectPtr> Store::edit(const kube::Resource& r, std::string ns, std::string name,
                            std::function<bool(json::object&)> change, Persist persist) {
  auto state = state_;
  auto id = State::name_in(r, ns, name);
  const auto before = state->latest_of(r, id);
  if (!before) co_return nullptr;
  json::object next = *before;
  if (!change(next)) co_return before;
  co_return co_await state->put(r, std::move(id), before, prepared_for_update(r, *before, std::move(next)), persist);
}

Task<ObjectPtr> Store::replace(const kube::Resource& r, ObjectPtr before, json::object next, Persist persist) {
  auto state = state_;
  auto id = State::name_in(r, kube::namespace_of(*before), kube::name_of(*before));
  if (state->latest_of(r, id) != before) co_return nullptr;
  co_return co_await state->put(r, std::move(id), before, prepared_for_update(r, *before, std::move(next)), persist);
}

Task<ObjectPtr> Store::remove(const kube::Resource& r, std::string ns, std::string name, DeleteOptions options,
                              Persist persist) {
  auto state = state_;
  auto id = State::name_in(r, ns, name);
  const auto before = state->latest_of(r, id);
  if (!before) State::throw_absent(r, name);
  auto deletion = deletion_of(r, *before, options, state->clock.now());
  if (deletion.kind == Deletion::Kind::nothing) co_return before;
  if (deletion.kind == Deletion::Kind::mark) {
    co_return co_await state->put(r, std::move(id), before, std::move(deletion.object), persist);
  }
  if (persist == Persist::dry_run) co_return before;
  auto write = state->enqueue(state->table_of(r), std::move(id), std::nullopt, before);
  co_return co_await State::durable(state, std::move(write));
}

std::unique_ptr<Store::Subscription> Store::subscribe(const kube::Resource& r,
                                                      std::function<void(const StoreEvent&)> on_event) {
  struct Owner : Subscription {
    explicit Owner(Listener f) : listener(std::make_shared<const Listener>(std::move(f))) {}
    std::shared_ptr<const Listener> listener;
  };
  auto owner = std::make_unique<Owner>(std::move(on_event));
  state_->table_of(r).listeners.push_back(owner->listener);
  return owner;
}

std::optional<std::vector<StoreEvent>> Store::events_since(const kube::Resource& r, std::int64_t since) const {
  const auto& table = state_->table_of(r);
  if (since < table.forgotten || since > state_->version) return std::nullopt;
  std::vector<StoreEvent> result;
  for (const auto& event : table.events) {
    if (event.resource_version > since) result.push_back(event);
  }
  return result;
}

}  // namespace workflow::engine
