// src/engine/apiserver/openapi.h: the schema as OpenAPI documents: v3 per group for kubectl 1.24 and newer, v2 for
// older ones.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lib/json/json.h"

namespace workflow::engine {

json::object openapi_v3_index();
// `path`: "api/v1" or "apis/<group>/<version>". nullopt when not served.
std::optional<std::string> openapi_v3(std::string_view path);
const std::string& openapi_v2_json();
const std::string& openapi_v2_protobuf();  // gnostic's openapi.v2.Document

}  // namespace workflow::engine
