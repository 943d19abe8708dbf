// src/engine/proxy/dns_server.h: answers pods' DNS queries; others' names are asked upstream.
#pragma once
#include <string>
#include <vector>

#include "engine/proxy/dns_names.h"
#include "lib/async/task.h"

namespace workflow::engine::dns {

struct ServerConfig {
  std::string address;                // UDP and TCP, port 53
  std::vector<std::string> upstream;  // addresses; empty: every other name is unknown
};
// Name servers of /etc/resolv.conf text.
std::vector<std::string> parse_resolv_conf(std::string_view text);

// Until cancelled. Throws unavailable when the address cannot be bound.
Task<> serve(ServerConfig config, const Zone& zone);

}  // namespace workflow::engine::dns
