// src/engine/node/pod_view.h: a pod as its containers' configuration is made from it: the object, and what the node
// knows.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "engine/node/container_config.h"
#include "engine/node/cri_client.h"
#include "engine/node/node_config.h"
#include "engine/node/pod_files.h"
#include "engine/node/tokens.h"
#include "engine/node/volumes.h"
#include "engine/store.h"

namespace workflow::engine {

struct PodView {
  const NodeConfig& config;
  const Store& store;
  std::string ns, name, uid;
  ObjectPtr object;  // as the store has it now
  std::string ip, host_ip;

  const json::object& spec() const { return object->at("spec").as_object(); }
  const json::object* container(
      const std::string& container_name) const;  // init containers too; null: none of this name
  bool is_on_host_network() const;
};

// Where things of a pod lie.
std::filesystem::path pod_folder(const NodeConfig& config, const std::string& uid);
std::filesystem::path log_folder(const NodeConfig& config, const std::string& ns, const std::string& pod,
                                 const std::string& uid);
std::string pod_cgroup(const NodeConfig& config, const std::string& uid);  // below the hierarchy
VolumePlaces volume_places(const PodView& pod);
std::filesystem::path hosts_file(const PodView& pod);

// Labels of everything we make in the runtime, as kubelet names them.
inline constexpr const char* label_pod = "io.kubernetes.pod.name";
inline constexpr const char* label_namespace = "io.kubernetes.pod.namespace";
inline constexpr const char* label_uid = "io.kubernetes.pod.uid";
inline constexpr const char* label_container = "io.kubernetes.container.name";
inline constexpr const char* annotation_grace = "io.kubernetes.pod.terminationGracePeriod";  // seconds, for teardown

// --- what containers are given (pod_inputs.cpp)

EnvSources env_sources(const PodView& pod, const json::object& container);
// `tokens`: of each audience that the volumes name.
VolumeSources volume_sources(const PodView& pod, const Tokens& tokens);
std::optional<std::map<std::string, std::string>> secret_data(const PodView& pod, const std::string& secret);
VolumeReaders volume_readers(const PodView& pod);

// --- what the runtime is asked for (pod_config.cpp). Throws invalid in Kubernetes' words.

cri::SandboxConfig sandbox_config(const PodView& pod, std::uint32_t attempt);
std::string hosts_text(const PodView& pod);  // of hosts_file
struct ContainerWish {
  cri::ContainerConfig config;  // without its mounts …
  ContainerFiles files;         // … which are made from these
};
ContainerWish container_wish(const PodView& pod, const json::object& container, int attempt, const cri::Image& image);

}  // namespace workflow::engine
