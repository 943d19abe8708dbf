// src/engine/node/node_config.h: the settings of a node agent, which all its parts read.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "engine/proxy/network.h"

namespace workflow::engine {

struct NodeConfig {
  std::filesystem::path state;  // absolute
  std::string node_name;        // default: the host's name, made a DNS label
  NetworkConfig network;
  std::string service_account_ca_pem;  // ca.crt of the automatic service account volume
  std::filesystem::path cni_bin = "/usr/lib/cni";
  std::filesystem::path containerd = "containerd", runc = "runc", ctr = "ctr";  // looked up in PATH
  std::string registry_host = "localhost:5555";  // images of this host are pulled over plain HTTP …
  std::optional<std::string> registry_service;   // … from this `namespace/service`, default deis/deis-registry
  std::uint64_t log_max_bytes = 10u << 20;       // a container's log is rotated at this size …
  int log_max_files = 5;                         // … and so many are kept
};
// A default configuration for a state folder: what teardown needs, and the base of a running engine's.
NodeConfig node_config(const std::filesystem::path& state, std::string_view pod_cidr, std::string_view service_cidr);

}  // namespace workflow::engine
