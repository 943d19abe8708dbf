#include "engine/apiserver/request_info.h"

#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::engine {

namespace {

bool wants(const http::Query& query, std::string_view name) {
  const auto value = query.find(name);
  return value && (*value == "true" || *value == "1");
}

std::string verb_of(std::string_view method, bool named, const http::Query& query) {
  if (method == "POST") return "create";
  if (method == "PUT") return "update";
  if (method == "PATCH") return "patch";
  if (method == "DELETE") return named ? "delete" : "deletecollection";
  if (wants(query, "watch")) return "watch";
  return named ? "get" : "list";
}

}  // namespace

std::optional<RequestInfo> request_info(std::string_view method, std::string_view raw_path, const http::Query& query) {
  std::vector<std::string> parts;
  for (const auto& part : split(raw_path.starts_with('/') ? raw_path.substr(1) : raw_path, '/')) {
    auto decoded = percent_decode(part);
    if (!decoded) return std::nullopt;
    parts.push_back(std::move(*decoded));
  }
  if (!parts.empty() && parts.back().empty()) parts.pop_back();  // a slash at the end
  RequestInfo info;
  info.path = "/" + join(parts, "/");
  std::size_t at = 0;
  if (parts.size() >= 3 && parts[0] == "api") {
    info.version = parts[1];
    at = 2;
  } else if (parts.size() >= 4 && parts[0] == "apis") {
    info.group = parts[1];
    info.version = parts[2];
    at = 3;
  } else {
    info.verb = lower(method);
    return info;
  }
  info.is_resource = true;
  bool old_watch = false;
  if (parts[at] == "watch" && parts.size() > at + 1) {  // /api/v1/watch/…, as clients of long ago ask
    old_watch = true;
    ++at;
  }
  // namespaces/<ns>/<plural>… is namespaced; namespaces, namespaces/<name> and its subresources are about Namespaces.
  if (parts[at] == "namespaces" && parts.size() > at + 2 && parts[at + 2] != "status" && parts[at + 2] != "finalize") {
    info.ns = parts[at + 1];
    at += 2;
  }
  info.plural = parts[at];
  // What is behind …/proxy is somebody else's path.
  if (parts.size() > at + 3 && parts[at + 2] == "proxy") parts.resize(at + 3);
  for (const auto& part : parts) {
    if (part.empty()) return std::nullopt;
  }
  if (parts.size() > at + 1) info.name = parts[at + 1];
  if (parts.size() > at + 2) info.subresource = parts[at + 2];
  if (parts.size() > at + 3)
    info.subresource = join({parts.begin() + static_cast<std::ptrdiff_t>(at) + 2, parts.end()}, "/");
  info.verb = old_watch ? "watch" : verb_of(method, !info.name.empty(), query);
  return info;
}

}  // namespace workflow::engine
