// src/engine/node/containerd.h: our own containerd: its configuration, its life, images that it must have.
#pragma once
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/node/node_config.h"
#include "lib/async/task.h"

namespace workflow::engine {

inline constexpr const char* pause_image = "localhost/workflow/pause:1";

std::filesystem::path containerd_folder(const NodeConfig& config);  // <state>/containerd
std::filesystem::path containerd_socket(const NodeConfig& config);
std::filesystem::path containerd_log(const NodeConfig& config);

// config.toml and the CNI network list. Pure.
std::string containerd_toml(const NodeConfig& config, bool may_lower_oom_score);
std::string cni_conflist(const NodeConfig& config, int mtu);

// Throws unavailable that names the Debian package of whatever is missing.
void check_programs(const NodeConfig& config);

// Where images of config.registry_host are pulled from; containerd reads it before every pull.
void write_registry_hosts(const NodeConfig& config, const std::string& url);

// Starts containerd unless its socket answers already; the process outlives the engine.
Task<> ensure_containerd(const NodeConfig& config);
// Keeps it running until cancelled: a containerd that ended is started again at once.
Task<> watch_containerd(const NodeConfig& config);
// Ends it, and returns when the one that watch_containerd() starts in its place answers. Containers run on.
Task<> renew_containerd(const NodeConfig& config);
// Stops it; containers must be gone.
Task<> stop_containerd(const NodeConfig& config);

// Runs `ctr` on our containerd, in the namespace of Kubernetes. Throws internal with its words.
Task<std::string> ctr(const NodeConfig& config, std::vector<std::string> arguments, std::chrono::seconds limit);
// The sandbox image, packed from a program inside our own binary.
Task<> ensure_pause_image(const NodeConfig& config);

}  // namespace workflow::engine
