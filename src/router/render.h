// src/router/render.h: what nginx fixes when it reads its configuration. Apps are not in it: see encode.h.
#pragma once
#include <cstdint>
#include <string>

#include "router/model.h"

namespace workflow::router {

// What this process knows of its surroundings.
struct Runtime {
  std::string folder;  // absolute: pid, temporary files, certificates
  std::uint16_t http_port = 8080, https_port = 6443, builder_port = 2222, status_port = 9090;
  int workers = 1, connections_per_worker = 768;
  std::string router_module = "/usr/lib/nginx/modules/ngx_http_router_module.so";
  std::string stream_module = "/usr/lib/nginx/modules/ngx_stream_module.so";
  std::string access_log = "/dev/stdout";  // or "off"
  std::string fallback_certificate;        // id of the self-signed one
};

std::string certificate_file(const Runtime& runtime, const std::string& id);
std::string dhparam_file(const Runtime& runtime, const std::string& pem);

// Equal models make equal texts. The text names its own version; see version_of.
std::string render(const Model& model, const Runtime& runtime);
// What GET /version on the status port answers once nginx works with `text`.
std::string version_of(const std::string& text);

}  // namespace workflow::router
