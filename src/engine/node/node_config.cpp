#include "engine/node/node_config.h"

#include <unistd.h>

#include "lib/base/text.h"

namespace workflow::engine {

namespace fs = std::filesystem;

namespace {

std::string host_label() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  std::string label;
  for (const char c : lower(name)) label += (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ? c : '-';
  while (!label.empty() && label.front() == '-') label.erase(0, 1);
  label = label.substr(0, 63);
  while (!label.empty() && label.back() == '-') label.pop_back();
  return label.empty() ? "node" : label;
}

}  // namespace

NodeConfig node_config(const fs::path& state, std::string_view pod_cidr, std::string_view service_cidr) {
  NodeConfig config;
  config.state = fs::absolute(state).lexically_normal();
  config.node_name = host_label();
  config.network = network_config(config.state, pod_cidr, service_cidr);
  config.registry_service = "deis/deis-registry";
  return config;
}

}  // namespace workflow::engine
