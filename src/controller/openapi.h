// src/controller/openapi.h: the description of the API (OpenAPI 3.1), made from the routing table.
#pragma once
#include <vector>

#include "controller/api.h"

namespace workflow::controller {

// Schemas by name, from openapi_schemas.json.
const json::object& api_schemas();

json::object describe_api(const std::vector<Api::Described>& routes);

}  // namespace workflow::controller
