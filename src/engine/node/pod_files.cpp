#include "engine/node/pod_files.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "lib/base/error.h"
#include "lib/base/folder.h"
#include "lib/base/utf8.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

constexpr const char* termination_folder = "termination";
constexpr std::size_t longest_message = 4096;

std::string file_name(const std::string& container, int attempt) { return container + "-" + std::to_string(attempt); }

// Where the container may leave its last words.
cri::Mount termination_mount(const ContainerFiles& files) {
  const Folder pod(files.places.pod);
  const auto name = file_name(files.container, files.attempt);
  pod.make_folder(termination_folder).write_file(name, "", {.mode = 0666});
  return {files.termination_path.empty() ? "/dev/termination-log" : files.termination_path,
          (files.places.pod / termination_folder / name).string(), false};
}

}  // namespace

std::vector<cri::Mount> make_mounts(const ContainerFiles& files) {
  make_pod_folder(files.places.pod);
  std::vector<cri::Mount> mounts;
  for (const auto& mount : files.volumes) {
    auto host = prepare_volume(mount.volume, files.ns, files.places, files.readers);
    if (!mount.sub_path.empty()) {
      const auto place = files.places.pod / "subpaths" / files.container / std::to_string(mounts.size());
      bind_sub_path(host, mount.sub_path, kind_of(mount.volume), place);
      host = place;
    }
    mounts.push_back({mount.container_path, host.string(), mount.read_only, mount.propagation});
  }
  mounts.push_back(termination_mount(files));
  const bool has_own_hosts =
      std::ranges::any_of(files.volumes, [](const auto& volume) { return volume.container_path == "/etc/hosts"; });
  if (!files.hosts.empty() && !has_own_hosts) mounts.push_back({"/etc/hosts", files.hosts.string(), false});
  return mounts;
}

void make_pod_folder(const fs::path& pod) {
  fs::create_directories(pod);
  ::chmod(pod.parent_path().c_str(), 0700);
  ::chmod(pod.c_str(), 0755);
}

void write_hosts_file(const fs::path& hosts, const std::string& text) {
  make_pod_folder(hosts.parent_path());
  Folder(hosts.parent_path()).write_file(hosts.filename().string(), text, {.mode = 0644});
}

std::string termination_message(const fs::path& pod, const std::string& container, int attempt) {
  try {
    const auto file = Folder(pod).open_folder(termination_folder).open_file(file_name(container, attempt));
    std::string text(longest_message, '\0');
    const auto got = ::pread(file.get(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return valid_utf8(std::move(text));
  } catch (const Error&) {
    return "";
  }
}

}  // namespace workflow::engine
