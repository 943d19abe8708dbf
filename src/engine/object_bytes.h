// src/engine/object_bytes.h: how much memory an object takes, so that what is kept of objects can be bounded in bytes.
#pragma once
#include <cstddef>

#include "lib/json/json.h"

namespace workflow::engine {

// About as much as malloc gives for it. Linear in the number of values; long texts cost nothing.
std::size_t bytes_of(const json::value& value);
std::size_t bytes_of(const json::object& object);

}  // namespace workflow::engine
