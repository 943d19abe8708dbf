// src/engine/apiserver/schema.h: what is known of the types of the Kubernetes API: fields, their kinds and merge rules.
//   Read once from schema.txt, which is part of the binary. Everything generic stands on it: checking bodies, strategic
//   merge, server-side apply, OpenAPI, protobuf bodies.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::engine {

struct TypeSchema;

struct FieldSchema {
  enum class Kind {
    text,
    int32,
    int64,
    number,
    boolean,
    bytes,
    time,
    micro_time,
    duration,
    quantity,
    int_or_string,
    any,
    object
  };
  enum class Shape { single, list, map };
  int number = 0;  // in protobuf
  std::string_view name;
  Kind kind = Kind::any;
  Shape shape = Shape::single;
  const TypeSchema* type = nullptr;  // of Kind::object
  bool required = false;
  bool omit_zero = false;                     // spelt out in protobuf, left out in JSON
  bool inlined = false;                       // its fields stand in the parent's JSON
  bool retain_keys = false;                   // strategic merge: $retainKeys
  std::optional<std::string_view> merge_key;  // strategic merge; "" merges a list of scalars
  bool set = false, atomic = false;           // server-side apply
  std::vector<std::string_view> keys;         // … of a list that is a map
  std::string_view description;
};

struct TypeSchema {
  std::string_view name;  // io.k8s.api.core.v1.Pod
  std::string_view description;
  bool atomic = false;  // server-side apply: owned as a whole
  std::vector<FieldSchema> fields;
  std::map<std::string_view, const FieldSchema*> by_name;  // inlined ones unfolded
  const FieldSchema* find(std::string_view field) const;
};

const TypeSchema* find_type(std::string_view name);
const std::map<std::string_view, TypeSchema>& all_types();

// "io.k8s.api.apps.v1.Deployment" for apps/v1 Deployment; types of other groups of the same shape.
std::string type_name(std::string_view group, std::string_view version, std::string_view kind);

}  // namespace workflow::engine
