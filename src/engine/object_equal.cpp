#include "engine/object_equal.h"

#include <algorithm>

namespace workflow::engine {

bool is_same(const json::value& a, const json::value& b) {
  if (a.is_object() && b.is_object()) return is_same(a.get_object(), b.get_object());
  if (a.is_array() && b.is_array()) {
    const auto &one = a.get_array(), &other = b.get_array();
    return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                      [](const json::value& x, const json::value& y) { return is_same(x, y); });
  }
  return a == b;
}

bool is_same(const json::object& a, const json::object& b) {
  return a.size() == b.size() && std::all_of(a.begin(), a.end(), [&b](const json::key_value_pair& member) {
           const auto* other = b.if_contains(member.key());
           return other != nullptr && is_same(member.value(), *other);
         });
}

}  // namespace workflow::engine
