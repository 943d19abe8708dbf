#include "controller/cluster/release_objects.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <sstream>

#include "controller/cluster/app_objects.h"
#include "controller/cluster/turnover.h"
#include "lib/base/encoding.h"
#include "lib/base/image_name.h"
#include "lib/base/text.h"
#include "lib/kube/literal.h"
#include "lib/kube/names.h"
#include "lib/kube/objects.h"

namespace workflow::controller::cluster {

namespace {
namespace resources = kube::resources;
using std::chrono::seconds;

std::optional<std::string> config_of(const ReleaseSpec& release, const std::string& key) {
  const auto found = release.config.find(key);
  return found == release.config.end() || trim(found->second).empty() ? std::nullopt : std::optional(found->second);
}

// A number from the app's config, else the platform's.
int config_number(const ReleaseSpec& release, const std::string& key, int fallback) {
  const auto text = config_of(release, key);
  const auto number = text ? parse_integer(trim(*text)) : std::nullopt;
  return number && *number >= 0 && *number <= 1'000'000 ? static_cast<int>(*number) : fallback;
}

bool config_flag(const ReleaseSpec& release, const std::string& key, bool fallback) {
  const auto text = config_of(release, key);
  if (!text) return fallback;
  const auto value = lower(trim(*text));
  return value == "true" || value == "1" || value == "yes";
}

const ProcessSpec& process_of(const ReleaseSpec& release, const ProcessType& type) {
  const auto found = release.processes.find(type);
  WF_CHECK(found != release.processes.end());
  return found->second;
}

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

struct Command {
  std::vector<std::string> command, args;
};

// An image's own entry point runs `cmd`, unless a Procfile says otherwise.
bool runs_entry_point(const ReleaseSpec& release, const ProcessType& type) {
  return release.build != BuildKind::slug && type.text() == "cmd";
}

Command command_for(const ReleaseSpec& release, const ProcessType& type) {
  if (release.build == BuildKind::slug) return {{"/runner/init"}, {"start", type.text()}};
  const auto& line = process_of(release, type).command;
  if (runs_entry_point(release, type)) return {{}, words_of(line)};
  return {{"/bin/bash", "-c"}, {line}};
}

Command run_command_for(const ReleaseSpec& release, const std::string& command) {
  if (release.build == BuildKind::slug) return {{"/runner/init"}, {command}};
  return {{"/bin/bash", "-c"}, {command}};
}

void put_command(json::object& container, const Command& command) {
  auto words = [](const std::vector<std::string>& texts) {
    json::array array;
    for (const auto& text : texts) array.emplace_back(kube::literal(text));
    return array;
  };
  if (!command.command.empty()) container["command"] = words(command.command);
  if (!command.args.empty()) container["args"] = words(command.args);
}

json::object secret_reference(const std::string& variable, const std::string& secret, const std::string& key) {
  return {{"name", variable}, {"valueFrom", {{"secretKeyRef", {{"name", secret}, {"key", key}}}}}};
}

json::array env_of(const Settings& settings, const ReleaseSpec& release) {
  std::map<std::string, json::object> entries;  // sorted by name
  for (const auto& [name, value] : environment_of(release)) {
    entries[name] = secret_reference(name, env_secret_name(release), name);
  }
  if (release.slug_url) {
    entries.try_emplace("SLUG_URL",
                        secret_reference("SLUG_URL", slug_secret_name(release.app), release.version.text()));
  }
  if (config_flag(release, "DEIS_EXPOSE_POD_IP", settings.expose_pod_ip)) {
    entries.try_emplace(
        "POD_IP", json::object{{"name", "POD_IP"}, {"valueFrom", {{"fieldRef", {{"fieldPath", "status.podIP"}}}}}});
  }
  if (settings.debug) entries.try_emplace("DEIS_DEBUG", json::object{{"name", "DEIS_DEBUG"}, {"value", "1"}});
  json::array env;
  for (auto& [name, entry] : entries) env.push_back(std::move(entry));
  return env;
}

std::optional<json::object> resources_of(const ProcessSpec& process) {
  json::object requests;
  json::object limits;
  const auto put = [&](const char* name, const Limit& limit) {
    if (!limit.request.empty()) requests[name] = limit.request;
    if (!limit.limit.empty()) limits[name] = limit.limit;
  };
  put("memory", process.memory);
  put("cpu", process.cpu);
  if (requests.empty() && limits.empty()) return std::nullopt;
  json::object result;
  if (!requests.empty()) result["requests"] = std::move(requests);
  if (!limits.empty()) result["limits"] = std::move(limits);
  return result;
}

// A configured probe; an httpGet or tcpSocket without a port means the app's port, and the words of a command are what
// they are.
json::value probe_for(json::value probe, std::optional<int> port) {
  if (const auto* words = find_path(probe, {"exec", "command"}); words != nullptr && words->is_array()) {
    json::array literal;
    for (const auto& word : words->get_array())
      literal.push_back(word.is_string() ? json::value(kube::literal(std::string(word.get_string()))) : word);
    probe.get_object()["exec"].get_object()["command"] = std::move(literal);
  }
  for (const auto* kind : {"httpGet", "tcpSocket"}) {
    auto* check = probe.is_object() ? probe.get_object().if_contains(kind) : nullptr;
    if (check == nullptr || !check->is_object()) continue;
    auto& number = check->get_object()["port"];
    if (number.is_null() && port) number = *port;
    if (number.is_string()) {
      if (const auto parsed = parse_integer(std::string_view(number.get_string()))) number = *parsed;
    }
  }
  return probe;
}

void put_probes(json::object& container, const AppSpec& app, const ReleaseSpec& release, const ProcessType& type) {
  const auto& configured = process_of(release, type).healthcheck;
  const auto port = port_of(release);
  for (const auto* kind : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    const auto* probe = configured.if_contains(kind);
    if (probe != nullptr && probe->is_object() && !probe->get_object().empty())
      container[kind] = probe_for(*probe, port);
  }
  const bool any = container.contains("livenessProbe") || container.contains("readinessProbe");
  if (any || !port || !is_routed(app, type)) return;
  // Whether it listens is asked each second until it does, then at the original's pace. Who never listens is not
  // killed: the deploy's own deadline ends it.
  const json::object listens{{"port", *port}};
  container["startupProbe"] = {{"tcpSocket", listens},
                               {"initialDelaySeconds", 0},
                               {"timeoutSeconds", 5},
                               {"periodSeconds", 1},
                               {"failureThreshold", std::numeric_limits<std::int32_t>::max()}};
  container["readinessProbe"] = {{"tcpSocket", listens}, {"initialDelaySeconds", 0}, {"timeoutSeconds", 5},
                                 {"periodSeconds", 5},   {"successThreshold", 1},    {"failureThreshold", 2}};
}

int grace_of(const Settings& settings, const ReleaseSpec& release, const ProcessSpec& process) {
  if (process.termination_grace_seconds) return *process.termination_grace_seconds;
  return config_number(release, "KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS", settings.termination_grace_seconds);
}

// A stopping pod leaves the endpoints at once, but routers learn of it a moment later: it serves until they did. At
// most half of the grace period, which the hook counts towards.
json::object lifecycle_of(const Settings& settings, const AppSpec& app, const ReleaseSpec& release,
                          const ProcessType& type) {
  const auto& process = process_of(release, type);
  json::object lifecycle;
  if (!process.post_start.empty()) {
    lifecycle["postStart"] = {{"exec", {{"command", {"/bin/bash", "-c", process.post_start}}}}};
  }
  const auto drain = std::min<std::int64_t>(settings.drain.count(), grace_of(settings, release, process) / 2);
  const bool drains = is_reachable(app, type) && drain > 0;
  if (!process.pre_stop.empty()) {
    const auto text = drains ? "sleep " + std::to_string(drain) + "\n" + process.pre_stop : process.pre_stop;
    lifecycle["preStop"] = {{"exec", {{"command", {"/bin/bash", "-c", text}}}}};
  } else if (drains) {
    lifecycle["preStop"] = {{"exec", {{"command", {"/bin/sleep", std::to_string(drain)}}}}};
  }
  return lifecycle;
}

json::object container_for(const Settings& settings, const ReleaseSpec& release, const std::string& name) {
  return {{"name", name},
          {"image", release.build == BuildKind::slug ? settings.slugrunner_image : release.image},
          {"imagePullPolicy", config_of(release, "IMAGE_PULL_POLICY").value_or(settings.image_pull_policy)},
          {"env", env_of(settings, release)}};
}

json::object pod_spec_for(const Settings& settings, const ReleaseSpec& release, const ProcessSpec& process,
                          std::string_view restart_policy, json::object container) {
  json::object spec{{"restartPolicy", restart_policy},
                    {"automountServiceAccountToken", false},
                    {"terminationGracePeriodSeconds", grace_of(settings, release, process)}};
  if (!release.tags.empty()) spec["nodeSelector"] = kube::to_json(release.tags);
  if (release.registry)
    spec["imagePullSecrets"] = {{{"name", pull_secret_name(release)}}};
  else if (!release.kept_pull_secret.empty())
    spec["imagePullSecrets"] = {{{"name", release.kept_pull_secret}}};
  spec["containers"] = json::array{std::move(container)};
  return spec;
}

kube::Labels pod_labels(const ReleaseSpec& release, const std::string& type) {
  auto labels = app_labels(release.app);
  labels["type"] = type;
  labels["version"] = release.version.text();
  return labels;
}

// Pods replaced at a time.
int steps_of(const Settings& settings, const ReleaseSpec& release, const DeploymentOptions& options) {
  const int configured = config_number(release, "DEIS_DEPLOY_BATCHES", settings.deploy_batches);
  return std::max(1, configured > 0 ? configured : static_cast<int>(options.nodes));
}

std::string registry_host(const ReleaseSpec& release) {
  if (release.registry && !release.registry->hostname.empty()) return release.registry->hostname;
  const auto host = workflow::ImageName::split(release.image).host;
  return host.empty() ? "https://index.docker.io/v1/" : host;
}

std::string docker_config(const ReleaseSpec& release) {
  const auto& registry = *release.registry;
  const auto auth = to_base64(registry.user + ":" + registry.password.reveal());
  return print_json(json::object{{"auths", {{registry_host(release), {{"auth", auth}}}}}});
}
}  // namespace

void check_release(const AppSpec& app, const ReleaseSpec& release) {
  Error::Fields problems;
  const auto type = routed_type(release);
  if (release.build != BuildKind::slug && release.image.empty()) problems["image"].push_back("is required");
  if (app.routable && type && !port_of(release)) {
    auto problem = release.must_name_port
                       ? std::string("PORT needs to be set in the application config when using a private registry")
                       : std::string("Expose a port or make the app non routable by changing the process type");
    if (!release.why_no_port.empty())
      problem +=
          " (the image's port cannot be read: " + release.why_no_port + "; `deis config:set PORT=…` says it instead)";
    problems["PORT"].push_back(std::move(problem));
  }
  if (const auto port = config_of(release, "PORT"); port && !parse_integer(trim(*port))) {
    problems["PORT"].push_back("must be a number from 1 to 65535, not " + *port);
  }
  if (release.registry && (release.registry->user.empty() || release.registry->password.reveal().empty())) {
    problems["registry"].push_back("Registry auth requires a username and a password");
  }
  for (const auto& [name, process] : release.processes) {
    if (deployment_name(release.app, name).size() > 63) {
      problems[name.text()].push_back("app name and process type together may have at most 62 characters");
    }
    if (release.build != BuildKind::slug && process.replicas > 0 && !runs_entry_point(release, name) &&
        process.command.empty()) {
      problems[name.text()].push_back("has no command: add a line \"" + name.text() + ": <command>\" to the Procfile");
    }
  }
  for (const auto& [key, value] : release.tags) {
    if (!kube::is_label_key(key) || !kube::is_label_value(value))
      problems["tags"].push_back(key + "=" + value + " is not a label");
  }
  if (!problems.empty()) throw Error(std::move(problems));
}

std::string deployment_name(const AppName& app, const ProcessType& type) { return app.text() + "-" + type.text(); }
std::string env_secret_name(const ReleaseSpec& release) {
  return release.app.text() + "-" + release.version.text() + "-env";
}
std::string slug_secret_name(const AppName& app) { return app.text() + "-slug"; }
std::string pull_secret_name(const ReleaseSpec& release) {
  return release.registry->secret_prefix + "-" + to_hex(sha256(docker_config(release))).substr(0, 10);
}

std::map<std::string, std::string> environment_of(const ReleaseSpec& release) {
  std::map<std::string, std::string> env{{"DEIS_APP", release.app.text()},
                                         {"WORKFLOW_RELEASE", release.version.text()},
                                         {"WORKFLOW_RELEASE_SUMMARY", release.summary},
                                         {"WORKFLOW_RELEASE_CREATED_AT", rfc3339(release.created)}};
  if (!release.source_version.empty()) env["SOURCE_VERSION"] = release.source_version;
  if (const auto port = port_of(release)) env["PORT"] = std::to_string(*port);
  for (const auto& [name, value] : release.config) env[name] = value;
  return env;
}

json::object env_secret_for(const ReleaseSpec& release) {
  auto labels = app_labels(release.app);
  labels["version"] = release.version.text();
  labels["type"] = "env";
  return kube::make_secret(release.app.text(), env_secret_name(release), labels, environment_of(release));
}

json::object slug_secret_for(const ReleaseSpec& release) {
  return kube::make_secret(release.app.text(), slug_secret_name(release.app), app_labels(release.app),
                           {{release.version.text(), release.slug_url->reveal()}});
}

std::optional<json::object> pull_secret_for(const ReleaseSpec& release) {
  if (!release.registry) return std::nullopt;
  auto labels = app_labels(release.app);
  labels["type"] = "registry";
  return kube::make_secret(release.app.text(), pull_secret_name(release), labels,
                           {{".dockerconfigjson", docker_config(release)}}, "kubernetes.io/dockerconfigjson");
}

bool is_routed(const AppSpec& app, const ProcessType& type) { return app.routable && is_reachable(app, type); }

bool is_reachable(const AppSpec& app, const ProcessType& type) {
  if (type.text() == "web" || type.text() == "cmd") return true;
  return std::any_of(app.path_services.begin(), app.path_services.end(), [&](const auto& p) { return p.type == type; });
}

json::object deployment_for(const Settings& settings, const AppSpec& app, const ReleaseSpec& release,
                            const ProcessType& type, const DeploymentOptions& options) {
  const auto& process = process_of(release, type);
  const auto name = deployment_name(release.app, type);
  auto container = container_for(settings, release, name);
  put_command(container, command_for(release, type));
  if (const auto port = port_of(release); port && is_reachable(app, type)) {
    container["ports"] = {{{"name", "http"}, {"containerPort", *port}, {"protocol", "TCP"}}};
  }
  if (auto limits = resources_of(process)) container["resources"] = std::move(*limits);
  put_probes(container, app, release, type);
  if (auto lifecycle = lifecycle_of(settings, app, release, type); !lifecycle.empty()) {
    container["lifecycle"] = std::move(lifecycle);
  }

  auto selector = app_labels(release.app);
  selector["type"] = type.text();
  const int steps = steps_of(settings, release, options);
  const int surge = options.replicas > 0 ? std::min(steps, options.replicas) : steps;
  auto deployment = kube::make_object(resources::deployments, release.app.text(), name, selector);
  deployment["metadata"].get_object()["annotations"] = {{"kubernetes.io/change-cause", release.summary}};
  json::object spec{
      {"replicas", options.replicas},
      {"revisionHistoryLimit",
       config_number(release, "KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT", settings.revision_history)},
      {"progressDeadlineSeconds", rollout_limit(settings, app, release, type, options).count()},
      {"selector", {{"matchLabels", kube::to_json(selector)}}},
      {"strategy", {{"type", "RollingUpdate"}, {"rollingUpdate", {{"maxSurge", surge}, {"maxUnavailable", 0}}}}}};
  auto labels = pod_labels(release, type.text());
  if (is_reachable(app, type)) labels[serving_label] = "true";
  json::object metadata{{"labels", kube::to_json(labels)}};
  if (is_routed(app, type)) metadata["annotations"] = {{"engine.deis.io/probe-interval", "100ms"}};
  spec["template"] = {{"metadata", std::move(metadata)},
                      {"spec", pod_spec_for(settings, release, process, "Always", std::move(container))}};
  deployment["spec"] = std::move(spec);
  return deployment;
}

std::chrono::seconds rollout_limit(const Settings& settings, const AppSpec& app, const ReleaseSpec& release,
                                   const ProcessType& type, const DeploymentOptions& options) {
  json::object probes;
  put_probes(probes, app, release, type);
  std::int64_t delay = 0;
  for (const auto& [kind, probe] : probes) {
    delay = std::max(delay, find_integer(probe, {"initialDelaySeconds"}).value_or(50));
  }
  const int steps = steps_of(settings, release, options);
  const int batches = std::max(1, (options.replicas + steps - 1) / steps);
  const int base = config_number(release, "DEIS_DEPLOY_TIMEOUT", settings.deploy_timeout_seconds);
  return seconds((base + delay) * batches);
}

json::object run_pod_for(const Settings& settings, const ReleaseSpec& release, const std::string& command,
                         const std::string& suffix) {
  const auto name = release.app.text() + "-run-" + suffix;
  auto container = container_for(settings, release, release.app.text() + "-run");
  put_command(container, run_command_for(release, command));
  if (auto limits = resources_of(release.run)) container["resources"] = std::move(*limits);
  auto pod = kube::make_object(resources::pods, release.app.text(), name, pod_labels(release, "run"));
  pod["spec"] = pod_spec_for(settings, release, release.run, "Never", std::move(container));
  return pod;
}

}  // namespace workflow::controller::cluster
