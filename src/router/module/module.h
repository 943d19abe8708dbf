// src/router/module/module.h: what the parts of the nginx module share.
#pragma once
extern "C" {
#include <ngx_config.h>
// First of all.
#include <ngx_channel.h>
#include <ngx_core.h>
#include <ngx_http.h>
}

#include <string_view>

#include "router/module/tables.h"

namespace workflow::router::module {

inline std::string_view view(const ngx_str_t& text) { return {reinterpret_cast<const char*>(text.data), text.len}; }
ngx_str_t copy(ngx_pool_t* pool, std::string_view text);

// What was decided for a request. Texts are the request's own: the table may be replaced while it lasts.
struct Decision {
  ngx_str_t app_name, host, backend, hsts, referrer_policy;
  ngx_str_t request_id;  // empty: the operator wants none
  const char* scheme;    // as the client sees it
  ngx_str_t port;
  bool websocket, request_start, platform, logged, affinity;
  ngx_http_upstream_conf_t* upstream;  // the proxying with the app's own limits; set in the balancer
  std::uint64_t endpoint;              // hash of the one in use, for the cookie of session affinity
  std::uint64_t wanted_endpoint;       // that the client's cookie names; 0: none
};
Decision* decision_of(ngx_http_request_t* request);

Tables* tables();          // null outside of workers
int certificate_folder();  // open

// nginx's regular expressions, compiled once each.
table::Regexes& regexes();

// `router_peers;` of an upstream block.
char* set_router_peers(ngx_conf_t* conf, ngx_command_t* command, void* unused);

// Chooses certificates by name in every TLS server.
ngx_int_t choose_certificates_in(ngx_conf_t* conf);

}  // namespace workflow::router::module
