#include "engine/apiserver/schema.h"

#include <charconv>

#include "lib/base/error.h"

extern "C" const char wf_schema_begin[], wf_schema_end[];

namespace workflow::engine {

namespace {

using Kind = FieldSchema::Kind;
using Types = std::map<std::string_view, TypeSchema>;

std::string_view take(std::string_view& text, char separator) {
  const auto end = text.find(separator);
  const auto part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

std::optional<Kind> scalar(std::string_view name) {
  static const std::map<std::string_view, Kind> kinds{{"string", Kind::text},
                                                      {"int32", Kind::int32},
                                                      {"int64", Kind::int64},
                                                      {"uint32", Kind::int64},
                                                      {"double", Kind::number},
                                                      {"bool", Kind::boolean},
                                                      {"bytes", Kind::bytes},
                                                      {"time", Kind::time},
                                                      {"microtime", Kind::micro_time},
                                                      {"duration", Kind::duration},
                                                      {"quantity", Kind::quantity},
                                                      {"intorstring", Kind::int_or_string},
                                                      {"any", Kind::any},
                                                      {"raw", Kind::any}};
  const auto found = kinds.find(name);
  return found == kinds.end() ? std::nullopt : std::optional(found->second);
}

void read_flag(FieldSchema& field, std::string_view flag) {
  if (flag == "req") field.required = true;
  if (flag == "omit") field.omit_zero = true;
  if (flag == "inline") field.inlined = true;
  if (flag == "retain") field.retain_keys = true;
  if (flag == "set") field.set = true;
  if (flag == "atomic") field.atomic = true;
  if (flag == "merge") field.merge_key = "";
  if (flag.starts_with("merge=")) field.merge_key = flag.substr(6);
  if (flag.starts_with("keys=")) {
    for (flag.remove_prefix(5); !flag.empty();) field.keys.push_back(take(flag, ','));
  }
}

// `type` receives the name of an object type, to be resolved when all are read.
FieldSchema read_field(std::string_view line, std::string_view& type) {
  FieldSchema field;
  auto head = take(line, '|');
  if (line.starts_with(' ')) line.remove_prefix(1);
  field.description = line;
  const auto number = take(head, ' ');
  std::from_chars(number.data(), number.data() + number.size(), field.number);
  field.name = take(head, ' ');
  type = take(head, ' ');
  if (type.starts_with("[]")) field.shape = FieldSchema::Shape::list;
  if (type.starts_with("{}")) field.shape = FieldSchema::Shape::map;
  if (field.shape != FieldSchema::Shape::single) type.remove_prefix(2);
  const auto kind = scalar(type);
  field.kind = kind.value_or(Kind::object);
  while (!head.empty()) read_flag(field, take(head, ' '));
  return field;
}

void unfold(TypeSchema& into, const TypeSchema& from) {
  for (const auto& field : from.fields) {
    if (field.inlined) {
      unfold(into, *field.type);
    } else {
      into.by_name[field.name] = &field;
    }
  }
}

Types read_schema() {
  Types types;
  std::vector<std::pair<std::string_view, std::vector<std::string_view>>> names;  // of the field types of each type
  std::string_view text(wf_schema_begin, static_cast<std::size_t>(wf_schema_end - wf_schema_begin));
  TypeSchema* current = nullptr;
  while (!text.empty()) {
    auto line = take(text, '\n');
    const auto tag = take(line, ' ');
    if (tag == "T") {
      const auto name = take(line, ' ');
      current = &types[name];
      current->name = name;
      current->atomic = take(line, '|').starts_with("atomic");
      if (line.starts_with(' ')) line.remove_prefix(1);
      current->description = line;
      names.push_back({name, {}});
    } else if (tag == "F") {
      WF_CHECK(current != nullptr);
      std::string_view type;
      current->fields.push_back(read_field(line, type));
      names.back().second.push_back(type);
    }
  }
  for (const auto& [name, fields] : names) {
    auto& type = types[name];
    for (std::size_t i = 0; i < fields.size(); ++i) {
      if (type.fields[i].kind != Kind::object) continue;
      const auto found = types.find(fields[i]);
      WF_CHECK(found != types.end());
      type.fields[i].type = &found->second;
    }
  }
  // apiVersion and kind are in the JSON of every object, and not in its protobuf message.
  static const FieldSchema api_version{
      .name = "apiVersion",
      .kind = Kind::text,
      .description = "APIVersion defines the versioned schema of this representation of an object"};
  static const FieldSchema kind{
      .name = "kind",
      .kind = Kind::text,
      .description = "Kind is a string value representing the REST resource this object represents"};
  for (auto& [name, type] : types) {
    unfold(type, type);
    const auto* metadata = type.find("metadata");
    const bool is_object = metadata != nullptr && metadata->kind == Kind::object &&
                           !name.ends_with("PodTemplateSpec") && !name.ends_with("JobTemplateSpec") &&
                           !name.ends_with("PersistentVolumeClaimTemplate");
    if (!is_object && !name.ends_with(".DeleteOptions")) continue;
    type.by_name["apiVersion"] = &api_version;
    type.by_name["kind"] = &kind;
  }
  return types;
}

}  // namespace

const FieldSchema* TypeSchema::find(std::string_view field) const {
  const auto found = by_name.find(field);
  return found == by_name.end() ? nullptr : found->second;
}

const std::map<std::string_view, TypeSchema>& all_types() {
  static const Types types = read_schema();
  return types;
}

const TypeSchema* find_type(std::string_view name) {
  const auto found = all_types().find(name);
  return found == all_types().end() ? nullptr : &found->second;
}

std::string type_name(std::string_view group, std::string_view version, std::string_view kind) {
  if (group == "metrics.k8s.io")
    return "io.k8s.metrics.pkg.apis.metrics." + std::string(version) + "." + std::string(kind);
  auto package = std::string(group.substr(0, group.find('.')));
  if (package.empty()) package = "core";
  return "io.k8s.api." + package + "." + std::string(version) + "." + std::string(kind);
}

}  // namespace workflow::engine
