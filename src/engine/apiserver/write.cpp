// create, update, patch, delete.
#include <cstring>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/api_error.h"
#include "engine/apiserver/apply.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/decode.h"
#include "engine/apiserver/patch.h"
#include "engine/apiserver/service_addresses.h"
#include "engine/fields.h"
#include "engine/store_rules.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/names.h"
#include "lib/kube/objects.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
enum class Part { whole, status };

std::uint32_t random_number() {
  std::uint32_t value = 0;
  std::memcpy(&value, random_bytes(4).data(), 4);
  return value;
}

Manager manager_of(const Call& call) {
  return {.name = call.manager(),
          .api_version = call.type->api_version(),
          .subresource = call.info.subresource,
          .now = call.api.clock.now()};
}

// The body names the type, the namespace and the name that the path names.
void check_identity(const Call& call, json::object& object) {
  const auto version = text_at(object, {"apiVersion"}), kind = text_at(object, {"kind"});
  if (!kind.empty() && kind != call.type->kind()) {
    throw bad_request(kind + " in version \"" + version + "\" cannot be handled as a " + call.type->kind());
  }
  if (!version.empty() && version != call.type->api_version()) {
    throw bad_request("the API version in the data (" + version + ") does not match the expected API version (" +
                      call.type->api_version() + ")");
  }
  object["apiVersion"] = call.type->api_version();
  object["kind"] = call.type->kind();
  auto& metadata = child(object, "metadata");
  if (call.type->namespaced()) {
    const auto ns = kube::namespace_of(object);
    if (!ns.empty() && ns != call.info.ns) {
      throw bad_request("the namespace of the provided object does not match the namespace sent on the request");
    }
    metadata["namespace"] = call.info.ns;
  } else {
    metadata.erase("namespace");
  }
  if (!call.info.name.empty()) {
    const auto name = kube::name_of(object);
    if (!name.empty() && name != call.info.name) {
      throw bad_request("the name of the object (" + name + ") does not match the name on the URL (" + call.info.name +
                        ")");
    }
    metadata["name"] = call.info.name;
  }
}

TakenAddresses taken_addresses(const Store& store, const json::object& except) {
  TakenAddresses taken;
  for (const auto& service : store.list(res::services)) {
    if (kube::uid_of(*service) == kube::uid_of(except) && !kube::uid_of(except).empty()) continue;
    if (const auto ip = Ipv4::parse(text_at(*service, {"spec", "clusterIP"}))) taken.ips.insert(ip->value);
    for (const auto& port : array_at(*service, {"spec", "ports"})) {
      const auto number = port.is_object() ? integer_at(port.get_object(), {"nodePort"}) : std::nullopt;
      if (number) taken.node_ports.insert(static_cast<int>(*number));
    }
    const auto health = integer_at(*service, {"spec", "healthCheckNodePort"});
    if (health) taken.node_ports.insert(static_cast<int>(*health));
  }
  return taken;
}

// Whether a role or binding says something else about who may do what.
bool grants_differ(const json::object& before, const json::object& after) {
  return array_at(before, {"rules"}) != array_at(after, {"rules"}) ||
         array_at(before, {"subjects"}) != array_at(after, {"subjects"});
}

// Everything that a new or changed object goes through, in its stored form.
void admit(Call& call, json::object& object, const json::object* before) {
  const auto& r = call.resource();
  set_defaults(*call.type, object, before);
  auto problems = problems_of(*call.type, object, before);
  if (problems.empty() && &r == &res::services) {
    problems = assign_addresses(object, before, {.cidr = call.api.config.service_cidr},
                                taken_addresses(call.api.store, before != nullptr ? *before : object), random_number());
  }
  if (!problems.empty()) throw invalid_object(r, kube::name_of(object), problems);
  if (before == nullptr || grants_differ(*before, object)) {
    if (const auto why = escalation(call.api.store, call.user, r, object)) {
      throw forbidden(r, kube::name_of(object), *why);
    }
  }
  if (before == nullptr) {
    if (&r == &res::pods) {
      admit_pod(call.api.store, {.node_name = call.api.config.node_name, .now = call.api.clock.now()}, object);
    }
    check_quota(call.api.store, r, object);
  }
  for (auto& warning : warnings_about(*call.type, object)) call.warnings.push_back(std::move(warning));
}

