// src/engine/node/mounts.h: what is mounted below our folders. Everything here blocks, shortly.
#pragma once
#include <filesystem>
#include <string_view>
#include <vector>

namespace workflow::engine {

// The mount points of a /proc/<pid>/mountinfo, in the order in which they were mounted. Pure.
std::vector<std::filesystem::path> mount_points(std::string_view mountinfo);

bool is_mount_point(const std::filesystem::path& path);
// All that is mounted on it, however often; nothing there is fine. Throws unavailable.
void unmount(const std::filesystem::path& point);
// Everything mounted in the folder or on it, the last one first. Throws unavailable.
void unmount_below(const std::filesystem::path& folder);

}  // namespace workflow::engine
