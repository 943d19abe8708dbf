// src/lib/http/resolve.h: the addresses of a name. Inside lib/http, and for libraries that connect by themselves.
//   /etc/hosts, then the name servers of /etc/resolv.conf with its search list, ndots and options, as the C library
//   does; names under `localhost` are this machine (RFC 6761, section 6.3). Look-ups run side by side, each with
//   questions of its own, and one that is cancelled is gone at once: a name server that does not answer holds up nobody
//   else.
#pragma once
#include <boost/asio/ip/tcp.hpp>
#include <string>
#include <vector>

#include "lib/async/task.h"

namespace workflow::http {

// Throws unavailable: no such name, no answer, or too many look-ups at once. The caller sets the deadline.
Task<std::vector<asio::ip::tcp::endpoint>> resolve(std::string host, std::uint16_t port);

}  // namespace workflow::http
