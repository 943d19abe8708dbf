// src/engine/node/pod_files.h: the files and folders of this machine that a container sees. Everything here blocks,
// shortly.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "engine/node/cri_client.h"
#include "engine/node/volumes.h"

namespace workflow::engine {

struct VolumeMount {
  json::object volume;
  std::string sub_path;  // "": all of it
  std::string container_path;
  bool read_only = false;
  cri::Mount::Propagation propagation = cri::Mount::Propagation::private_;
};
struct ContainerFiles {
  std::string ns, container;
  int attempt = 0;
  std::vector<VolumeMount> volumes;
  std::string termination_path;  // "": where Kubernetes has it
  std::filesystem::path hosts;   // "": the image's own
  VolumePlaces places;
  VolumeReaders readers;
};
// Makes what is missing. Throws as prepare_volume does.
std::vector<cri::Mount> make_mounts(const ContainerFiles& files);

// The folder of a pod, which only root may enter from above.
void make_pod_folder(const std::filesystem::path& pod);
void write_hosts_file(const std::filesystem::path& hosts, const std::string& text);

// The container's last words, valid UTF-8; "" when it left none.
std::string termination_message(const std::filesystem::path& pod, const std::string& container, int attempt);

}  // namespace workflow::engine
