#include "builder/build_pod.h"

#include <set>

#include "lib/base/text.h"
#include "lib/kube/literal.h"
#include "lib/kube/names.h"

namespace workflow::builder {
namespace {

constexpr std::string_view ca_folder = "/var/run/workflow/ca", ca_file = "/var/run/workflow/ca/ca.crt";
constexpr int slug_user = 2000;  // of the stack image

json::object env_entry(std::string_view name, std::string_view value) { return {{"name", name}, {"value", value}}; }

json::array build_env(const BuildPod& build, const BuildSettings& settings, const AppConfig& config) {
  std::map<std::string, std::string> env;
  if (build.has_ca_certificates) {
    for (const auto* name : {"SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO",
                             "CURL_CA_BUNDLE"}) {
      env[name] = ca_file;
    }
  }
  for (const auto& [name, value] : settings.env) env[name] = value;
  env["SOURCE_VERSION"] = build.commit.brief();
  for (const auto* name : {"BUILDPACK_URL", "DEIS_BUILDPACK_DEBUG"}) {
    if (config.has(name)) env[name] = config.value(name);
  }
  json::array entries;
  for (const auto& [name, value] : env) entries.push_back(env_entry(name, kube::literal(value)));
  for (const auto& name : build.urls) {
    json::object reference{{"name", urls_secret_name(build.app)}, {"key", name}};
    entries.push_back(json::object{{"name", name}, {"valueFrom", {{"secretKeyRef", std::move(reference)}}}});
  }
  return entries;
}

json::object resources(const BuildSettings& settings) {
  json::object limits;
  if (!settings.memory_limit.empty()) limits["memory"] = settings.memory_limit;
  if (!settings.cpu_limit.empty()) limits["cpu"] = settings.cpu_limit;
  // Without requests of its own a pod would reserve its limits.
  return {{"requests", {{"cpu", "10m"}, {"memory", "64Mi"}}}, {"limits", std::move(limits)}};
}

std::string because(const std::string& reason, const std::string& message) {
  if (reason.empty()) return message;
  return message.empty() ? reason : reason + ": " + message;
}

// Reasons for which a waiting container waits in vain.
bool is_hopeless(const std::string& reason) {
  static const std::set<std::string> reasons = {"ImagePullBackOff",     "InvalidImageName",
                                                "ErrImageNeverPull",    "CreateContainerConfigError",
                                                "CreateContainerError", "RunContainerError"};
  return reasons.contains(reason);
}

}  // namespace

BuildSettings BuildSettings::from(Env& env) {
  BuildSettings settings;
  settings.image = env.required("SLUGBUILDER_IMAGE");
  settings.pull_policy = env.text("SLUGBUILDER_IMAGE_PULL_POLICY", "IfNotPresent");
  if (settings.pull_policy != "Always" && settings.pull_policy != "IfNotPresent" && settings.pull_policy != "Never") {
    env.problem("SLUGBUILDER_IMAGE_PULL_POLICY",
                "must be Always, IfNotPresent or Never, not \"" + settings.pull_policy + "\"");
  }
  settings.ca_config_map = env.text("CA_CERTIFICATES_CONFIG_MAP", "workflow-ca-certificates");
  settings.memory_limit = env.text("BUILD_MEMORY_LIMIT", "2Gi");
  settings.cpu_limit = env.text("BUILD_CPU_LIMIT", "");
  settings.priority_class = env.text("BUILDER_POD_PRIORITY_CLASS", "");
  for (const auto& part : split(env.text("BUILDER_POD_PULL_SECRETS", ""), ',')) {
    const std::string name(trim(part));
    if (kube::is_dns_subdomain(name))
      settings.pull_secrets.push_back(name);
    else
      env.problem("BUILDER_POD_PULL_SECRETS",
                  "must be names of Secrets with commas between them; not one: \"" + name + "\"");
  }
  const auto selector = env.text("BUILDER_POD_NODE_SELECTOR", "");
  if (auto labels = parse_node_selector(selector))
    settings.node_selector = *std::move(labels);
  else
    env.problem("BUILDER_POD_NODE_SELECTOR", "Invalid BuilderPodNodeSelector value format: " + selector);
  constexpr std::string_view prefix = "BUILD_ENV_";
  for (const auto& [name, value] : env.all()) {
    if (!name.starts_with(prefix)) continue;
    const auto key = ConfigKey::parse(std::string_view(name).substr(prefix.size()));
    if (key)
      settings.env[key->text()] = value;
    else
      env.problem(name, "after BUILD_ENV_ there must be a variable's name");
  }
  return settings;
}

std::optional<kube::Labels> parse_node_selector(std::string_view text) {
  kube::Labels labels;
  for (const auto& part : split(text, ',')) {
    const auto colon = part.find(':');
    if (colon == std::string::npos) return std::nullopt;
    const auto key = trim(std::string_view(part).substr(0, colon)),
               value = trim(std::string_view(part).substr(colon + 1));
    if (!kube::is_label_key(key) || !kube::is_label_value(value)) return std::nullopt;
    labels[std::string(key)] = value;
  }
  return labels;
}

std::string AppConfig::value(const std::string& name) const {
  const auto found = values.find(name);
  return found == values.end() ? "" : found->second;
}

BuildType build_type(const SourceTree& tree, const AppConfig& config) {
  if (!config.value("BUILDPACK_URL").empty()) return BuildType::buildpack;
  const auto wanted = lower(config.value("HEPHY_BUILDER"));
  if (wanted == "procfile") return BuildType::buildpack;
  if (wanted == "dockerfile") return BuildType::dockerfile;
  return tree.has_dockerfile ? BuildType::dockerfile : BuildType::buildpack;
}

BuildKeys build_keys(const AppName& app, const ObjectId& commit, std::string_view unique) {
  auto folder = "home/" + app.text() + ":git-" + commit.text() + "-" + std::string(unique) + "/";
  return {.folder = folder,
          .tar = folder + "tar",
          .slug = folder + "push/slug.tgz",
          .procfile = folder + "push/Procfile",
          .digest = folder + "push/slug.sha256",
          .cache = "home/" + app.text() + "/cache/cache.tgz"};
}

std::string build_secret_name(const AppName& app) { return app.text() + "-build-env"; }

json::object build_secret(const std::string& ns, const AppName& app, const AppConfig& config) {
  return kube::make_secret(ns, build_secret_name(app), {{"heritage", "deis"}, {std::string(build_label), app.text()}},
                           config.values);
}

std::string urls_secret_name(const AppName& app) { return app.text() + "-build-urls"; }

json::object urls_secret(const std::string& ns, const AppName& app, const BuildUrls& urls) {
  return kube::make_secret(ns, urls_secret_name(app), {{"heritage", "deis"}, {std::string(build_label), app.text()}},
                           urls);
}

std::string build_pod_name(const AppName& app, const ObjectId& commit, std::string_view unique) {
  return "slugbuild-" + app.text().substr(0, 35) + "-" + commit.brief() + "-" + std::string(unique);
}

json::object build_pod(const BuildPod& build, const BuildSettings& settings, const AppConfig& config) {
  json::array volumes, mounts;
  auto mount = [&](std::string_view name, json::object source, std::string_view path) {
    source["name"] = name;
    volumes.push_back(std::move(source));
    mounts.push_back(json::object{{"name", name}, {"mountPath", path}, {"readOnly", true}});
  };
  mount("build-env", {{"secret", {{"secretName", build_secret_name(build.app)}, {"defaultMode", 0440}}}}, "/tmp/env");
  if (build.has_ca_certificates)
    mount("ca-certificates", {{"configMap", {{"name", settings.ca_config_map}, {"optional", true}}}}, ca_folder);

  // What runs here was pushed by somebody: it gets no credentials and no right beyond those of any user.
  json::object security{{"runAsUser", slug_user},
                        {"runAsGroup", slug_user},
                        {"runAsNonRoot", true},
                        {"allowPrivilegeEscalation", false},
                        {"capabilities", {{"drop", {"ALL"}}}},
                        {"seccompProfile", {{"type", "RuntimeDefault"}}}};
  json::object container{{"name", build_container},
                         {"image", settings.image},
                         {"imagePullPolicy", settings.pull_policy},
                         {"command", {"/builder/build"}},
                         {"env", build_env(build, settings, config)},
                         {"resources", resources(settings)},
                         {"securityContext", std::move(security)},
                         {"volumeMounts", std::move(mounts)}};
  json::object spec{{"restartPolicy", "Never"},           {"automountServiceAccountToken", false},
                    {"enableServiceLinks", false},        {"activeDeadlineSeconds", build.deadline.count()},
                    {"terminationGracePeriodSeconds", 1}, {"containers", json::array{std::move(container)}},
                    {"volumes", std::move(volumes)},      {"securityContext", {{"fsGroup", slug_user}}}};
  if (!settings.priority_class.empty()) spec["priorityClassName"] = settings.priority_class;
  json::array pull_secrets;
  for (const auto& name : settings.pull_secrets) pull_secrets.push_back(json::object{{"name", name}});
  if (!pull_secrets.empty()) spec["imagePullSecrets"] = std::move(pull_secrets);
  if (!settings.node_selector.empty()) spec["nodeSelector"] = kube::to_json(settings.node_selector);
  // `heritage` is how the original found its pods again; others may look for it.
  auto pod = kube::make_object(kube::resources::pods, build.ns, build.name,
                               {{"heritage", build.name}, {std::string(build_label), build.app.text()}});
  pod["spec"] = std::move(spec);
  return pod;
}

BuildState build_state(const json::object* pod) {
  using Kind = kube::ContainerState::Kind;
  using Stage = BuildState::Stage;
  if (!pod) return {.stage = Stage::ended, .trouble = "the build's pod was deleted"};
  const auto status = kube::pod_status_of(*pod);
  const auto* container = status.find_container(build_container);
  if (container && container->state.kind == Kind::terminated) {
    if (container->state.reason == "OOMKilled")
      return {.stage = Stage::ended,
              .exit_code = container->state.exit_code,
              .trouble = "the build needs more memory than it may use"};
    if (status.reason == "DeadlineExceeded")
      return {.stage = Stage::ended,
              .exit_code = container->state.exit_code,
              .trouble = "the build took longer than it may"};
    return {.stage = Stage::ended, .exit_code = container->state.exit_code};
  }
  if (kube::is_pod_finished(*pod)) {
    const auto why = because(status.reason, status.message);
    return {.stage = Stage::ended, .trouble = "the build's pod ended early" + (why.empty() ? "" : " (" + why + ")")};
  }
  if (kube::is_being_deleted(*pod)) return {.stage = Stage::ended, .trouble = "the build's pod was deleted"};
  const auto* scheduled = kube::find_condition(status.conditions, "PodScheduled");
  if (scheduled && scheduled->status == "False") return {.waits_for = scheduled->message};
  if (!container) return {};
  if (container->state.kind == Kind::running) return {.stage = Stage::running};
  if (container->state.kind == Kind::waiting && is_hopeless(container->state.reason)) {
    return {.stage = Stage::ended,
            .trouble = "the build cannot start (" + because(container->state.reason, container->state.message) + ")"};
  }
  return {};
}

}  // namespace workflow::builder
