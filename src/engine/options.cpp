#include "engine/options.h"

#include <CLI/CLI.hpp>
#include <cstdio>

#include "lib/base/text.h"

namespace workflow::engine {

namespace {

std::optional<std::pair<std::uint16_t, std::uint16_t>> moved_port(const std::string& text) {
  const auto equals = text.find('=');
  if (equals == std::string::npos) return std::nullopt;
  const auto from = parse_integer(text.substr(0, equals)), to = parse_integer(text.substr(equals + 1));
  const auto is_port = [](const std::optional<std::int64_t>& n) { return n && *n >= 1 && *n <= 65535; };
  if (!is_port(from) || !is_port(to)) return std::nullopt;
  return std::pair(static_cast<std::uint16_t>(*from), static_cast<std::uint16_t>(*to));
}

}  // namespace

ParsedOptions parse_options(int argc, char** argv) {
  Options options;
  CLI::App app{"Runs the single-machine Kubernetes in the foreground"};
  std::string state = options.state.string();
  std::vector<std::string> moves;
  app.add_option("--state", state, "folder of everything that the engine keeps")->capture_default_str();
  app.add_option("--api-port", options.api_port, "port of the Kubernetes API")
      ->capture_default_str()
      ->check(CLI::Range(1, 65535));
  app.add_option("--pod-cidr", options.pod_cidr, "network of pods")->capture_default_str();
  app.add_option("--service-cidr", options.service_cidr, "network of Services")->capture_default_str();
  app.add_option("--load-balancer-port", moves, "80=8080: port 80 of LoadBalancer Services is 8080 on this host");
  app.add_option("--containerd", options.containerd, "the containerd program")->capture_default_str();
  app.add_flag("--teardown", options.teardown, "remove what a stopped engine left on the machine; its state stays");
  app.add_flag("--api-only", options.api_only, "serve the API and run the controllers, but no pods; needs no root");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return {std::nullopt, app.exit(error)};
  }
  options.state = std::filesystem::absolute(state).lexically_normal();
  for (const auto& move : moves) {
    const auto ports = moved_port(move);
    if (!ports) {
      std::fprintf(stderr, "--load-balancer-port: must be PORT=PORT, such as 80=8080, not \"%s\"\n", move.c_str());
      return {std::nullopt, 2};
    }
    options.load_balancer_ports.insert_or_assign(ports->first, ports->second);
  }
  return {options, 0};
}

}  // namespace workflow::engine
