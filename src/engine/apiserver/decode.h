// src/engine/apiserver/decode.h: request bodies, checked against the schema of their type.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "engine/apiserver/schema.h"
#include "lib/json/json.h"

namespace workflow::engine {

// The same object with only what the type knows: nulls left out, quantities and numbers as Kubernetes prints them.
// Unknown fields go to `unknown` as paths ("spec.replicsa"). Throws ApiError 400 when a field has the wrong type.
json::object checked_against(const TypeSchema& type, const json::object& body, std::vector<std::string>& unknown);

// Paths of keys that occur twice in one object. The text is valid JSON.
std::vector<std::string> duplicate_fields(std::string_view text);

}  // namespace workflow::engine
