// get, list and watch.
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
#include "lib/kube/selectors.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {

namespace {

using namespace std::chrono_literals;
constexpr std::size_t watch_backlog = 20'000;  // events that a slow reader may be behind
constexpr auto bookmark_interval = 60s;

// Fields that selectors may name, besides metadata.name and metadata.namespace.
bool may_select(const ResourceType& type, std::string_view field) {
  static const std::map<std::string_view, std::vector<std::string_view>> known{
      {"pods",
       {"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP", "status.nominatedNodeName"}},
      {"events",
       {"involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
        "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath", "reason",
        "reportingComponent", "source", "type", "regarding.kind", "regarding.namespace", "regarding.name",
        "regarding.uid", "reportingController"}},
      {"secrets", {"type"}},
      {"namespaces", {"status.phase"}},
      {"nodes", {"spec.unschedulable"}},
      {"replicasets", {"status.replicas"}},
      {"replicationcontrollers", {"status.replicas"}},
      {"services", {"spec.clusterIP", "spec.type"}},
      {"jobs", {"status.successful"}}};
  if (field == "metadata.name" || (field == "metadata.namespace" && type.namespaced())) return true;
  const auto found = known.find(type.plural());
  return found != known.end() && std::find(found->second.begin(), found->second.end(), field) != found->second.end();
}

kube::FieldSelector field_selector(const Call& call) {
  const auto text = call.option("fieldSelector");
  auto selector = kube::FieldSelector::parse(text);
  if (!selector) throw bad_request("invalid field selector \"" + text + "\"; write it as name=value,other!=value");
  for (const auto& term : selector->terms()) {
    if (!may_select(*call.type, term.field)) throw bad_request("field label not supported: " + term.field);
  }
  return *selector;
}

std::int64_t parsed_version(const std::string& text) {
  const auto version = parse_integer(text);
  if (!version || *version < 0) {
    throw bad_request("Invalid value: \"" + text +
                      "\": the resourceVersion must be a number that a list or watch gave");
  }
  return *version;
}

struct Continuation {
  std::string version, ns, name;  // the last object that was told
};
std::optional<Continuation> continuation(const Call& call) {
  const auto text = call.option("continue");
  if (text.empty()) return std::nullopt;
  const auto bytes = from_base64url(text);
  const auto value = bytes ? parse_json(*bytes) : std::nullopt;
  if (!value || !value->is_object()) throw bad_request("continue key is not valid");
  const auto& token = value->get_object();
  return Continuation{text_at(token, {"rv"}), text_at(token, {"ns"}), text_at(token, {"name"})};
}

struct Page {
  std::vector<ObjectPtr> objects;
  std::string version, next;
  std::size_t remaining = 0;
};

std::size_t limit_of(const Call& call) {
  const auto text = call.option("limit");
  if (text.empty()) return SIZE_MAX;
  const auto number = parse_integer(text);
  if (!number || *number < 0) throw bad_request("limit must be a number, 0 or more");
  return *number == 0 ? SIZE_MAX : static_cast<std::size_t>(*number);
}

// What the list is taken from, at which version: the present, or the moment that `continue` or an exact
// resourceVersion names.
std::pair<std::vector<ObjectPtr>, std::string> snapshot_of(const Call& call, const std::optional<Continuation>& from) {
  const auto& store = call.api.store;
  const auto current = std::to_string(store.resource_version());
  const auto match = call.option("resourceVersionMatch"), wanted = call.option("resourceVersion");
  if (!match.empty() && match != "Exact" && match != "NotOlderThan") {
    throw bad_request("resourceVersionMatch: Unsupported value: \"" + match +
                      "\": supported values: \"Exact\", \"NotOlderThan\"");
  }
  if (!match.empty() && from) throw bad_request("resourceVersionMatch is forbidden for continue");
  if (!match.empty() && wanted.empty()) {
    throw bad_request("resourceVersionMatch is forbidden unless resourceVersion is provided");
  }
  if (match == "Exact" && wanted == "0") {
    throw bad_request("resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"");
  }
  if (!wanted.empty() && parsed_version(wanted) > store.resource_version()) {
    throw ApiError(504, "Timeout", "Too large resource version: " + wanted + ", current: " + current);
  }
  if (!from && match != "Exact") return {store.list(call.resource(), call.info.ns), current};
  const auto version = from ? from->version : wanted;
  auto objects = store.list_at(call.resource(), call.info.ns, parsed_version(version));
  if (objects) return {std::move(*objects), version};
  if (!from) throw expired("the requested resource version is no longer remembered: " + version);
  throw expired(
      "The provided continue parameter is too old to display a consistent list result. You can start a new list "
      "without the continue parameter.");
}

Page page_of(const Call& call) {
  const auto selection = selection_of(call);
  const auto from = continuation(call);
  auto [objects, version] = snapshot_of(call, from);
  Page page;
  page.version = version;
  const auto limit = limit_of(call);
  const auto position = [](const json::object& o) { return std::pair(kube::namespace_of(o), kube::name_of(o)); };
  for (auto& object : objects) {
    if (from && position(*object) <= std::pair(from->ns, from->name)) continue;
    if (!selection.everything && !selection.matches(*object)) continue;
    if (page.objects.size() < limit) {
      page.objects.push_back(std::move(object));
    } else {
      ++page.remaining;
    }
  }
  if (page.remaining > 0) {
    const auto [ns, name] = position(*page.objects.back());
    page.next = to_base64url(json::serialize(json::object{{"rv", page.version}, {"ns", ns}, {"name", name}}));
  }
  return page;
}

// Objects of a list say neither their apiVersion nor their kind in Kubernetes; saying them hurts nobody.
void append(std::string& text, const ResourceType& type, const json::object& object) {
  text += type.to_served == nullptr ? json::serialize(object) : json::serialize(type.to_served(object));
}

void append_metadata(std::string& text, const ResourceType& type, const std::string& meta_version,
                     const json::object& object) {
  text += R"({"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/)" + meta_version + R"(","metadata":)";
  text += type.to_served == nullptr ? json::serialize(object_at(object, {"metadata"}))
                                    : json::serialize(object_at(type.to_served(object), {"metadata"}));
  text += '}';
}

// Written straight from what is stored: of ten thousand objects, a copy would cost more than the text.
std::string list_text(const Call& call, const Negotiated& form, const Page& page) {
  json::object metadata{{"resourceVersion", page.version}};
  if (!page.next.empty()) {
    metadata["continue"] = page.next;
    metadata["remainingItemCount"] = page.remaining;
  }
  const bool only_metadata = form.form == Form::metadata;
  std::string text = R"({"kind":")" + (only_metadata ? "PartialObjectMetadata" : call.type->kind()) +
                     R"(List","apiVersion":")" +
                     (only_metadata ? "meta.k8s.io/" + form.meta_version : call.type->api_version()) +
                     R"(","metadata":)" + json::serialize(metadata) + R"(,"items":[)";
  bool first = true;
  for (const auto& object : page.objects) {
    if (!std::exchange(first, false)) text += ',';
    if (only_metadata) {
      append_metadata(text, *call.type, form.meta_version, *object);
    } else {
      append(text, *call.type, *object);
    }
  }
  text += "]}";
  return text;
}

http::Response list_response(const Negotiated& form, std::string text) {
  if (!form.yaml) return http::Response::json(200, std::move(text));
  json::parse_options options;
  options.max_depth = 128;  // it is our own, and a little deeper than what clients may send
  return http::Response::text(200, kube::print_yaml(json::parse(text, {}, options)), "application/yaml");
}

// --- watching

// How one watch shows its events; outlives the request.
struct WatchForm {
  const ResourceType* type;
  Negotiated form;
  TableOptions table;
};

std::string event_text(WatchForm& form, std::string_view type, const json::object& object) {
  std::string text = R"({"type":")" + std::string(type) + R"(","object":)";
  if (form.form.form == Form::object) {
    append(text, *form.type, object);
  } else if (form.form.form == Form::metadata) {
    append_metadata(text, *form.type, form.form.meta_version, object);
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

Selection selection_of(const Call& call) {
  const auto text = call.option("labelSelector");
  const auto labels = kube::LabelSelector::parse(text);
  if (!labels) throw bad_request("unable to parse requirement: invalid label selector \"" + text + "\"");
  auto fields = field_selector(call);
  const auto& name = call.info.name;
  const auto* type = call.type;
  Selection result;
  result.everything = labels->empty() && fields.empty() && name.empty();
  if (result.everything) {
    result.matches = [](const json::object&) { return true; };
    return result;
  }
  result.matches = [labels = *labels, fields = std::move(fields), name, type](const json::object& object) {
    if (!name.empty() && kube::name_of(object) != name) return false;
    if (!labels.empty() && !labels.matches(value_at(object, {"metadata", "labels"}))) return false;
    if (fields.empty()) return true;
    return type->to_served == nullptr ? fields.matches(object) : fields.matches(type->to_served(object));
  };
  return result;
}

Task<http::Response> get_object(Call& call) {
  const auto object = call.api.store.find(call.resource(), call.info.ns, call.info.name);
  if (!object) throw absent(call.resource(), call.info.name);
  co_return object_response(call, 200, object);
}

Task<http::Response> list_objects(Call& call) {
  const auto form = negotiate(call.request.headers.get("Accept"));
  const auto page = page_of(call);
  if (form.form != Form::table) co_return list_response(form, list_text(call, form, page));
  std::vector<json::object> converted;
  std::vector<const json::object*> shown;
  converted.reserve(page.objects.size());
  for (const auto& object : page.objects) {
    if (call.type->to_served != nullptr) converted.push_back(call.type->to_served(*object));
    shown.push_back(call.type->to_served == nullptr ? object.get() : &converted.back());
  }
  auto options = table_options(call, form.meta_version);
  options.resource_version = page.version;
  options.continue_token = page.next;
  co_return json_response(200, table_of(*call.type, shown, options));
}

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
