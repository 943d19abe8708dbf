// src/cli/proxy.h: which HTTP proxy a request takes, by the variables that curl, git and Go programs read too.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/settings.h"
#include "lib/http/http.h"

namespace workflow::cli {

struct Proxies {
  std::string for_http, for_https;  // http_proxy, https_proxy
  std::string exceptions;  // no_proxy: hosts, .domains, addresses, networks, each perhaps with a port; "*" is all
  bool operator==(const Proxies&) const = default;
  static Proxies from(const Env& env);  // of two spellings, the one in capitals
};

// What the variable says; nullopt: directly. This machine is always reached directly: localhost, names below it,
// loopback addresses.
std::optional<std::string> proxy_for(const Proxies& proxies, const http::Url& target);

// "http://user:password@proxy.example.com:3128", "proxy:3128". Throws invalid, without the password.
http::Proxy parse_proxy(std::string_view text);

}  // namespace workflow::cli
