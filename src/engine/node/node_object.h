// src/engine/node/node_object.h: this machine as a Node object.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/node/node_config.h"
#include "lib/json/json.h"

namespace workflow::engine {

json::object node_object(const NodeConfig& config, const std::string& runtime_version);
std::uint64_t memory_of_machine(std::string_view field);  // of /proc/meminfo, in bytes

}  // namespace workflow::engine
