// Watches: what changes, told while it happens.
#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <deque>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/printers.h"
#include "engine/fields.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

using namespace std::chrono_literals;
constexpr std::size_t watch_backlog = 20'000;  // events that a slow reader may be behind
constexpr auto bookmark_interval = 60s;

// How one watch shows its events; outlives the request.
struct WatchForm {
  const ResourceType* type;
  Negotiated form;
  TableOptions table;
};

std::string event_text(WatchForm& form, std::string_view type, const json::object& object) {
  std::string text = R"({"type":")" + std::string(type) + R"(","object":)";
  if (form.form.form != Form::table) {
    text += served_text(*form.type, form.form, object);
  } else {
    const auto shown = served(*form.type, object);
    text += json::serialize(table_of(*form.type, {&shown}, form.table));
    form.table.with_columns = false;
  }
  return text + "}\n";
}

std::string bookmark_text(const ResourceType& type, std::int64_t version, bool initial_events_end) {
  json::object metadata{{"resourceVersion", std::to_string(version)}, {"creationTimestamp", nullptr}};
  if (initial_events_end) metadata["annotations"] = json::object{{"k8s.io/initial-events-end", "true"}};
  const json::object event{
      {"type", "BOOKMARK"},
      {"object",
       json::object{{"kind", type.kind()}, {"apiVersion", type.api_version()}, {"metadata", std::move(metadata)}}}};
  return json::serialize(event) + "\n";
}

struct Watcher {
  Watcher(Executor executor) : wakeup(executor) {}
  std::deque<StoreEvent> events;
  asio::steady_timer wakeup;
  bool overflowed = false;
  std::unique_ptr<Store::Subscription> subscription;
  void push(const StoreEvent& event) {
    if (events.size() >= watch_backlog) overflowed = true;
    if (!overflowed) events.push_back(event);
    wakeup.cancel();
  }
};

struct WatchPlan {
  WatchForm form;
  Selection selection;
  std::string ns;
  std::vector<ObjectPtr> initial;
  std::int64_t version = 0;
  bool bookmarks = false, end_of_initial = false;
  std::chrono::seconds limit{};
  const Store* store = nullptr;
};

// The event as this watch sees it: what leaves the selection is deleted, what enters it is added. "" : not at all.
std::string_view seen_as(const WatchPlan& plan, const StoreEvent& event) {
  if (!plan.ns.empty() && kube::namespace_of(*event.object) != plan.ns) return "";
  const bool now = event.type != StoreEvent::Type::deleted && plan.selection.matches(*event.object);
  const bool before = event.before && plan.selection.matches(*event.before);
  if (now) return before ? "MODIFIED" : "ADDED";
  return before ? "DELETED" : "";
}

// What leaves the selection is shown as it was there, at the version of its going.
json::object last_seen(const StoreEvent& event) {
  auto object = *event.before;
  child(object, "metadata")["resourceVersion"] = std::to_string(event.resource_version);
  return object;
}

Task<> stream_events(std::shared_ptr<WatchPlan> plan, std::shared_ptr<Watcher> watcher, http::BodyWriter& out) {
  std::string text;
  for (const auto& object : plan->initial) text += event_text(plan->form, "ADDED", *object);
  plan->initial.clear();
  if (plan->end_of_initial) text += bookmark_text(*plan->form.type, plan->version, true);
  const auto deadline = std::chrono::steady_clock::now() + plan->limit;
  auto next_bookmark = std::chrono::steady_clock::now() + bookmark_interval;
  for (;;) {
    while (!watcher->events.empty() && text.size() < (1u << 20)) {
      const auto event = std::move(watcher->events.front());
      watcher->events.pop_front();
      plan->version = event.resource_version;
      if (const auto type = seen_as(*plan, event); type == "DELETED") {
        text += event_text(plan->form, type, last_seen(event));
      } else if (!type.empty()) {
        text += event_text(plan->form, type, *event.object);
      }
    }
    const auto now = std::chrono::steady_clock::now();
    const bool over = now >= deadline || watcher->overflowed;
    if (plan->bookmarks && watcher->events.empty() && !watcher->overflowed && (now >= next_bookmark || over)) {
      text += bookmark_text(*plan->form.type, plan->store->resource_version(), false);
      next_bookmark = now + bookmark_interval;
    }
    if (!text.empty()) {
      co_await out.write(text);
      text.clear();
    }
    if (over) co_return;                     // the client asks again from where it is
    if (!watcher->events.empty()) continue;  // what came meanwhile
    watcher->wakeup.expires_at(plan->bookmarks ? std::min(deadline, next_bookmark) : deadline);
    co_await watcher->wakeup.async_wait(asio::as_tuple(asio::use_awaitable));
  }
}

}  // namespace

Task<http::Response> watch_objects(Call& call) {
  auto& store = call.api.store;
  auto plan = std::make_shared<WatchPlan>();
  const auto form = negotiate(call.request.headers.get("Accept"));
  plan->form = {call.type, form, table_options(call, form.meta_version)};
  plan->selection = selection_of(call);
  plan->ns = call.type->namespaced() ? call.info.ns : "";
  plan->bookmarks = call.flag("allowWatchBookmarks");
  plan->store = &store;
  plan->limit = std::chrono::minutes(30) + std::chrono::seconds(static_cast<unsigned char>(random_bytes(1)[0]) * 5);
  if (const auto text = call.option("timeoutSeconds"); !text.empty()) {
    const auto seconds = parse_integer(text);
    if (!seconds || *seconds < 0) throw bad_request("timeoutSeconds must be a number, 0 or more");
    if (*seconds > 0) plan->limit = std::chrono::seconds(std::min<std::int64_t>(*seconds, 24 * 3600));
  }
  const bool send_initial = call.flag("sendInitialEvents");
  auto watcher = std::make_shared<Watcher>(call.api.executor);
  const auto since = call.option("resourceVersion");
  if (since.empty() || since == "0" || send_initial) {
    for (auto& object : store.list(call.resource(), plan->ns)) {
      if (plan->selection.matches(*object)) plan->initial.push_back(std::move(object));
    }
    plan->version = store.resource_version();
    plan->end_of_initial = send_initial && plan->bookmarks;
  } else {
    plan->version = parsed_version(since);
    auto events = store.events_since(call.resource(), plan->version);
    if (!events)
      throw expired("too old resource version: " + since + " (" + std::to_string(store.resource_version()) + ")");
    for (auto& event : *events) watcher->events.push_back(std::move(event));
  }
  watcher->subscription =
      store.subscribe(call.resource(), [w = watcher.get()](const StoreEvent& event) { w->push(event); });
  http::Response response;
  response.headers.set("Content-Type", "application/json");
  response.endless = true;
  response.body =
      http::StreamBody([plan, watcher](http::BodyWriter& out) { return stream_events(plan, watcher, out); });
  co_return response;
}

}  // namespace workflow::engine
