// get and list.
#include <algorithm>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/printers.h"
#include "engine/fields.h"
#include "engine/turns.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {

namespace {

constexpr std::size_t piece_of_list = 256u << 10;  // of its text, made at once

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

// The selected of them, in turns: of ten thousand objects each must be looked at.
Task<ListPage> page_of(const Call& call) {
  const auto selection = selection_of(call);
  const auto from = continuation(call);
  auto [objects, version] = snapshot_of(call, from);
  ListPage page;
  page.version = version;
  const auto limit = limit_of(call);
  const auto position = [](const json::object& o) { return std::pair(kube::namespace_of(o), kube::name_of(o)); };
  auto at = objects.begin();
  if (from) {
    const auto is_told = [&](const ObjectPtr& o) { return position(*o) <= std::pair(from->ns, from->name); };
    at = std::partition_point(objects.begin(), objects.end(), is_told);
  }
  Turn turn;
  for (; at != objects.end(); ++at) {
    if (turn.is_long()) co_await turn.end();
    if (!selection.everything && !selection.matches(**at)) continue;
    if (page.objects.size() < limit) {
      page.objects.push_back(std::move(*at));
    } else if (selection.everything) {
      page.remaining = static_cast<std::size_t>(objects.end() - at);
      break;
    } else {
      ++page.remaining;
    }
  }
  if (page.remaining > 0) {
    const auto [ns, name] = position(*page.objects.back());
    page.next = to_base64url(json::serialize(json::object{{"rv", page.version}, {"ns", ns}, {"name", name}}));
  }
  co_return page;
}

// A list on its way out, piece by piece: of ten thousand objects the whole text would take the thread for longer than
// others should wait, and memory as well. It outlives the request.
class ListText {
 public:
  ListText(const Call& call, Negotiated form, ListPage page)
      : type_(*call.type),
        form_(std::move(form)),
        table_(table_options(call, form_.meta_version)),
        page_(std::move(page)) {}

  // Appends to the text until it is `piece` long, or all is in it. On the engine's thread for one turn at most.
  enum class For { one_turn, as_long_as_it_takes };
  void append(std::string& text, std::size_t piece, For time = For::one_turn) {
    const Turn turn;
    if (!std::exchange(begun_, true)) text += head();
    while (next_ < page_.objects.size() && text.size() < piece &&
           (time != For::one_turn || text.empty() || !turn.is_long())) {
      if (next_ > 0) text += ',';
      auto object = std::exchange(page_.objects[next_++], nullptr);
      text += form_.form == Form::table ? json::serialize(table_row(type_, served(type_, *object), table_))
                                        : served_text(type_, form_, *object);
    }
    if (next_ == page_.objects.size() && !std::exchange(ended_, true)) text += "]}";
  }
  bool ended() const { return ended_; }

 private:
  // Everything before the first item; the array that it opens is the last field.
  std::string head() {
    json::object list;
    if (form_.form == Form::table) {
      table_.resource_version = page_.version;
      table_.continue_token = page_.next;
      list = table_head(type_, table_);
    } else {
      const bool whole = form_.form == Form::object;
      json::object metadata{{"resourceVersion", page_.version}};
      if (!page_.next.empty()) {
        metadata["continue"] = page_.next;
        metadata["remainingItemCount"] = page_.remaining;
      }
      list = {{"kind", (whole ? type_.kind() : "PartialObjectMetadata") + "List"},
              {"apiVersion", whole ? type_.api_version() : "meta.k8s.io/" + form_.meta_version},
              {"metadata", std::move(metadata)}};
    }
    auto text = json::serialize(list);
    text.pop_back();
    return text + (form_.form == Form::table ? R"(,"rows":[)" : R"(,"items":[)");
  }

  const ResourceType& type_;
  Negotiated form_;
  TableOptions table_;
  ListPage page_;
  std::size_t next_ = 0;
  bool begun_ = false, ended_ = false;
};

Task<> send_list(std::shared_ptr<ListText> list, std::shared_ptr<std::string> begun, http::BodyWriter& out) {
  auto text = std::move(*begun);
  for (;;) {
    co_await out.write(text);
    if (list->ended()) co_return;
    text.clear();
    list->append(text, piece_of_list);
  }
}

std::string as_yaml(std::string text) {
  json::parse_options options;
  options.max_depth = 128;  // it is our own, and a little deeper than what clients may send
  return kube::print_yaml(json::parse(text, {}, options));
}

}  // namespace

std::int64_t parsed_version(const std::string& text) {
  const auto version = parse_integer(text);
  if (!version || *version < 0) {
    throw bad_request("Invalid value: \"" + text +
                      "\": the resourceVersion must be a number that a list or watch gave");
  }
  return *version;
}

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
  co_return co_await object_response(call, 200, object);
}

Task<http::Response> list_objects(Call& call) {
  const auto form = negotiate(call.request.headers.get("Accept"));
  auto page = co_await page_of(call);
  co_return co_await list_response(call, form, std::move(page));
}

Task<http::Response> list_response(const Call& call, Negotiated form, ListPage page) {
  auto list = std::make_shared<ListText>(call, form, std::move(page));
  auto text = std::make_shared<std::string>();
  if (form.yaml) {
    auto print = [list, text] {
      list->append(*text, SIZE_MAX, ListText::For::as_long_as_it_takes);
      return as_yaml(std::move(*text));
    };
    co_return http::Response::text(200, co_await offload(print), "application/yaml");
  }
  list->append(*text, piece_of_list);
  if (list->ended()) co_return http::Response::json(200, std::move(*text));
  http::Response response;
  response.headers.set("Content-Type", "application/json");
  response.body = http::StreamBody([list, text](http::BodyWriter& out) { return send_list(list, text, out); });
  co_return response;
}

}  // namespace workflow::engine
