// src/controller/cluster/spec.h: what an app and a release should be in the cluster, as plain values.
//   The controller fills these from its database; objects.h turns them into Kubernetes objects, cluster.h makes them
//   so.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/domain.h"
#include "lib/base/settings.h"
#include "lib/json/json.h"

namespace workflow::controller::cluster {

// Where images of apps come from: the platform's own registry (and any that needs no credentials), a registry with
// credentials of the operator's, Amazon's, Google's.
enum class RegistryLocation { on_cluster, off_cluster, ecr, gcr };

// What the operator decided for all apps.
struct Settings {
  std::string slugrunner_image;        // SLUGRUNNER_IMAGE: the stack image that runs slugs
  std::string image_pull_policy;       // IMAGE_PULL_POLICY: default IfNotPresent; an app's config may override it
  int deploy_batches = 0;              // DEIS_DEPLOY_BATCHES: pods replaced at a time; 0 = the number of matching nodes
  int deploy_timeout_seconds = 120;    // DEIS_DEPLOY_TIMEOUT: per batch, on top of the probes' delay
  int revision_history = 10;           // KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT
  int termination_grace_seconds = 30;  // KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS
  std::string namespace_quota;         // KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC: JSON, "" = none
  bool ignore_scheduling_failure = false;  // DEIS_IGNORE_SCHEDULING_FAILURE
  bool expose_pod_ip = false;              // DEIS_EXPOSE_POD_IP: POD_IP in every container
  bool debug = false;                      // DEIS_DEBUG: DEIS_DEBUG=1 in every container
  bool native_ingress = false;   // NATIVE_INGRESS: an Ingress per app, for clusters whose own router serves the apps
  std::string ingress_hostname;  // NATIVE_INGRESS_HOSTNAME: apps answer at <app>.<this>
  RegistryLocation registry_location = RegistryLocation::on_cluster;  // DEIS_REGISTRY_LOCATION
  std::string pull_secret_prefix = "private-registry";                // DEIS_REGISTRY_SECRET_PREFIX
  std::string platform_namespace = "deis";            // WORKFLOW_NAMESPACE: where Secret registry-secret is
  std::uint16_t router_port = 9091;                   // ROUTER_HEALTH_PORT: where routers tell what they have in effect
  std::chrono::milliseconds router_deadline{30'000};  // ROUTER_DEADLINE: how long a change waits until they serve it
  std::chrono::seconds drain{2};  // APP_DRAIN_TIME: how long a stopping pod goes on serving while routers forget it

  static Settings from(Env& env);
};

enum class BuildKind {
  slug,        // a buildpack made a slug; the stack image runs it
  dockerfile,  // an image built from a pushed Dockerfile
  image,       // an image that exists elsewhere
};

// "" = not set. Kubernetes quantities: 64Mi, 250m.
struct Limit {
  std::string request, limit;
  bool empty() const { return request.empty() && limit.empty(); }
  bool operator==(const Limit&) const = default;
};
// The forms of `deis limits:set`: 64M, 1GB, 0/3G; 1, 500m, 0.25/1. nullopt when malformed.
std::optional<Limit> memory_limit(std::string_view text);
std::optional<Limit> cpu_limit(std::string_view text);

struct ProcessSpec {
  int replicas = 0;
  std::string command;  // its Procfile line; "" when there is none
  Limit memory, cpu;
  json::object healthcheck;  // livenessProbe, readinessProbe, startupProbe as the API stores them; empty = default
  std::optional<int> termination_grace_seconds;
  std::string post_start, pre_stop;  // shell text of lifecycle hooks
  bool autoscaled = false;           // the number of replicas in the cluster wins over `replicas`
  bool operator==(const ProcessSpec&) const = default;
};

struct RegistryCredentials {
  std::string hostname;  // "" = the image's own registry
  std::string user;
  Secret password;
  std::string secret_prefix = "private-registry";  // of the name of the pull secret
  bool operator==(const RegistryCredentials&) const = default;
};

struct ReleaseSpec {
  AppName app;
  ReleaseVersion version;
  std::string summary;  // "alice deployed d3ccc05"
  Time created{};
  BuildKind build = BuildKind::slug;
  bool has_procfile = true;
  std::string image;                          // dockerfile and image builds: what to run (slugs run slugrunner_image)
  std::string source_version;                 // git sha; "" without
  std::optional<Secret> slug_url;             // slug builds: presigned GET of the slug
  std::map<std::string, std::string> config;  // wins over every variable of the platform
  std::optional<int> port;                    // of image builds: from EXPOSE; config PORT wins. Slugs: 5000
  std::map<ProcessType, ProcessSpec> processes;  // with those of count 0
  ProcessSpec run;                               // limits and grace of one-off pods (type `run`)
  std::map<std::string, std::string> tags;       // node selector
  std::optional<RegistryCredentials> registry;
  std::string kept_pull_secret;  // the name of a pull secret that somebody else keeps in the app's namespace; "" = none
  bool must_name_port = false;   // the image's registry is not asked for the port: the app's config has to say it
  std::string why_no_port;       // why it could not be read
};

struct Certificate {
  std::string name;
  std::string certificate_pem;
  Secret key_pem;
  bool operator==(const Certificate&) const = default;
};

// `deis services:add T /path`: requests of these paths go to another process type.
struct PathService {
  ProcessType type;
  std::vector<std::string> paths;  // regular expressions
  bool operator==(const PathService&) const = default;
};

// `deis autoscale:set T --min --max --cpu-percent`.
struct Autoscale {
  int min = 1, max = 1, cpu_percent = 80;
  bool operator==(const Autoscale&) const = default;
};

// How the router treats the app, and the cluster its counts.
struct AppSpec {
  AppName app;
  bool routable = true;
  bool maintenance = false;
  bool tls_enforced = false;
  bool tls_automatic = false;          // its names get certificates by themselves
  std::vector<std::string> whitelist;  // addresses and networks; empty = everybody
  std::vector<std::string> domains;    // in the order of their addition; the app's own id is one of them
  std::map<std::string, std::string> domain_certificates;  // domain → certificate's name
  std::vector<Certificate> certificates;                   // those that domain_certificates names
  std::vector<PathService> path_services;
  std::map<ProcessType, Autoscale> autoscale;
  bool operator==(const AppSpec&) const = default;
};

// The process type that the app's Service leads to: web, else cmd; nullopt when nothing is routed.
std::optional<ProcessType> routed_type(const ReleaseSpec& release);
// The port that its containers listen on; nullopt when none is known.
std::optional<int> port_of(const ReleaseSpec& release);

// Process counts of an app that was never scaled, from its first build.
std::map<ProcessType, int> default_structure(BuildKind build, const std::vector<ProcessType>& procfile_types);

}  // namespace workflow::controller::cluster
