// src/router/traffic.h: what was counted of each app's requests, as Prometheus text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "router/table/traffic.h"

namespace workflow::router {

// Of the apps of these labels, if they had requests, and of those that found no place together, as "".
std::string traffic_text(const table::Traffic& traffic, const std::vector<std::string_view>& labels);

}  // namespace workflow::router
