// src/builder/build_pod.h: what a build is in the cluster, and what the cluster says about it.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "builder/refs.h"
#include "lib/base/domain.h"
#include "lib/base/settings.h"
#include "lib/json/json.h"
#include "lib/kube/objects.h"

namespace workflow::builder {

// What all builds share.
struct BuildSettings {
  std::string image;                       // SLUGBUILDER_IMAGE: the stack image
  std::string pull_policy;                 // SLUGBUILDER_IMAGE_PULL_POLICY: Always, IfNotPresent (default) or Never
  std::string ca_config_map;               // CA_CERTIFICATES_CONFIG_MAP: default workflow-ca-certificates
  std::string priority_class;              // BUILDER_POD_PRIORITY_CLASS: one below that of apps which serve
  std::vector<std::string> pull_secrets;   // BUILDER_POD_PULL_SECRETS: names between commas, for the stack image
  kube::Labels node_selector;              // BUILDER_POD_NODE_SELECTOR: "pool:builds,disk:ssd"
  std::string memory_limit;                // BUILD_MEMORY_LIMIT: of a build's pod, default 2Gi; "" = none
  std::string cpu_limit;                   // BUILD_CPU_LIMIT: default none
  std::map<std::string, std::string> env;  // BUILD_ENV_<NAME>=value becomes NAME=value
  static BuildSettings from(Env& env);
};
// "k:v[,k:v…]"; nullopt when malformed.
std::optional<kube::Labels> parse_node_selector(std::string_view text);

// The app's config as far as it steers a build.
struct AppConfig {
  std::map<std::string, std::string> values;
  std::string value(const std::string& name) const;
  bool has(const std::string& name) const { return values.contains(name); }
};

enum class BuildType { buildpack, dockerfile };
struct SourceTree {
  bool has_dockerfile = false, has_procfile = false;  // in its root
};
// BUILDPACK_URL decides first, then HEPHY_BUILDER (procfile or dockerfile), then whether there is a Dockerfile.
BuildType build_type(const SourceTree& tree, const AppConfig& config);

// Where a build's objects lie in the bucket. The folder is this one build's: its name has the whole id of the commit,
// and `unique`, since a commit may be built again into something else. What a release runs is never written again, and
// its bytes are those whose digest the release has (SlugName).
struct BuildKeys {
  std::string folder;  // ends with "/"; what a build reads and makes lies in it
  std::string tar, slug, procfile, digest;
  std::string cache;  // the app's
};
BuildKeys build_keys(const AppName& app, const ObjectId& commit, std::string_view unique);

inline constexpr std::string_view build_label = "builder.deis.io/app";  // on pods and secrets of builds
inline constexpr std::string_view build_container = "deis-slugbuilder";

std::string build_secret_name(const AppName& app);
json::object build_secret(const std::string& ns, const AppName& app, const AppConfig& config);

// All that a build may do with the object store, by the names of the slugbuilder's settings: presigned URLs, each for
// one object and one method, until the build's time is over. They lie in a Secret that lives as long as the build.
using BuildUrls = std::map<std::string, std::string>;
std::string urls_secret_name(const AppName& app);
json::object urls_secret(const std::string& ns, const AppName& app, const BuildUrls& urls);

struct BuildPod {
  std::string ns, name;
  AppName app;
  ObjectId commit;
  std::vector<std::string> urls;  // the names of the BuildUrls
  bool has_ca_certificates = false;
  std::chrono::seconds deadline{};
};
std::string build_pod_name(const AppName& app, const ObjectId& commit, std::string_view unique);  // 8 digits
json::object build_pod(const BuildPod& build, const BuildSettings& settings, const AppConfig& config);

// What a pod's status says of the build. `trouble` speaks to who pushes.
struct BuildState {
  enum class Stage { waiting, running, ended } stage = Stage::waiting;
  int exit_code = 0;                   // of an ended build whose container ended
  std::optional<std::string> trouble;  // ended without the container's own end
  std::string waits_for;               // why no machine takes it yet; "" while that is not the case
};
BuildState build_state(const json::object* pod);  // null: the pod is gone

}  // namespace workflow::builder
