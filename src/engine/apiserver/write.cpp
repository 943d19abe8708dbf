// create, update, patch, delete.
#include <cstring>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/api_error.h"
#include "engine/apiserver/apply.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/decode.h"
#include "engine/apiserver/limits.h"
#include "engine/apiserver/patch.h"
#include "engine/apiserver/service_addresses.h"
#include "engine/fields.h"
#include "engine/object_bytes.h"
#include "engine/store_rules.h"
#include "engine/turns.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/names.h"
#include "lib/kube/objects.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
enum class Part { whole, status };
Part part_of(const Call& call) { return call.info.subresource == "status" ? Part::status : Part::whole; }

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

// Defaults and checks of a new or changed object, in its stored form. Pure.
void complete(Call& call, json::object& object, const json::object* before) {
  set_defaults(*call.type, object, before);
  const auto problems = problems_of(*call.type, object, before);
  if (!problems.empty()) throw invalid_object(call.resource(), kube::name_of(object), problems);
  for (auto& warning : warnings_about(*call.type, object)) call.warnings.push_back(std::move(warning));
}

// What depends on everything else that is stored. On the engine's thread, right before the write.
void admit(Call& call, json::object& object, const json::object* before) {
  const auto& r = call.resource();
  if (&r == &res::services) {
    const auto problems =
        assign_addresses(object, before, {.cidr = call.api.config.service_cidr},
                         taken_addresses(call.api.store, before != nullptr ? *before : object), random_number());
    if (!problems.empty()) throw invalid_object(r, kube::name_of(object), problems);
  }
  if (before == nullptr || grants_differ(*before, object)) {
    if (const auto why = escalation(call.api.store, call.user, r, object)) {
      throw forbidden(r, kube::name_of(object), *why);
    }
  }
  if (before != nullptr) return;
  admit_within_limits(call.api.store, r, object);
  if (&r == &res::pods) {
    admit_pod(call.api.store, {.node_name = call.api.config.node_name, .now = call.api.clock.now()}, object);
  }
  check_quota(call.api.store, r, object);
}

const ResourceType& stored_type(const Call& call) {
  return call.type->to_stored == nullptr
             ? *call.type
             : *find_resource_type(call.resource().group, call.resource().version, call.resource().plural);
}

json::object to_stored(const Call& call, json::object object) {
  return call.type->to_stored == nullptr ? std::move(object) : call.type->to_stored(std::move(object));
}

// On its way to the store, in the stored form.
struct Draft {
  json::object object;
  // Of a server-side apply, which knows who owns what: metadata.managedFields. Otherwise it is what differs.
  std::optional<json::value> managed_fields;
};

// Pure: may run on the pool.
Draft new_object(Call& call, Draft draft) {
  auto& object = draft.object;
  check_identity(call, object);
  // A node says what it is when it comes; the status of everything else is its controller's.
  if (call.type->has("status") && &call.resource() != &res::nodes) object.erase("status");
  auto& metadata = child(object, "metadata");
  for (const auto* field : {"uid", "resourceVersion", "selfLink", "generation", "deletionTimestamp", "managedFields"}) {
    const auto* given = metadata.if_contains(field);
    if (given != nullptr && std::string_view(field) == "resourceVersion" && given->is_string() &&
        !given->get_string().empty()) {
      throw bad_request("resourceVersion should not be set on objects to be created");
    }
    metadata.erase(field);
  }
  object = to_stored(call, std::move(object));
  complete(call, object, nullptr);
  return draft;
}

// Two changes that raced: what the store says, with the details of the object. Pure: may run on the pool.
Draft changed_object(Call& call, const json::object& before, Draft draft) {
  auto& after = draft.object;
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
  if (part_of(call) == Part::status) {
    json::object next = before;
    carry(next, after, "status");
    // As in Kubernetes, labels and annotations may come with a status; of a Deployment the annotations.
    carry(child(next, "metadata"), object_at(after, {"metadata"}), "annotations");
    if (&call.resource() != &res::deployments) carry(child(next, "metadata"), object_at(after, {"metadata"}), "labels");
    after = std::move(next);
    const auto problems = problems_of_metadata(*call.type, after, &before);
    if (!problems.empty()) throw invalid_object(call.resource(), kube::name_of(after), problems);
    return draft;
  }
  if (call.type->has("status")) carry(after, before, "status");
  // What the server owns is compared as it is.
  auto& metadata = child(after, "metadata");
  for (const auto* field : {"uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds",
                            "resourceVersion", "generateName"}) {
    carry(metadata, object_at(before, {"metadata"}), field);
  }
  complete(call, after, &before);
  return draft;
}

// The draft with who owns which of its fields. Pure: may run on the pool.
json::object owned(Call& call, const json::object& before, Draft draft) {
  if (!draft.managed_fields) {
    return with_tracked_fields(*stored_type(call).schema, before, std::move(draft.object), manager_of(call));
  }
  child(draft.object, "metadata")["managedFields"] = std::move(*draft.managed_fields);
  return std::move(draft.object);
}

Task<http::Response> create(Call& call, Draft given) {
  const auto size = bytes_of(given.object);
  const json::object nothing;
  auto prepare = [&] { return new_object(call, std::move(given)); };
  auto draft = co_await worked_on(size, prepare);
  admit(call, draft.object, nullptr);
  auto finish = [&] { return owned(call, nothing, std::move(draft)); };
  auto object = co_await worked_on(size, finish);
  if (size > largest_at_once) admit(call, object, nullptr);  // what is free may have been taken meanwhile
  const auto made = co_await call.api.store.create(call.resource(), std::move(object), call.persist());
  co_return co_await object_response(call, 201, made);
}

