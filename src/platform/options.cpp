#include "platform/options.h"

#include <arpa/inet.h>

#include <set>

#include "lib/base/domain.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::platform {
namespace {

struct PortOption {
  std::string_view name;
  int Options::* value;
  std::optional<int> OptionChanges::* change;
};
constexpr PortOption ports[] = {
    {"http-port", &Options::http_port, &OptionChanges::http_port},
    {"https-port", &Options::https_port, &OptionChanges::https_port},
    {"ssh-port", &Options::ssh_port, &OptionChanges::ssh_port},
    {"status-port", &Options::status_port, &OptionChanges::status_port},
    {"api-port", &Options::api_port, &OptionChanges::api_port},
};

// An IPv4 network with room for at least 62 addresses, written without host bits.
bool is_network(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return false;
  const auto bits = parse_integer(std::string_view(text).substr(slash + 1));
  in_addr address{};
  if (!bits || *bits < 8 || *bits > 26) return false;
  if (inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) != 1) return false;
  return (ntohl(address.s_addr) & ((1u << (32 - *bits)) - 1)) == 0;
}

}  // namespace

json::object to_json(const Options& options) {
  json::object build_env;
  for (const auto& [name, value] : options.build_env) build_env[name] = value;
  json::object out{{"domain", options.domain}, {"pod-cidr", options.pod_cidr}, {"service-cidr", options.service_cidr}};
  for (const auto& port : ports) out[port.name] = options.*port.value;
  out["build-env"] = std::move(build_env);
  return out;
}

Options options_from_json(const json::value& saved, std::filesystem::path state) {
  Options out;
  out.state = std::move(state);
  out.domain = find_string(saved, {"domain"}).value_or(out.domain);
  out.pod_cidr = find_string(saved, {"pod-cidr"}).value_or(out.pod_cidr);
  out.service_cidr = find_string(saved, {"service-cidr"}).value_or(out.service_cidr);
  for (const auto& port : ports) {
    if (auto value = find_integer(saved, {port.name})) out.*port.value = static_cast<int>(*value);
  }
  out.build_env = string_map(find_path(saved, {"build-env"}));
  return out;
}

Options merge(Options saved, const OptionChanges& changes) {
  Error::Fields problems;
  auto problem = [&](std::string_view option, std::string what) {
    problems["--" + std::string(option)].push_back(std::move(what));
  };
  if (changes.domain) {
    if (!DomainName::parse(*changes.domain) || changes.domain->starts_with("*")) {
      problem("domain", "must be a host name such as apps.example.com, not \"" + *changes.domain + "\"");
    }
    saved.domain = *changes.domain;
  }
  if (changes.pod_cidr) saved.pod_cidr = *changes.pod_cidr;
  if (changes.service_cidr) saved.service_cidr = *changes.service_cidr;
  if (!is_network(saved.pod_cidr)) problem("pod-cidr", "must be an IPv4 network such as 10.42.0.0/24");
  if (!is_network(saved.service_cidr)) problem("service-cidr", "must be an IPv4 network such as 10.43.0.0/24");
  if (saved.pod_cidr == saved.service_cidr) problem("service-cidr", "must differ from --pod-cidr");
  std::set<int> taken;
  for (const auto& port : ports) {
    if (const auto& change = changes.*port.change) saved.*port.value = *change;
    const int value = saved.*port.value;
    if (value < 1 || value > 65535) problem(port.name, "must be a port from 1 to 65535");
    if (!taken.insert(value).second) problem(port.name, "port " + std::to_string(value) + " is given twice");
  }
  for (const auto& setting : changes.build_env) {
    const auto equals = setting.find('=');
    const auto name = setting.substr(0, equals);
    if (equals == std::string::npos || !ConfigKey::parse(name)) {
      problem("build-env", "must be NAME=value, not \"" + name + "\"");
    } else if (equals + 1 == setting.size()) {
      saved.build_env.erase(name);
    } else {
      saved.build_env[name] = setting.substr(equals + 1);
    }
  }
  if (!problems.empty()) throw Error(std::move(problems));
  return saved;
}

std::vector<std::string> engine_command(const std::string& program, const Options& options) {
  auto moved = [](int service_port, int host_port) {
    return std::to_string(service_port) + "=" + std::to_string(host_port);
  };
  return {program,
          "engine",
          "--state",
          options.state.string(),
          "--api-port",
          std::to_string(options.api_port),
          "--pod-cidr",
          options.pod_cidr,
          "--service-cidr",
          options.service_cidr,
          "--load-balancer-port",
          moved(80, options.http_port),
          "--load-balancer-port",
          moved(443, options.https_port),
          "--load-balancer-port",
          moved(2222, options.ssh_port),
          "--load-balancer-port",
          moved(9090, options.status_port)};
}

std::filesystem::path settings_file(const std::filesystem::path& state) { return state / "settings.json"; }

Options load_options(const std::filesystem::path& state) {
  const auto text = find_file(settings_file(state));
  if (!text) {
    Options fresh;
    fresh.state = state;
    return fresh;
  }
  const auto saved = parse_json(*text);
  if (!saved) {
    throw Error(ErrorKind::invalid,
                settings_file(state).string() +
                    " is not JSON; restore it, or remove it and give the options of `workflow up` again");
  }
  return options_from_json(*saved, state);
}

void save_options(const Options& options) {
  // Build settings may hold credentials of a package registry.
  write_file_atomically(settings_file(options.state), print_json_pretty(to_json(options)), 0600);
}

}  // namespace workflow::platform
