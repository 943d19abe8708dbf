// src/router/module/module.h: what the parts of the nginx module share.
#pragma once
extern "C" {
#include <ngx_config.h>
// First of all.
#include <ngx_channel.h>
#include <ngx_core.h>
#include <ngx_http.h>
}

#include <cstdint>
#include <span>
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
  std::uint64_t body_limit;            // 0: any
  ngx_http_upstream_conf_t* upstream;  // the proxying with the app's own limits; set in the balancer
  std::uint64_t endpoint;              // hash of the one in use, for the cookie of session affinity
  std::uint64_t wanted_endpoint;       // that the client's cookie names; 0: none
};
Decision* decision_of(ngx_http_request_t* request);

Tables* tables();          // null outside of workers
int certificate_folder();  // open

// Of headers: the last one of that name; of cookies: the first one.
std::string_view find_header(ngx_http_request_t* request, std::string_view lower_name);
std::string_view find_cookie(ngx_http_request_t* request, std::string_view name);
bool equal_ignoring_case(std::string_view a, std::string_view b);
std::span<const std::uint8_t> address_of(const sockaddr* address);  // of 4 or 16 bytes

// Makes what workers share to count the requests of clients, once; false: there is no memory.
bool make_limits();
// 0: the app's client may make a request, which is counted.
std::uint64_t microseconds_to_wait(ngx_http_request_t* request, const table::Table& table, const table::App& app);
bool is_user(ngx_http_request_t* request, const table::Table& table, const table::App& app);
// Who answers instead of the app itself, or null.
const table::Backend* find_canary(ngx_http_request_t* request, const table::Table& table, const table::App& app);

// nginx's regular expressions, compiled once each.
table::Regexes& regexes();

// `router_peers;` of an upstream block.
char* set_router_peers(ngx_conf_t* conf, ngx_command_t* command, void* unused);

// Chooses certificates by name in every TLS server.
ngx_int_t choose_certificates_in(ngx_conf_t* conf);

}  // namespace workflow::router::module
