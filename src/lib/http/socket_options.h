// src/lib/http/socket_options.h: what every connection of ours sets. Inside lib/http only.
#pragma once
#include <boost/asio/ip/tcp.hpp>

#include "lib/async/task.h"

namespace workflow::http {

// No delay for small messages; and a peer that vanished (power cut, unplugged) is noticed within a minute.
void set_options(asio::ip::tcp::socket& socket);

}  // namespace workflow::http