const ResourceType& stored_type(const Call& call) {
  return call.type->to_stored == nullptr
             ? *call.type
             : *find_resource_type(call.resource().group, call.resource().version, call.resource().plural);
}

json::object to_stored(const Call& call, json::object object) {
  return call.type->to_stored == nullptr ? std::move(object) : call.type->to_stored(std::move(object));
}

// A new object, as the store takes it. `applied`: managedFields are there already.
json::object new_object(Call& call, json::object object, bool applied) {
  check_identity(call, object);
  // A node says what it is when it comes; the status of everything else is its controller's.
  if (call.type->has("status") && &call.resource() != &res::nodes) object.erase("status");
  auto& metadata = child(object, "metadata");
  for (const auto* field : {"uid", "resourceVersion", "selfLink", "generation", "deletionTimestamp"}) {
    const auto* given = metadata.if_contains(field);
    if (given != nullptr && std::string_view(field) == "resourceVersion" && given->is_string() &&
        !given->get_string().empty()) {
      throw bad_request("resourceVersion should not be set on objects to be created");
    }
    metadata.erase(field);
  }
  if (!applied) metadata.erase("managedFields");
  object = to_stored(call, std::move(object));
  admit(call, object, nullptr);
  if (!applied) {
    auto manager = manager_of(call);
    object = with_tracked_fields(*stored_type(call).schema, {}, std::move(object), manager);
  }
  return object;
}

