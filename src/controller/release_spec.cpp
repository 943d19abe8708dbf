#include "controller/release_spec.h"

#include "controller/store.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/slug_name.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::controller {
namespace {

std::string text_of(const json::object& map, std::string_view key) { return find_string(map, {key}).value_or(""); }

cluster::ReleaseSpec spec_without_registry(const Parts& parts, const ReleaseToRun& what) {
  const auto& [app, release, structure, autoscale] = what;
  const auto& config = release.config;
  const auto& build = *release.build;
  cluster::ReleaseSpec spec{.app = app.name(), .version = {release.version}, .summary = release.summary};
  spec.created = parse_rfc3339(release.created).value_or(Time{});
  spec.build = kind_of(build);
  spec.has_procfile = !build.procfile.empty();
  spec.image = build.image;
  spec.source_version = build.sha;
  for (const auto& [key, value] : config.values) spec.config[std::string(key)] = python_text(value);
  if (spec.build == cluster::BuildKind::slug) spec.slug_url = slug_url(parts, build.image);
  if (!config.registry.empty()) {
    spec.registry = cluster::RegistryCredentials{
        text_of(config.registry, "hostname"), text_of(config.registry, "username"),
        Secret(text_of(config.registry, "password")), parts.settings.cluster.pull_secret_prefix};
  }
  for (const auto& [key, value] : config.tags) spec.tags[std::string(key)] = python_text(value);

  auto process = [&](const std::string& type) {
    cluster::ProcessSpec out;
    out.command = text_of(build.procfile, type);
    out.memory = cluster::memory_limit(text_of(config.memory, type)).value_or(cluster::Limit{});
    out.cpu = cluster::cpu_limit(text_of(config.cpu, type)).value_or(cluster::Limit{});
    const auto* probes = config.healthcheck.if_contains(type);
    if (!probes && (type == "web" || type == "cmd")) probes = config.healthcheck.if_contains("web/cmd");
    if (probes && probes->is_object()) out.healthcheck = probes->get_object();
    auto grace = text_of(config.termination_grace_period, type);
    if (grace.empty()) grace = text_of(config.values, "KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS");
    if (const auto seconds = parse_integer(grace)) out.termination_grace_seconds = static_cast<int>(*seconds);
    out.post_start = text_of(config.lifecycle_post_start, type);
    out.pre_stop = text_of(config.lifecycle_pre_stop, type);
    out.autoscaled = autoscale.contains(type);
    return out;
  };
  for (const auto& [type, count] : structure) {
    const auto name = ProcessType::parse(std::string(type));
    if (!name) continue;
    auto& entry = spec.processes[*name] = process(name->text());
    entry.replicas = static_cast<int>(find_integer(structure, {type}).value_or(0));
  }
  spec.run = process("run");
  return spec;
}

Task<cluster::RegistryCredentials> platform_credentials(const Parts& parts) {
  constexpr const char* name = "registry-secret";
  const auto& settings = parts.settings.cluster;
  const auto secret = co_await parts.kube.find(kube::resources::secrets, settings.platform_namespace, name);
  auto value = [&](const char* key) {
    const auto text = secret ? find_string(*secret, {"data", key}) : std::nullopt;
    return std::string(trim(from_base64(text.value_or("")).value_or("")));
  };
  cluster::RegistryCredentials credentials{value("hostname"), value("username"), Secret(value("password")),
                                           settings.pull_secret_prefix + "-off-cluster"};
  if (credentials.hostname.empty()) credentials.hostname = "https://index.docker.io/v1/";
  if (credentials.user.empty() || credentials.password.reveal().empty()) {
    throw Error(ErrorKind::unprocessable, "DEIS_REGISTRY_LOCATION is off-cluster, but Secret " + std::string(name) +
                                              " in namespace " + settings.platform_namespace +
                                              " lacks username or password: the operator has to set them");
  }
  co_return credentials;
}

}  // namespace

Secret slug_url(const Parts& parts, const std::string& image) {
  if (!parts.store) throw Error(ErrorKind::unprocessable, "no object store is configured: set S3_ENDPOINT");
  const auto slug = SlugName::parse(image);
  const auto url = parts.store->presigned_get(parts.settings.bucket, slug.key, std::chrono::hours(24 * 7));
  return Secret(SlugUrl{url, slug.sha256}.text());
}

// The app's own credentials first, then what the operator has for all apps.
Task<cluster::ReleaseSpec> release_spec(const Parts& parts, ReleaseToRun what) {
  using cluster::RegistryLocation;
  auto spec = spec_without_registry(parts, what);
  const auto location = parts.settings.cluster.registry_location;
  spec.must_name_port = spec.registry.has_value() || location != RegistryLocation::on_cluster;
  if (!spec.must_name_port && what.release.build->port.value_or(0) > 0) spec.port = what.release.build->port;
  if (spec.registry) co_return spec;
  if (location == RegistryLocation::off_cluster) spec.registry = co_await platform_credentials(parts);
  if (location == RegistryLocation::ecr) spec.kept_pull_secret = parts.settings.cluster.pull_secret_prefix + "-ecr";
  if (location == RegistryLocation::gcr) spec.kept_pull_secret = parts.settings.cluster.pull_secret_prefix + "-gcr";
  co_return spec;
}

// The image's registry is asked once; what it cannot say is part of the message when nobody else says it.
Task<> find_port(const Parts& parts, cluster::ReleaseSpec& spec, Build build) {
  if (spec.must_name_port || cluster::port_of(spec) || build.port) co_return;
  http::Client client(parts.kube.executor());
  try {
    const auto config = co_await image_config(client, parts.settings.registries, build.image);
    const auto ports = exposed_ports(config);
    const int port = ports.empty() ? 0 : ports.front();
    co_await parts.db.transact([&](sql::Tx& tx) { set_port(tx, build.uuid, port); });
    if (port > 0) spec.port = port;
  } catch (const Error& error) {
    // An image that is not there has no port either, but that is not what is wrong with it.
    if (error.kind() == ErrorKind::not_found) throw Error(ErrorKind::unprocessable, error.message());
    if (error.kind() == ErrorKind::unauthenticated) {
      throw Error(ErrorKind::unprocessable,
                  "Permission Denied attempting to pull image " + build.image + " (" + error.message() +
                      "). Give its credentials with `deis registry:set`, and its port with `deis config:set PORT=…`");
    }
    spec.why_no_port = error.message();
    log::info("the port of an image cannot be read", kv("app", spec.app), kv("error", error.message()),
              kv("detail", error.detail()));
  }
}

}  // namespace workflow::controller
