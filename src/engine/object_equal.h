// src/engine/object_equal.h: whether two objects are the same, at the price of a look.
//   Boost.JSON 1.81 copies each member of an object before it compares it, all that is below it included: of a large
//   object with several levels that takes a hundred times as long.
#pragma once
#include "lib/json/json.h"

namespace workflow::engine {

bool is_same(const json::value& a, const json::value& b);
bool is_same(const json::object& a, const json::object& b);

}  // namespace workflow::engine
