// src/engine/node/volumes.h: the volumes of a pod as folders of this machine. Everything here blocks, shortly.
//   What a pod may write is reached through lib/base's Folder only: no link of its making leads us anywhere.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "lib/json/json.h"

namespace workflow::engine {

// A file of a secret, config map, token or downward API volume.
struct VolumeFile {
  std::string content;
  int mode = 0644;
  bool is_token = false;  // for the pod's own user alone, where that can be told
  bool operator==(const VolumeFile&) const = default;
};
using VolumeFiles = std::map<std::string, VolumeFile>;  // by path inside the volume

struct VolumeSources {
  std::function<std::optional<std::map<std::string, std::string>>(const std::string& name)> secret, config_map;
  std::function<std::string(const std::string& path)> field;
  std::function<std::string(const std::string& container, const std::string& resource, const std::string& divisor)>
      resource;
  std::function<std::string(const std::string& audience)> token;  // of the pod's service account, issued already
};
// Files of a volume that has some; nullopt for the other kinds. Throws invalid in Kubernetes' words (FailedMount).
std::optional<VolumeFiles> volume_files(const json::object& volume, const VolumeSources& sources);

// Who is to read the volumes, besides root.
struct VolumeReaders {
  std::optional<std::int64_t> group;  // fsGroup
  std::optional<std::int64_t> user;   // runAsUser, if all containers agree on it
};
// Writes the files as kubelet does: a new folder beside the old one, and one rename that switches all of them at once.
// Does nothing when they are there already.
void write_volume(const std::filesystem::path& folder, const VolumeFiles& files, const VolumeReaders& readers);

struct VolumePlaces {
  std::filesystem::path pod;      // <state>/pods/<uid>
  std::filesystem::path volumes;  // <state>/volumes
};
// The folder (or file) on this machine behind a volume, made if it must be. Throws invalid when a hostPath is not what
// its type says, or the claim is not bound.
std::filesystem::path prepare_volume(const json::object& volume, const std::string& ns, const VolumePlaces& places,
                                     const VolumeReaders& readers);
// `files`: of Secrets, ConfigMaps, the pod itself. Kubernetes never lets a pod write into these.
enum class VolumeKind { files, folder };
VolumeKind kind_of(const json::object& volume);

// Binds the part of a volume that `path` names to `place`, for a container's mount. Missing folders are made. Never
// leads outside of the volume, not even by a rename meanwhile.
void bind_sub_path(const std::filesystem::path& volume, const std::string& path, VolumeKind kind,
                   const std::filesystem::path& place);

// Unmounts and removes what belongs to the pod alone. Throws rather than to remove what is behind a mount.
void remove_volumes(const std::filesystem::path& pod_folder);

}  // namespace workflow::engine
