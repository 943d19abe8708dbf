#include "engine/fields.h"

namespace workflow::engine {

namespace {
const json::object no_fields;
const json::array no_items;
}  // namespace

const json::value* value_at(const json::object& object, std::initializer_list<std::string_view> path) {
  const json::object* at = &object;
  const json::value* found = nullptr;
  for (const auto name : path) {
    if (at == nullptr) return nullptr;
    found = at->if_contains(key(name));
    if (found == nullptr || found->is_null()) return nullptr;
    at = found->if_object();
  }
  return found;
}

std::string text_at(const json::object& object, std::initializer_list<std::string_view> path) {
  const auto* value = value_at(object, path);
  return value != nullptr && value->is_string() ? std::string(view(value->get_string())) : std::string();
}

std::optional<std::int64_t> integer_at(const json::object& object, std::initializer_list<std::string_view> path) {
  const auto* value = value_at(object, path);
  if (value == nullptr) return std::nullopt;
  if (value->is_int64()) return value->get_int64();
  if (value->is_uint64() && value->get_uint64() <= INT64_MAX) return static_cast<std::int64_t>(value->get_uint64());
  return std::nullopt;
}

bool flag_at(const json::object& object, std::initializer_list<std::string_view> path, bool fallback) {
  const auto* value = value_at(object, path);
  return value != nullptr && value->is_bool() ? value->get_bool() : fallback;
}

const json::object& object_at(const json::object& object, std::initializer_list<std::string_view> path) {
  const auto* value = value_at(object, path);
  return value != nullptr && value->is_object() ? value->get_object() : no_fields;
}

const json::array& array_at(const json::object& object, std::initializer_list<std::string_view> path) {
  const auto* value = value_at(object, path);
  return value != nullptr && value->is_array() ? value->get_array() : no_items;
}

json::object& child(json::object& object, std::string_view name) {
  auto& value = object[key(name)];
  if (!value.is_object()) value.emplace_object();
  return value.get_object();
}

json::array& list(json::object& object, std::string_view name) {
  auto& value = object[key(name)];
  if (!value.is_array()) value.emplace_array();
  return value.get_array();
}

}  // namespace workflow::engine
