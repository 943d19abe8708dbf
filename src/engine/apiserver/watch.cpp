// Watches: what changes, told while it happens.
#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <deque>
#include <iterator>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/printers.h"
#include "engine/fields.h"
#include "engine/turns.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

using namespace std::chrono_literals;
constexpr std::size_t largest_backlog = 2 * Store::most_remembered_bytes;  // that a slow reader may be behind
constexpr std::size_t piece = 256u << 10;  // of text made at once; others have their turn while it is sent
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
    text += json::serialize(table_of(*form.type, served(*form.type, object), form.table));
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

struct WatchPlan {
  WatchForm form;
  Selection selection;
  std::string ns;
  std::deque<ObjectPtr> initial;  // those of them that are selected are told first
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

// The events that wait for the reader. One that is too far behind loses them all, and its watch ends: it can list anew
// for less than it would cost to keep them.
class Backlog {
 public:
  Backlog(std::shared_ptr<const WatchPlan> plan, Executor executor) : plan_(std::move(plan)), wakeup_(executor) {}
  void push(const StoreEvent& event) {
    if (overflowed_ || seen_as(*plan_, event).empty()) return;
    events_.push_back(event);
    bytes_ += event.bytes;
    if (bytes_ > largest_backlog && events_.size() > 1) {  // a huge object alone is no sign of slowness
      overflowed_ = true;
      events_.clear();
    }
    wakeup_.cancel();
  }
  StoreEvent pop() {
    auto event = std::move(events_.front());
    events_.pop_front();
    bytes_ -= event.bytes;
    return event;
  }
  bool empty() const { return events_.empty(); }
  bool overflowed() const { return overflowed_; }
  Task<> wait_until(std::chrono::steady_clock::time_point time) {
    wakeup_.expires_at(time);
    co_await wakeup_.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  void follow(Store& store, const kube::Resource& r) {
    subscription_ = store.subscribe(r, [this](const StoreEvent& event) { push(event); });
  }

 private:
  std::shared_ptr<const WatchPlan> plan_;
  std::deque<StoreEvent> events_;
  std::size_t bytes_ = 0;
  bool overflowed_ = false;
  asio::steady_timer wakeup_;
  std::unique_ptr<Store::Subscription> subscription_;
};

std::string event_text(WatchPlan& plan, const StoreEvent& event) {
  const auto type = seen_as(plan, event);
  return event_text(plan.form, type, type == "DELETED" ? last_seen(event) : *event.object);
}

Task<> stream_events(std::shared_ptr<WatchPlan> plan, std::shared_ptr<Backlog> backlog, http::BodyWriter& out) {
  const auto deadline = std::chrono::steady_clock::now() + plan->limit;
  auto next_bookmark = std::chrono::steady_clock::now() + bookmark_interval;
  std::string text;
  for (;;) {
    const Turn turn;
    while (!plan->initial.empty() && text.size() < piece && !turn.is_long()) {
      if (plan->selection.matches(*plan->initial.front()))
        text += event_text(plan->form, "ADDED", *plan->initial.front());
      plan->initial.pop_front();
    }
    const bool told_initial = plan->initial.empty();
    if (told_initial && std::exchange(plan->end_of_initial, false)) {
      text += bookmark_text(*plan->form.type, plan->version, true);
    }
    while (told_initial && !backlog->empty() && text.size() < piece && !turn.is_long())
      text += event_text(*plan, backlog->pop());
    const auto now = std::chrono::steady_clock::now();
    const bool over = now >= deadline || backlog->overflowed();
    const bool told_all = told_initial && backlog->empty() && !backlog->overflowed();
    if (plan->bookmarks && told_all && (over || now >= next_bookmark)) {
      text += bookmark_text(*plan->form.type, plan->store->resource_version(), false);
      next_bookmark = now + bookmark_interval;
    }
    if (!text.empty()) {
      co_await out.write(text);
      text.clear();
    }
    if (over) co_return;  // the client asks again from where it is
    if (!plan->initial.empty() || !backlog->empty() || backlog->overflowed()) {
      if (turn.is_long()) co_await give_way();  // nothing may have been written
      continue;
    }
    co_await backlog->wait_until(plan->bookmarks ? std::min(deadline, next_bookmark) : deadline);
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
  auto backlog = std::make_shared<Backlog>(plan, call.api.executor);
  const auto since = call.option("resourceVersion");
  if (since.empty() || since == "0" || send_initial) {
    auto objects = store.list(call.resource(), plan->ns);
    plan->initial.assign(std::move_iterator(objects.begin()), std::move_iterator(objects.end()));
    plan->version = store.resource_version();
    plan->end_of_initial = send_initial && plan->bookmarks;
  } else {
    plan->version = parsed_version(since);
    auto events = store.events_since(call.resource(), plan->version);
    if (!events)
      throw expired("too old resource version: " + since + " (" + std::to_string(store.resource_version()) + ")");
    for (const auto& event : *events) backlog->push(event);
  }
  backlog->follow(store, call.resource());
  http::Response response;
  response.headers.set("Content-Type", "application/json");
  response.endless = true;
  response.body =
      http::StreamBody([plan, backlog](http::BodyWriter& out) { return stream_events(plan, backlog, out); });
  co_return response;
}

}  // namespace workflow::engine
