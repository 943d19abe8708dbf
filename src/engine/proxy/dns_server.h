// src/engine/proxy/dns_server.h: answers pods' DNS queries; others' names are asked upstream.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/proxy/dns_names.h"
#include "lib/async/task.h"

namespace workflow {
class Supervisor;
}

namespace workflow::engine::dns {

struct ServerConfig {
  std::string address;  // UDP and TCP
  std::uint16_t port = 53;
  std::vector<std::string> upstream;  // addresses; empty: every other name is unknown
};
// Name servers of /etc/resolv.conf text.
std::vector<std::string> parse_resolv_conf(std::string_view text);

// Until cancelled. Throws unavailable when the address cannot be bound; once it is, `supervisor` keeps it going.
Task<> serve(ServerConfig config, const Zone& zone, Supervisor& supervisor);

}  // namespace workflow::engine::dns
