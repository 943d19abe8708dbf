// get and list.
#include <algorithm>

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
    text += served_text(*call.type, form, *object);
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

}  // namespace workflow::engine
