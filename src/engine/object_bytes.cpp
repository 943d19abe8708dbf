#include "engine/object_bytes.h"

namespace workflow::engine {

namespace {

constexpr std::size_t per_allocation = 16;  // malloc's own
constexpr std::size_t short_text = 14;      // lives inside the value

std::size_t beyond(const json::value& value) {  // what a value holds outside itself
  if (const auto* text = value.if_string()) {
    return text->capacity() <= short_text ? 0 : text->capacity() + 2 * per_allocation;
  }
  if (const auto* array = value.if_array()) {
    if (array->capacity() == 0) return 0;
    std::size_t bytes = array->capacity() * sizeof(json::value) + 2 * per_allocation;
    for (const auto& item : *array) bytes += beyond(item);
    return bytes;
  }
  if (const auto* object = value.if_object()) return bytes_of(*object) - sizeof(json::object);
  return 0;
}

}  // namespace

std::size_t bytes_of(const json::value& value) { return sizeof(json::value) + beyond(value); }

std::size_t bytes_of(const json::object& object) {
  std::size_t bytes = sizeof(json::object);
  if (object.capacity() > 0) {
    constexpr std::size_t largest_without_buckets = 18, per_bucket = sizeof(std::uint32_t);
    bytes += object.capacity() * sizeof(json::key_value_pair) + 2 * per_allocation;
    if (object.capacity() > largest_without_buckets) bytes += object.capacity() * per_bucket;
  }
  for (const auto& [name, value] : object) bytes += name.size() + 1 + per_allocation + beyond(value);
  return bytes;
}

}  // namespace workflow::engine
