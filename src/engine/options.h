// src/engine/options.h: the engine's command line.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

namespace workflow::engine {

struct Options {
  std::filesystem::path state = "/var/lib/workflow";  // absolute
  std::uint16_t api_port = 6443;
  std::string pod_cidr = "10.42.0.0/24", service_cidr = "10.43.0.0/24";
  std::map<std::uint16_t, std::uint16_t> load_balancer_ports;  // Service port → host port
  std::string containerd = "containerd";
  bool teardown = false;
  bool api_only =
      false;  // the API and the controllers, without pods: for tests and for looking at a copy of a state folder
};
// Prints help or what is wrong, and returns the exit status, when there is nothing to run.
struct ParsedOptions {
  std::optional<Options> options;
  int status = 0;
};
ParsedOptions parse_options(int argc, char** argv);

}  // namespace workflow::engine
