#include "engine/apiserver/openapi.h"

#include <map>
#include <set>

#include "engine/apiserver/resource_types.h"
#include "engine/fields.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::engine {

namespace {

using Kind = FieldSchema::Kind;
using Shape = FieldSchema::Shape;

constexpr std::string_view quantity_name = "io.k8s.apimachinery.pkg.api.resource.Quantity",
                           int_or_string_name = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

json::object scalar_schema(Kind kind) {
  switch (kind) {
    case Kind::int_or_string: return {{"type", "string"}, {"format", "int-or-string"}};
    case Kind::int32: return {{"type", "integer"}, {"format", "int32"}};
    case Kind::int64: return {{"type", "integer"}, {"format", "int64"}};
    case Kind::number: return {{"type", "number"}, {"format", "double"}};
    case Kind::boolean: return {{"type", "boolean"}};
    case Kind::bytes: return {{"type", "string"}, {"format", "byte"}};
    case Kind::time:
    case Kind::micro_time: return {{"type", "string"}, {"format", "date-time"}};
    case Kind::any: return {{"type", "object"}};
    default: return {{"type", "string"}};
  }
}

struct Dialect {
  std::string prefix;  // of references
  bool v2 = false;
};

json::object field_schema(const FieldSchema& field, const Dialect& dialect) {
  json::object inner;
  if (field.kind == Kind::object) {
    inner["$ref"] = dialect.prefix + std::string(field.type->name);
  } else if (!dialect.v2 && field.kind == Kind::quantity) {
    inner["$ref"] = dialect.prefix + std::string(quantity_name);
  } else if (!dialect.v2 && field.kind == Kind::int_or_string) {
    inner["$ref"] = dialect.prefix + std::string(int_or_string_name);
  } else {
    inner = scalar_schema(field.kind);
  }
  json::object schema;
  if (field.shape == Shape::list) {
    schema = {{"type", "array"}, {"items", std::move(inner)}};
  } else if (field.shape == Shape::map) {
    schema = {{"type", "object"}, {"additionalProperties", std::move(inner)}};
  } else if (inner.contains("$ref") && !dialect.v2) {
    schema = {{"allOf", json::array{std::move(inner)}}};
  } else {
    schema = std::move(inner);
  }
  if (!field.description.empty()) schema["description"] = key(field.description);
  if (field.merge_key) {
    schema["x-kubernetes-patch-strategy"] = field.retain_keys ? "merge,retainKeys" : "merge";
    if (!field.merge_key->empty()) schema["x-kubernetes-patch-merge-key"] = key(*field.merge_key);
  } else if (field.retain_keys) {
    schema["x-kubernetes-patch-strategy"] = "retainKeys";
  }
  if (!field.keys.empty()) {
    json::array keys;
    for (const auto k : field.keys) keys.emplace_back(key(k));
    schema["x-kubernetes-list-type"] = "map";
    schema["x-kubernetes-list-map-keys"] = std::move(keys);
  } else if (field.set) {
    schema["x-kubernetes-list-type"] = "set";
  } else if (field.atomic && field.shape == Shape::list) {
    schema["x-kubernetes-list-type"] = "atomic";
  } else if (field.atomic) {
    schema["x-kubernetes-map-type"] = "atomic";
  }
  return schema;
}

json::object type_schema(const TypeSchema& type, const Dialect& dialect) {
  json::object properties;
  json::array required;
  for (const auto& [name, field] : type.by_name) {
    properties[key(name)] = field_schema(*field, dialect);
    if (field->required) required.emplace_back(key(name));
  }
  json::object schema{
      {"type", "object"}, {"description", key(type.description)}, {"properties", std::move(properties)}};
  if (!required.empty()) schema["required"] = std::move(required);
  return schema;
}

json::object gvk(const std::string& group, const std::string& version, const std::string& kind) {
  return {{"group", group}, {"version", version}, {"kind", kind}};
}

// The object types of a group version: schema name and kind.
std::vector<std::pair<const TypeSchema*, std::string>> objects_of(const std::string& group,
                                                                  const std::string& version) {
  std::vector<std::pair<const TypeSchema*, std::string>> result;
  for (const auto& type : resource_types()) {
    if (type.group == group && type.version == version) result.emplace_back(type.schema, type.kind());
  }
  for (const auto& type : review_types()) {
    if (type.group != group || type.version != version) continue;
    if (const auto* schema = find_type(type_name(group, version, type.kind))) result.emplace_back(schema, type.kind);
  }
  if (group == "metrics.k8s.io") {
    for (const auto& type : metrics_types())
      result.emplace_back(find_type(type_name(group, version, type.kind)), type.kind);
  }
  return result;
}

void collect(const TypeSchema& type, std::set<const TypeSchema*>& into) {
  if (!into.insert(&type).second) return;
  for (const auto& [name, field] : type.by_name) {
    if (field->type != nullptr) collect(*field->type, into);
  }
}

json::array parameters() {
  json::array list;
  for (const auto* name : {"dryRun", "fieldManager", "fieldValidation", "force"}) {
    list.push_back(json::object{
        {"name", name}, {"in", "query"}, {"schema", json::object{{"type", "string"}, {"uniqueItems", true}}}});
  }
  return list;
}

// kubectl looks at the paths for one thing: whether PATCH of a kind takes dryRun and fieldValidation.
json::object paths_of(const std::string& base, const std::string& group, const std::string& version) {
  json::object paths;
  for (const auto& type : resource_types()) {
    if (type.group != group || type.version != version) continue;
    const auto collection = base + (type.namespaced() ? "/namespaces/{namespace}/" : "/") + type.plural();
    const auto kind = gvk(group, version, type.kind());
    const auto operation = [&](const char* action) {
      return json::object{{"x-kubernetes-action", action},
                          {"x-kubernetes-group-version-kind", kind},
                          {"parameters", parameters()},
                          {"responses", json::object{{"200", json::object{{"description", "OK"}}}}}};
    };
    paths[collection] = json::object{{"get", operation("list")}, {"post", operation("post")}};
    paths[collection + "/{name}"] = json::object{{"get", operation("get")},
                                                 {"put", operation("put")},
                                                 {"patch", operation("patch")},
                                                 {"delete", operation("delete")}};
  }
  return paths;
}

std::string document_v3(const std::string& path, const std::string& group, const std::string& version) {
  std::set<const TypeSchema*> types;
  json::object schemas;
  std::map<const TypeSchema*, json::array> kinds;
  for (const auto& [schema, kind] : objects_of(group, version)) {
    collect(*schema, types);
    kinds[schema].push_back(gvk(group, version, kind));
  }
  const auto* delete_options = find_type("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  collect(*delete_options, types);
  for (const auto* type : types) {
    auto schema = type_schema(*type, {.prefix = "#/components/schemas/"});
    if (const auto found = kinds.find(type); found != kinds.end())
      schema["x-kubernetes-group-version-kind"] = found->second;
    schemas[key(type->name)] = std::move(schema);
  }
  // Either a number or a string: what kubectl's own validation takes both for.
  const json::array either{json::object{{"type", "string"}}, json::object{{"type", "number"}}};
  schemas[key(quantity_name)] = json::object{{"oneOf", either}};
  schemas[key(int_or_string_name)] = json::object{{"format", "int-or-string"}, {"oneOf", either}};
  const json::object document{{"openapi", "3.0.0"},
                              {"info", json::object{{"title", "Kubernetes"}, {"version", "v1.32.0"}}},
                              {"paths", paths_of("/" + path, group, version)},
                              {"components", json::object{{"schemas", std::move(schemas)}}}};
  return json::serialize(document);
}

const std::map<std::string, std::string, std::less<>>& documents() {
  static const auto all = [] {
    std::map<std::string, std::string, std::less<>> result;
    for (const auto& group : api_groups()) {
      for (const auto& version : group.versions) {
        const auto path = group.name.empty() ? "api/" + version : "apis/" + group.name + "/" + version;
        result[path] = document_v3(path, group.name, version);
      }
    }
    return result;
  }();
  return all;
}

// --- v2

json::object definitions_v2() {
  std::set<const TypeSchema*> types;
  std::map<const TypeSchema*, json::array> kinds;
  for (const auto& group : api_groups()) {
    for (const auto& version : group.versions) {
      for (const auto& [schema, kind] : objects_of(group.name, version)) {
        collect(*schema, types);
        kinds[schema].push_back(gvk(group.name, version, kind));
      }
    }
  }
  json::object definitions;
  for (const auto* type : types) {
    auto schema = type_schema(*type, {.prefix = "#/definitions/", .v2 = true});
    if (const auto found = kinds.find(type); found != kinds.end())
      schema["x-kubernetes-group-version-kind"] = found->second;
    definitions[key(type->name)] = std::move(schema);
  }
  return definitions;
}

// A protobuf message, written field by field (encoding: protobuf.dev/programming-guides/encoding).
class Message {
 public:
  void text(int number, std::string_view value) {
    if (!value.empty()) bytes(number, value);
  }
  void add(int number, const Message& inner) { bytes(number, inner.out_); }
  const std::string& out() const { return out_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_ += static_cast<char>((value & 0x7f) | 0x80);
    out_ += static_cast<char>(value);
  }
  void bytes(int number, std::string_view value) {
    varint(static_cast<std::uint64_t>(number) << 3 | 2);
    varint(value.size());
    out_ += value;
  }
  std::string out_;
};

// gnostic's NamedAny: a vendor extension, its value as YAML.
Message extension(std::string_view name, const json::value& value) {
  Message any, named;
  any.text(2, json::serialize(value));  // JSON is YAML
  named.text(1, name);
  named.add(2, any);
  return named;
}

// gnostic's openapi.v2.Schema; the numbers are those of OpenAPIv2.proto.
Message schema_message(const json::object& schema) {
  Message m;
  m.text(1, text_at(schema, {"$ref"}));
  m.text(2, text_at(schema, {"format"}));
  m.text(4, text_at(schema, {"description"}));
  for (const auto& name : array_at(schema, {"required"})) m.text(19, view(name.get_string()));
  if (const auto* additional = value_at(schema, {"additionalProperties"})) {
    Message item;
    item.add(1, schema_message(additional->get_object()));
    m.add(21, item);
  }
  if (const auto type = text_at(schema, {"type"}); !type.empty()) {
    Message item;
    item.text(1, type);
    m.add(22, item);
  }
  if (const auto* items = value_at(schema, {"items"})) {
    Message item;
    item.add(1, schema_message(items->get_object()));
    m.add(23, item);
  }
  if (const auto* properties = value_at(schema, {"properties"})) {
    Message list;
    for (const auto& [name, property] : properties->get_object()) {
      Message named;
      named.text(1, name);
      named.add(2, schema_message(property.get_object()));
      list.add(1, named);
    }
    m.add(25, list);
  }
  for (const auto& [name, value] : schema) {
    if (name.starts_with("x-")) m.add(31, extension(name, value));
  }
  return m;
}

// One PATCH operation per kind, with the parameters that kubectl 1.18 to 1.23 look for.
json::object paths_v2() {
  json::object paths;
  for (const auto& group : api_groups()) {
    for (const auto& version : group.versions) {
      const auto base = group.name.empty() ? "/api/" + version : "/apis/" + group.name + "/" + version;
      for (auto& [path, item] : paths_of(base, group.name, version)) paths[path] = item;
    }
  }
  return paths;
}

Message operation_message(const json::object& operation) {
  Message m;
  for (const auto* name : {"dryRun", "fieldManager", "fieldValidation", "force"}) {
    Message query, non_body, parameter,
        item;  // ParametersItem → Parameter → NonBodyParameter → QueryParameterSubSchema
    query.text(2, "query");
    query.text(4, name);
    query.text(6, "string");
    non_body.add(3, query);
    parameter.add(2, non_body);
    item.add(1, parameter);
    m.add(8, item);
  }
  m.add(13, extension("x-kubernetes-group-version-kind", operation.at("x-kubernetes-group-version-kind")));
  return m;
}

std::string document_v2_protobuf() {
  Message document, info, paths, definitions;
  document.text(1, "2.0");
  info.text(1, "Kubernetes");
  info.text(2, "v1.32.0");
  document.add(2, info);
  for (const auto& [path, item] : paths_v2()) {
    const auto* patch = item.get_object().if_contains("patch");
    if (patch == nullptr) continue;
    Message path_item, named;
    path_item.add(8, operation_message(patch->get_object()));
    named.text(1, path);
    named.add(2, path_item);
    paths.add(2, named);
  }
  document.add(8, paths);
  for (const auto& [name, schema] : definitions_v2()) {
    Message named;
    named.text(1, name);
    named.add(2, schema_message(schema.get_object()));
    definitions.add(1, named);
  }
  document.add(9, definitions);
  return document.out();
}

}  // namespace

json::object openapi_v3_index() {
  json::object paths;
  for (const auto& [path, document] : documents()) {
    paths[path] =
        json::object{{"serverRelativeURL", "/openapi/v3/" + path + "?hash=" + to_hex(sha256(document).substr(0, 16))}};
  }
  return {{"paths", std::move(paths)}};
}

std::optional<std::string> openapi_v3(std::string_view path) {
  const auto found = documents().find(path);
  return found == documents().end() ? std::nullopt : std::optional(found->second);
}

const std::string& openapi_v2_json() {
  static const auto text =
      json::serialize(json::object{{"swagger", "2.0"},
                                   {"info", json::object{{"title", "Kubernetes"}, {"version", "v1.32.0"}}},
                                   {"paths", paths_v2()},
                                   {"definitions", definitions_v2()}});
  return text;
}

const std::string& openapi_v2_protobuf() {
  static const auto bytes = document_v2_protobuf();
  return bytes;
}

}  // namespace workflow::engine