// Edits the stored object by `change`, which is pure; sees the object in the served version, and returns it so.
// `size`: of what it brings along. While a large object is worked on another change may come first: then it is done
// again.
using Change = std::function<Draft(const json::object& served)>;
Task<http::Response> edit(Call& call, std::size_t size, Change change) {
  constexpr int most_attempts = 8;
  const auto& r = call.resource();
  auto& store = call.api.store;
  const auto warnings = call.warnings.size();
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    call.warnings.resize(warnings);
    const auto before = store.find_latest(r, call.info.ns, call.info.name);
    if (!before) throw absent(r, call.info.name);
    const auto both = size + bytes_of(*before);
    auto prepare = [&] { return changed_object(call, *before, change(served(*call.type, *before))); };
    auto draft = co_await worked_on(both, prepare);
    if (part_of(call) == Part::whole) admit(call, draft.object, before.get());
    auto finish = [&] { return owned(call, *before, std::move(draft)); };
    auto next = co_await worked_on(both, finish);
    if (both > largest_at_once && part_of(call) == Part::whole) admit(call, next, before.get());
    const auto result = co_await store.replace(r, before, std::move(next), call.persist());
    if (result) co_return co_await object_response(call, 200, result);
  }
  throw conflicting(r, call.info.name,
                    "the object has been modified; please apply your changes to the latest version and try again");
}

Draft applied_object(Call& call, const json::object& live, const json::object& wanted, OnConflict on_conflict) {
  auto result = applied_to(*call.type->schema, live, wanted, manager_of(call), on_conflict);
  if (result.conflicts.empty()) {
    const auto* fields = value_at(result.object, {"metadata", "managedFields"});
    auto managed = fields == nullptr ? json::value() : *fields;
    return {std::move(result.object), std::move(managed)};
  }
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
  const auto size = text.size();
  auto read = [&] {
    const auto value = kube::parse_yaml(text);  // JSON is YAML
    if (!value.is_object()) throw bad_request("the applied configuration must be an object");
    return checked_body(call, *call.type->schema, value.get_object());
  };
  auto wanted = co_await worked_on(size, read);
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
    auto fresh = [&] { return applied_object(call, {}, wanted, on_conflict); };
    auto draft = co_await worked_on(size, fresh);
    co_return co_await create(call, std::move(draft));
  }
  co_return co_await edit(call, size,
                          [&](const json::object& live) { return applied_object(call, live, wanted, on_conflict); });
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
  co_return co_await read_object(call, *find_type("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"));
}

struct Removal {
  DeleteOptions options;
  Persist persist;
};
// One of several: gone already is fine; of failures the first is kept.
Task<> remove_one(Store& store, const kube::Resource& r, ObjectPtr object, Removal how, std::exception_ptr& failure) {
  try {
    co_await store.remove(r, kube::namespace_of(*object), kube::name_of(*object), how.options, how.persist);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found && !failure) failure = std::current_exception();
  }
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
  auto object = co_await read_object(call, *call.type->schema);
  if (!object) throw bad_request("the request needs a body: the object to create");
  call.persist();
  co_return co_await create(call, {std::move(*object), std::nullopt});
}

Task<http::Response> update_object(Call& call) {
  const auto object = co_await read_object(call, *call.type->schema);
  if (!object) throw bad_request("the request needs a body: the object");
  co_return co_await edit(call, bytes_of(*object), [&](const json::object&) { return Draft{*object, std::nullopt}; });
}

Task<http::Response> patch_object(Call& call) {
  const auto kind = patch_type(call);
  auto text = co_await call.request.text(body_limit);
  if (kind == kube::PatchType::apply) co_return co_await apply(call, std::move(text));
  const auto patch = co_await worked_on(text.size(), [&] { return parse_json(text); });
  if (!patch) {  // kubectl sends YAML to nobody, but people with curl do
    throw bad_request("error decoding patch: the body is not valid JSON");
  }
  co_return co_await edit(call, text.size(), [&](const json::object& live) {
    json::object result;
    switch (kind) {
      case kube::PatchType::json: result = json_patched(live, *patch); break;
      case kube::PatchType::merge: result = merge_patched(live, *patch); break;
      default: result = strategic_patched(call.type->schema, live, *patch); break;
    }
    return Draft{checked_body(call, *call.type->schema, result), std::nullopt};
  });
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
  co_return co_await object_response(call, 200, left);
}

Task<http::Response> delete_collection(Call& call) {
  const auto body = co_await delete_body(call);
  const auto options = delete_options(call, body);
  const auto selection = selection_of(call);
  const auto& r = call.resource();
  const auto persist = persist_of_delete(call, body);
  const auto form = negotiate(call.request.headers.get("Accept"));
  ListPage page{
      .objects = {}, .version = std::to_string(call.api.store.resource_version()), .next = "", .remaining = 0};
  for (auto& object : call.api.store.list(r, call.info.ns)) {
    if (!selection.matches(*object)) continue;
    refuse_essential_deletion(call, kube::name_of(*object));
    page.objects.push_back(std::move(object));
  }
  co_await keep_waiting();  // the group ends before this does
  TaskGroup group(call.api.executor);
  std::exception_ptr failure;
  constexpr std::size_t most_at_once = 64;
  for (std::size_t i = 0; i < page.objects.size() && !failure; ++i) {
    if (i % most_at_once == most_at_once - 1) co_await group.join();
    group.spawn("delete", remove_one(call.api.store, r, page.objects[i], {options, persist}, failure));
  }
  co_await group.join();
  if (failure) std::rethrow_exception(failure);
  co_return co_await list_response(call, form, std::move(page));
}

}  // namespace workflow::engine