// Two changes that raced: what the store says, with the details of the object.
json::object changed_object(Call& call, const json::object& before, json::object after, Part part, bool applied) {
  check_identity(call, after);
  check_resource_version(call.resource(), before, text_at(after, {"metadata", "resourceVersion"}));
  const auto uid = kube::uid_of(after);
  if (!uid.empty() && uid != kube::uid_of(before)) {
    throw conflicting(
        call.resource(), kube::name_of(before),
        "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + kube::uid_of(before));
  }
  after = to_stored(call, std::move(after));
  const auto carry = [&](json::object& to, const json::object& from, const char* field) {
    if (const auto* value = from.if_contains(field)) {
      to[field] = *value;
    } else {
      to.erase(field);
    }
  };
  const auto managed = after.contains("metadata") && applied ? value_at(after, {"metadata", "managedFields"}) : nullptr;
  const json::value managed_fields = managed != nullptr ? *managed : json::value();
  if (part == Part::status) {
    json::object next = before;
    carry(next, after, "status");
    after = std::move(next);
  } else {
    if (call.type->has("status")) carry(after, before, "status");
    // What the server owns is compared as it is.
    auto& metadata = child(after, "metadata");
    for (const auto* field : {"uid", "creationTimestamp", "generation", "deletionTimestamp",
                              "deletionGracePeriodSeconds", "resourceVersion", "generateName"}) {
      carry(metadata, object_at(before, {"metadata"}), field);
    }
    admit(call, after, &before);
  }
  if (applied) {
    child(after, "metadata")["managedFields"] = managed_fields;
  } else {
    after = with_tracked_fields(*stored_type(call).schema, before, std::move(after), manager_of(call));
  }
  return after;
}

Part part_of(const Call& call) { return call.info.subresource == "status" ? Part::status : Part::whole; }

// Edits the stored object by `change`, which sees and returns it in the served version.
Task<http::Response> edit(Call& call, std::function<json::object(const json::object& served)> change, bool applied) {
  const auto part = part_of(call);
  auto step = [&call, &change, part, applied](json::object& object) {
    object = changed_object(call, object, change(served(*call.type, object)), part, applied);
    return true;
  };
  const auto result = co_await call.api.store.edit(call.resource(), call.info.ns, call.info.name, step, call.persist());
  if (!result) throw absent(call.resource(), call.info.name);
  co_return object_response(call, 200, result);
}

json::object applied_object(Call& call, const json::object& live, const json::object& wanted, OnConflict on_conflict) {
  auto result = applied_to(*call.type->schema, live, wanted, manager_of(call), on_conflict);
  if (result.conflicts.empty()) return std::move(result.object);
  json::array causes;
  std::map<std::string, std::vector<std::string>> by_manager;
  for (const auto& c : result.conflicts) {
    causes.push_back(json::object{
        {"reason", "FieldManagerConflict"}, {"message", "conflict with " + c.manager}, {"field", c.field}});
    by_manager[c.manager].push_back(c.field);
  }
  const auto count = result.conflicts.size();
  std::string message = "Apply failed with " + std::to_string(count) + (count == 1 ? " conflict: " : " conflicts: ");
  std::vector<std::string> sentences;
  for (const auto& [manager, fields] : by_manager) {
    sentences.push_back(count == 1 ? "conflict with " + manager + ": " + fields[0]
                                   : "conflicts with " + manager + ":\n- " + join(fields, "\n- "));
  }
  throw ApiError(409, "Conflict", message + join(sentences, "\n"), json::object{{"causes", std::move(causes)}});
}

Task<http::Response> apply(Call& call, std::string text) {
  const auto value = kube::parse_yaml(text);  // JSON is YAML
  if (!value.is_object()) throw bad_request("the applied configuration must be an object");
  auto wanted = checked_body(call, *call.type->schema, value.get_object());
  if (text_at(wanted, {"apiVersion"}).empty() || text_at(wanted, {"kind"}).empty()) {
    throw bad_request("the applied configuration must name its apiVersion and kind");
  }
  if (call.option("fieldManager").empty()) {
    throw ApiError(
        422, "Invalid",
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
  }
  if (value_at(wanted, {"metadata", "managedFields"}) != nullptr) {
    throw bad_request("metadata.managedFields must be nil");
  }
  check_identity(call, wanted);
  const auto on_conflict = call.flag("force") ? OnConflict::take_over : OnConflict::refuse;
  if (!call.api.store.find(call.resource(), call.info.ns, call.info.name)) {
    if (!call.info.subresource.empty()) throw absent(call.resource(), call.info.name);
    auto object = applied_object(call, {}, wanted, on_conflict);
    auto made =
        co_await call.api.store.create(call.resource(), new_object(call, std::move(object), true), call.persist());
    co_return object_response(call, 201, made);
  }
  auto change = [&call, wanted = std::move(wanted), on_conflict](const json::object& live) {
    return applied_object(call, live, wanted, on_conflict);
  };
  co_return co_await edit(call, change, true);
}

kube::PatchType patch_type(const Call& call) {
  auto type = call.request.headers.get("Content-Type");
  type = type.substr(0, type.find(';'));
  if (type == "application/json-patch+json") return kube::PatchType::json;
  if (type == "application/merge-patch+json") return kube::PatchType::merge;
  if (type == "application/strategic-merge-patch+json") return kube::PatchType::strategic;
  if (type == "application/apply-patch+yaml") return kube::PatchType::apply;
  throw unsupported_media_type(
      "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, "
      "application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml");
}

Task<std::optional<json::object>> delete_body(Call& call) {
  const auto* schema = find_type("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  auto body = co_await read_object(call, *schema);
  if (!body) co_return std::nullopt;
  std::vector<std::string> unknown;
  co_return checked_against(*schema, *body, unknown);
}

void refuse_essential_deletion(const Call& call, const std::string& name) {
  const bool essential =
      &call.resource() == &res::namespaces && (name == "default" || name == "kube-system" || name == "kube-public");
  if (essential) throw forbidden(call.resource(), name, "this namespace may not be deleted");
}

}  // namespace

DeleteOptions delete_options(Call& call, const std::optional<json::object>& body) {
  DeleteOptions options;
  const json::object none;
  const auto& given = body ? *body : none;
  auto grace = integer_at(given, {"gracePeriodSeconds"});
  if (const auto text = call.option("gracePeriodSeconds"); !text.empty()) grace = parse_integer(text);
  if (grace && *grace < 0) throw bad_request("gracePeriodSeconds must be 0 or more");
  if (grace) options.grace_period_seconds = static_cast<int>(*grace);
  options.propagation = text_at(given, {"propagationPolicy"});
  if (const auto text = call.option("propagationPolicy"); !text.empty()) options.propagation = text;
  if (flag_at(given, {"orphanDependents"}) || call.option("orphanDependents") == "true") options.propagation = "Orphan";
  const auto& p = options.propagation;
  if (!p.empty() && p != "Background" && p != "Foreground" && p != "Orphan") {
    throw ApiError(422, "Invalid",
                   "DeleteOptions \"\" is invalid: propagationPolicy: Unsupported value: \"" + p +
                       "\": supported values: \"Background\", \"Foreground\", \"Orphan\"");
  }
  if (const auto uid = text_at(given, {"preconditions", "uid"}); !uid.empty()) options.uid = uid;
  if (const auto version = text_at(given, {"preconditions", "resourceVersion"}); !version.empty())
    options.resource_version = version;
  for (const auto& item : array_at(given, {"dryRun"})) {
    if (item.is_string() && item.get_string() != "All")
      throw bad_request("dryRun: Unsupported value: supported values: \"All\"");
  }
  return options;
}

Persist persist_of_delete(const Call& call, const std::optional<json::object>& body) {
  const bool dry = body && !array_at(*body, {"dryRun"}).empty();
  return dry ? Persist::dry_run : call.persist();
}

Task<http::Response> create_object(Call& call) {
  auto body = co_await read_object(call, *call.type->schema);
  if (!body) throw bad_request("the request needs a body: the object to create");
  auto object = checked_body(call, *call.type->schema, *body);
  call.persist();
  object = new_object(call, std::move(object), false);
  const auto made = co_await call.api.store.create(call.resource(), std::move(object), call.persist());
  co_return object_response(call, 201, made);
}

Task<http::Response> update_object(Call& call) {
  auto body = co_await read_object(call, *call.type->schema);
  if (!body) throw bad_request("the request needs a body: the object");
  auto change = [object = checked_body(call, *call.type->schema, *body)](const json::object&) { return object; };
  co_return co_await edit(call, change, false);
}

Task<http::Response> patch_object(Call& call) {
  const auto kind = patch_type(call);
  auto text = co_await call.request.text(body_limit);
  if (kind == kube::PatchType::apply) co_return co_await apply(call, std::move(text));
  auto patch = parse_json(text);
  if (!patch) {  // kubectl sends YAML to nobody, but people with curl do
    throw bad_request("error decoding patch: the body is not valid JSON");
  }
  auto change = [&call, kind, patch = std::move(*patch)](const json::object& live) {
    json::object result;
    switch (kind) {
      case kube::PatchType::json: result = json_patched(live, patch); break;
      case kube::PatchType::merge: result = merge_patched(live, patch); break;
      default: result = strategic_patched(call.type->schema, live, patch); break;
    }
    return checked_body(call, *call.type->schema, result);
  };
  co_return co_await edit(call, change, false);
}

Task<http::Response> delete_object(Call& call) {
  const auto body = co_await delete_body(call);
  const auto options = delete_options(call, body);
  refuse_essential_deletion(call, call.info.name);
  const auto& r = call.resource();
  const auto persist = persist_of_delete(call, body);
  const auto left = co_await call.api.store.remove(r, call.info.ns, call.info.name, options, persist);
  const auto now = call.api.store.find(r, call.info.ns, call.info.name);
  const bool gone = !now || kube::uid_of(*now) != kube::uid_of(*left);
  if (gone && &r != &res::pods) co_return json_response(200, success_status(r, call.info.name, kube::uid_of(*left)));
  co_return object_response(call, 200, left);
}

Task<http::Response> delete_collection(Call& call) {
  const auto body = co_await delete_body(call);
  const auto options = delete_options(call, body);
  const auto selection = selection_of(call);
  const auto& r = call.resource();
  const auto persist = persist_of_delete(call, body);
  const auto version = call.api.store.resource_version();
  co_await keep_waiting();  // the group ends before this does
  json::array items;
  TaskGroup group(call.api.executor);
  for (const auto& object : call.api.store.list(r, call.info.ns)) {
    if (!selection.matches(*object)) continue;
    refuse_essential_deletion(call, kube::name_of(*object));
    items.emplace_back(served(*call.type, *object));
    group.spawn(
        "delete",
        [](Store& store, const kube::Resource& resource, ObjectPtr o, DeleteOptions how, Persist keep) -> Task<> {
          try {
            co_await store.remove(resource, kube::namespace_of(*o), kube::name_of(*o), how, keep);
          } catch (const Error& error) {
            if (error.kind() != ErrorKind::not_found) throw;
          }
        }(call.api.store, r, object, options, persist));
  }
  co_await group.join();
  co_return json_response(200, {{"kind", call.type->kind() + "List"},
                                {"apiVersion", call.type->api_version()},
                                {"metadata", json::object{{"resourceVersion", std::to_string(version)}}},
                                {"items", std::move(items)}});
}

}  // namespace workflow::engine
