// src/platform/options.h: how the platform on this machine is to run.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/json/json.h"

namespace workflow::platform {

struct Options {
  std::filesystem::path state = "/var/lib/workflow";
  std::string domain = "localhost";
  int http_port = 80, https_port = 443, ssh_port = 2222, status_port = 9090;
  int api_port = 6443;
  std::string pod_cidr = "10.42.0.0/24", service_cidr = "10.43.0.0/24";
  std::map<std::string, std::string> build_env;
  bool operator==(const Options&) const = default;
};

// What the command line said; absent means "as it was", or the default on the first start.
struct OptionChanges {
  std::optional<std::string> domain, pod_cidr, service_cidr;
  std::optional<int> http_port, https_port, ssh_port, status_port, api_port;
  std::vector<std::string> build_env;  // NAME=value; "NAME=" removes it
};

json::object to_json(const Options& options);
Options options_from_json(const json::value& saved, std::filesystem::path state);

// Throws one `invalid` that lists every bad option.
Options merge(Options saved, const OptionChanges& changes);

// `workflow engine` with everything that the options say.
std::vector<std::string> engine_command(const std::string& program, const Options& options);

std::filesystem::path settings_file(const std::filesystem::path& state);
Options load_options(const std::filesystem::path& state);  // defaults when there is no file yet
void save_options(const Options& options);

}  // namespace workflow::platform
