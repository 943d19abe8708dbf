#include "controller/cluster/spec.h"

#include <algorithm>
#include <cmath>

#include "lib/base/text.h"

namespace workflow::controller::cluster {

namespace {
const ProcessType web = *ProcessType::parse("web");
const ProcessType cmd = *ProcessType::parse("cmd");

bool is_digits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "64M", "64MB", "1gb", "100B" → 64Mi, 64Mi, 1Gi, 100. Without a unit only a 0 is something, and only by itself or as
// what is requested.
std::optional<std::string> memory_quantity(std::string_view text) {
  const auto unit_at = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = text.substr(0, unit_at);
  const auto unit = lower(text.substr(unit_at));
  if (!is_digits(number) || number.size() > 15) return std::nullopt;
  if (unit == "b") return std::string(number);
  for (const char letter : {'k', 'm', 'g'}) {
    if (unit != std::string(1, letter) && unit != std::string{letter, 'b'}) continue;
    return std::string(number) + static_cast<char>(letter - 'a' + 'A') + "i";
  }
  return std::nullopt;
}

std::optional<std::string> requested_memory(std::string_view text) {
  return text == "0" ? std::optional<std::string>("0") : memory_quantity(text);
}

// "1", "0.25", ".5", "500m"
std::optional<std::string> cpu_quantity(std::string_view text) {
  auto number = text;
  const bool milli = !number.empty() && (number.back() == 'm' || number.back() == 'M');
  if (milli) number.remove_suffix(1);
  const auto dot = number.find('.');
  const auto whole = number.substr(0, dot);
  const auto part = dot == std::string_view::npos ? std::string_view() : number.substr(dot + 1);
  if (number.size() > 12 || (!whole.empty() && !is_digits(whole)) || (!part.empty() && !is_digits(part)))
    return std::nullopt;
  if (dot == std::string_view::npos ? whole.empty() : part.empty()) return std::nullopt;
  return (whole.empty() ? "0" : "") + std::string(number) + (milli ? "m" : "");
}

using Quantity = std::optional<std::string> (*)(std::string_view);

// <limit> or <request>/<limit>
std::optional<Limit> limit_from(std::string_view text, Quantity first, Quantity second) {
  const auto slash = text.find('/');
  Limit limit;
  if (slash != std::string_view::npos) {
    const auto request = first(text.substr(0, slash));
    if (!request) return std::nullopt;
    limit.request = *request;
    text = text.substr(slash + 1);
  }
  const auto value = (slash == std::string_view::npos ? first : second)(text);
  if (!value) return std::nullopt;
  limit.limit = *value;
  return limit;
}
}  // namespace

Settings Settings::from(Env& env) {
  Settings s;
  s.slugrunner_image = env.text("SLUGRUNNER_IMAGE", "localhost/workflow/stack:latest");
  s.image_pull_policy = env.text("IMAGE_PULL_POLICY", "IfNotPresent");
  s.deploy_batches = static_cast<int>(env.integer("DEIS_DEPLOY_BATCHES", 0, 0, 1000));
  s.deploy_timeout_seconds = static_cast<int>(env.integer("DEIS_DEPLOY_TIMEOUT", 120, 1, 86400));
  s.revision_history = static_cast<int>(env.integer("KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT", 10, 0, 1000));
  s.termination_grace_seconds =
      static_cast<int>(env.integer("KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS", 30, 0, 86400));
  s.namespace_quota = env.text("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", "");
  if (const auto quota = parse_json(s.namespace_quota); !s.namespace_quota.empty() && (!quota || !quota->is_object())) {
    env.problem("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC",
                "must be a JSON object such as {\"spec\":{\"hard\":{\"pods\":\"10\"}}}");
  }
  s.ignore_scheduling_failure = env.flag("DEIS_IGNORE_SCHEDULING_FAILURE", false);
  s.expose_pod_ip = env.flag("DEIS_EXPOSE_POD_IP", false);
  s.debug = env.flag("DEIS_DEBUG", false);
  s.native_ingress = env.flag("NATIVE_INGRESS", false);
  s.ingress_hostname = env.text("NATIVE_INGRESS_HOSTNAME", "");
  if (s.native_ingress && !DomainName::parse(s.ingress_hostname)) {
    env.problem("NATIVE_INGRESS_HOSTNAME", "must be the domain below which apps answer, such as apps.example.com");
  }
  const auto location = env.text("DEIS_REGISTRY_LOCATION", "on-cluster");
  const std::map<std::string, RegistryLocation> locations{{"on-cluster", RegistryLocation::on_cluster},
                                                          {"off-cluster", RegistryLocation::off_cluster},
                                                          {"ecr", RegistryLocation::ecr},
                                                          {"gcr", RegistryLocation::gcr}};
  if (const auto known = locations.find(location); known != locations.end())
    s.registry_location = known->second;
  else
    env.problem("DEIS_REGISTRY_LOCATION", "must be on-cluster, off-cluster, ecr or gcr, not \"" + location + "\"");
  s.pull_secret_prefix = env.text("DEIS_REGISTRY_SECRET_PREFIX", "private-registry");
  if (!DomainName::parse(s.pull_secret_prefix) || s.pull_secret_prefix.size() > 200)
    env.problem("DEIS_REGISTRY_SECRET_PREFIX", "must be the beginning of a Secret's name, such as private-registry");
  s.platform_namespace = env.text("WORKFLOW_NAMESPACE", env.text("POD_NAMESPACE", "deis"));
  s.router_port = static_cast<std::uint16_t>(env.integer("ROUTER_HEALTH_PORT", 9091, 1, 65535));
  s.router_deadline = env.duration("ROUTER_DEADLINE", s.router_deadline);
  s.drain = std::chrono::ceil<std::chrono::seconds>(env.duration("APP_DRAIN_TIME", std::chrono::seconds(2)));
  return s;
}

std::optional<Limit> memory_limit(std::string_view text) { return limit_from(text, requested_memory, memory_quantity); }
std::optional<Limit> cpu_limit(std::string_view text) { return limit_from(text, cpu_quantity, cpu_quantity); }

std::optional<ProcessType> routed_type(const ReleaseSpec& release) {
  for (const auto& type : {web, cmd}) {
    const auto found = release.processes.find(type);
    if (found != release.processes.end() && (found->second.replicas > 0 || found->second.autoscaled)) return type;
  }
  // Nothing runs: what would be routed once scaled up.
  for (const auto& type : {web, cmd}) {
    if (release.processes.contains(type)) return type;
  }
  return std::nullopt;
}

std::optional<int> port_of(const ReleaseSpec& release) {
  if (const auto found = release.config.find("PORT"); found != release.config.end()) {
    const auto port = parse_integer(trim(found->second));
    if (port && *port >= 1 && *port <= 65535) return static_cast<int>(*port);
  }
  if (release.build == BuildKind::slug) return 5000;
  return release.port;
}

std::map<ProcessType, int> default_structure(BuildKind build, const std::vector<ProcessType>& procfile_types) {
  if (std::find(procfile_types.begin(), procfile_types.end(), web) != procfile_types.end()) return {{web, 1}};
  if (build != BuildKind::slug) return {{cmd, 1}};
  if (!procfile_types.empty()) return {};
  return {{web, 1}};
}

}  // namespace workflow::controller::cluster
