// src/engine/fields.h: reaching into Kubernetes objects (json::object), without copying.
#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "lib/json/json.h"

namespace workflow::engine {

// The value at a path; null when absent or JSON null.
const json::value* value_at(const json::object& object, std::initializer_list<std::string_view> path);
// "" , nullopt, false, and an empty container stand for absence and for another type.
std::string text_at(const json::object& object, std::initializer_list<std::string_view> path);
std::optional<std::int64_t> integer_at(const json::object& object, std::initializer_list<std::string_view> path);
bool flag_at(const json::object& object, std::initializer_list<std::string_view> path, bool fallback = false);
const json::object& object_at(const json::object& object, std::initializer_list<std::string_view> path);
const json::array& array_at(const json::object& object, std::initializer_list<std::string_view> path);

// For writing: makes the object (array) when it is absent, null, or of another type.
json::object& child(json::object& object, std::string_view key);
json::array& list(json::object& object, std::string_view key);

inline std::string_view view(const json::string& text) { return {text.data(), text.size()}; }
inline json::string_view key(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace workflow::engine
