// src/engine/apiserver/discovery.h: what is served, as kubectl asks before anything else. Pure.
#pragma once
#include <string>

#include "lib/json/json.h"

namespace workflow::engine {

json::object api_versions(const std::string& address);                                 // GET /api
json::object api_group_list();                                                         // GET /apis
json::object api_group(const std::string& group);                                      // GET /apis/<group>
json::object api_resource_list(const std::string& group, const std::string& version);  // GET /apis/<group>/<version>
// The whole of it in one document: of the core group, or of all others.
enum class Discovery { core, named };
json::object aggregated_discovery(Discovery which, const std::string& version);
json::object version_info();

}  // namespace workflow::engine
