// src/engine/apiserver/request_info.h: what a request asks for, read from its method, path and query. Pure.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lib/http/http.h"

namespace workflow::engine {

struct RequestInfo {
  bool is_resource = false;
  std::string path;  // of everything else
  std::string verb;  // get, list, watch, create, update, patch, delete, deletecollection
  std::string group, version, ns, plural, name, subresource;
};
// nullopt when the path is not percent-encoded properly, or has an empty segment in a resource's path.
std::optional<RequestInfo> request_info(std::string_view method, std::string_view raw_path, const http::Query& query);

}  // namespace workflow::engine
