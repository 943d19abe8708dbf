#include "engine/node/volumes.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "engine/quantity.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

std::string text_at(const json::value& value, Path path) { return find_string(value, path).value_or(""); }

[[noreturn]] void refuse(std::string message) { throw Error(ErrorKind::invalid, std::move(message)); }

// A path inside a volume: relative, without "..".
std::string checked_path(const std::string& path) {
  if (path.empty() || path.starts_with('/')) refuse("invalid volume path \"" + path + "\"");
  for (const auto& part : split(path, '/')) {
    if (part == "..") refuse("invalid volume path \"" + path + "\"");
  }
  return path;
}

void add_keys(VolumeFiles& files, const json::value& source, const std::map<std::string, std::string>& data,
              int default_mode, const std::string& what) {
  const auto* items = find_path(source, {"items"});
  if (!items || !items->is_array() || items->get_array().empty()) {
    for (const auto& [key, value] : data) files[checked_path(key)] = {value, default_mode};
    return;
  }
  for (const auto& item : items->get_array()) {
    const auto key = text_at(item, {"key"});
    const auto found = data.find(key);
    if (found == data.end()) {
      if (find_bool(source, {"optional"}).value_or(false)) continue;
      refuse("references non-existent " + what + " key: " + key);
    }
    const auto mode = find_integer(item, {"mode"}).value_or(default_mode);
    files[checked_path(text_at(item, {"path"}))] = {found->second, static_cast<int>(mode)};
  }
}

void add_named(VolumeFiles& files, const json::value& source, const std::string& name, int mode,
               const std::string& what,
               const std::function<std::optional<std::map<std::string, std::string>>(const std::string&)>& find) {
  const auto data = find(name);
  if (data) return add_keys(files, source, *data, mode, what);
  if (!find_bool(source, {"optional"}).value_or(false)) refuse(what + " \"" + name + "\" not found");
}

void add_downward(VolumeFiles& files, const json::value& source, int default_mode, const VolumeSources& sources) {
  const auto* items = find_path(source, {"items"});
  if (!items || !items->is_array()) return;
  for (const auto& item : items->get_array()) {
    std::string content;
    if (const auto* ref = find_path(item, {"fieldRef"}))
      content = sources.field(text_at(*ref, {"fieldPath"}));
    else if (const auto* use = find_path(item, {"resourceFieldRef"})) {
      content =
          sources.resource(text_at(*use, {"containerName"}), text_at(*use, {"resource"}), text_at(*use, {"divisor"}));
    }
    files[checked_path(text_at(item, {"path"}))] = {
        content, static_cast<int>(find_integer(item, {"mode"}).value_or(default_mode))};
  }
}

// Gives a folder, and what is in it, to the group of the pod's processes, as fsGroup asks. One that has it already is
// left alone, however large it is.
void give_to_group(const fs::path& folder, std::int64_t group) {
  const auto gid = static_cast<gid_t>(group);
  struct stat info{};
  if (::stat(folder.c_str(), &info) == 0 && info.st_gid == gid && (info.st_mode & S_ISGID) != 0) return;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (::lchown(entry.path().c_str(), static_cast<uid_t>(-1), gid) != 0) continue;
    if (!entry.is_symlink() && ::stat(entry.path().c_str(), &info) == 0) {
      ::chmod(entry.path().c_str(), (info.st_mode & 07777) | (entry.is_directory() ? S_ISGID | 070 : 060));
    }
  }
  // Last, so that one that was cut short begins again.
  if (::chown(folder.c_str(), static_cast<uid_t>(-1), gid) != 0)
    refuse("cannot give " + folder.string() + " to its group");
  ::stat(folder.c_str(), &info);
  ::chmod(folder.c_str(), (info.st_mode & 07777) | S_ISGID | 070);
}

// A mount lies on another device than the folder that it is in.
bool is_mounted(const fs::path& folder) {
  struct stat here{}, above{};
  return ::stat(folder.c_str(), &here) == 0 && ::stat(folder.parent_path().c_str(), &above) == 0 &&
         here.st_dev != above.st_dev;
}

void write_files(const fs::path& folder, const VolumeFiles& files, std::optional<std::int64_t> fs_group) {
  for (const auto& [path, file] : files) {
    const auto target = folder / path;
    fs::create_directories(target.parent_path());
    const int mode = fs_group ? file.mode | 0440 : file.mode;
    Fd fd(::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!fd ||
        ::write(fd.get(), file.content.data(), file.content.size()) != static_cast<ssize_t>(file.content.size())) {
      throw Error(ErrorKind::unavailable, "cannot write a volume: the disk may be full");
    }
    if (fs_group && ::fchown(fd.get(), static_cast<uid_t>(-1), static_cast<gid_t>(*fs_group)) != 0)
      refuse("cannot give a volume to its group");
    ::fchmod(fd.get(), static_cast<mode_t>(mode));
  }
}

bool is_current(const fs::path& folder, const VolumeFiles& files) {
  const auto data = folder / "..data";
  if (!fs::exists(data)) return false;
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(fs::canonical(data))) {
    if (!entry.is_regular_file()) continue;
    ++count;
    const auto found = files.find(entry.path().lexically_relative(fs::canonical(data)).string());
    if (found == files.end() || read_file(entry.path()) != found->second.content) return false;
  }
  return count == files.size();
}

}  // namespace

std::optional<VolumeFiles> volume_files(const json::object& volume, const VolumeSources& sources) {
  VolumeFiles files;
  auto mode_of = [](const json::value& source) {
    return static_cast<int>(find_integer(source, {"defaultMode"}).value_or(0644));
  };
  if (const auto* secret = find_path(volume, {"secret"})) {
    add_named(files, *secret, text_at(*secret, {"secretName"}), mode_of(*secret), "secret", sources.secret);
  } else if (const auto* map = find_path(volume, {"configMap"})) {
    add_named(files, *map, text_at(*map, {"name"}), mode_of(*map), "configmap", sources.config_map);
  } else if (const auto* downward = find_path(volume, {"downwardAPI"})) {
    add_downward(files, *downward, mode_of(*downward), sources);
  } else if (const auto* projected = find_path(volume, {"projected"})) {
    const int mode = mode_of(*projected);
    const auto* list = find_path(*projected, {"sources"});
    if (!list || !list->is_array()) return files;
    for (const auto& source : list->get_array()) {
      if (const auto* part = find_path(source, {"secret"})) {
        add_named(files, *part, text_at(*part, {"name"}), mode, "secret", sources.secret);
      } else if (const auto* map_part = find_path(source, {"configMap"})) {
        add_named(files, *map_part, text_at(*map_part, {"name"}), mode, "configmap", sources.config_map);
      } else if (const auto* downward_part = find_path(source, {"downwardAPI"})) {
        add_downward(files, *downward_part, mode, sources);
      } else if (const auto* token = find_path(source, {"serviceAccountToken"})) {
        files[checked_path(text_at(*token, {"path"}))] = {sources.token(text_at(*token, {"audience"})), mode & 0666};
      }
    }
  } else {
    return std::nullopt;
  }
  return files;
}

void write_volume(const fs::path& folder, const VolumeFiles& files, std::optional<std::int64_t> fs_group) {
  fs::create_directories(folder);
  if (is_current(folder, files)) return;
  const auto fresh_name = ".." + random_hex(12);
  fs::create_directory(folder / fresh_name);
  write_files(folder / fresh_name, files, fs_group);
  std::error_code ignored;
  const auto old = fs::read_symlink(folder / "..data", ignored);
  fs::remove(folder / "..data_tmp", ignored);
  fs::create_directory_symlink(fresh_name, folder / "..data_tmp");
  fs::rename(folder / "..data_tmp", folder / "..data");
  std::set<std::string> tops;
  for (const auto& [path, file] : files) tops.insert(split(path, '/').front());
  for (const auto& top : tops) {
    if (!fs::is_symlink(folder / top)) fs::create_symlink(fs::path("..data") / top, folder / top);
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (entry.is_symlink() && !name.starts_with("..") && !tops.contains(name)) fs::remove(entry.path(), ignored);
  }
  if (!old.empty()) fs::remove_all(folder / old, ignored);
}

fs::path prepare_volume(const json::object& volume, const std::string& ns, const VolumePlaces& places,
                        std::optional<std::int64_t> fs_group) {
  const auto name = text_at(volume, {"name"});
  const auto own = places.pod / "volumes" / name;
  if (const auto* empty = find_path(volume, {"emptyDir"})) {
    const bool fresh = fs::create_directories(own);
    // In memory, it is gone after the machine was.
    const bool lost = text_at(*empty, {"medium"}) == "Memory" && !is_mounted(own);
    const auto limit = thousandths_at(volume, {"emptyDir", "sizeLimit"});
    const auto options = limit ? "size=" + std::to_string(*limit / 1000) : std::string();
    if (lost && ::mount("tmpfs", own.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0) {
      refuse("cannot mount a memory volume");
    }
    if (fresh || lost) {
      ::chmod(own.c_str(), 0777);
      if (fs_group) give_to_group(own, *fs_group);
    }
    return own;
  }
  if (const auto* host = find_path(volume, {"hostPath"})) {
    const fs::path path = text_at(*host, {"path"});
    const auto type = text_at(*host, {"type"});
    if (type == "DirectoryOrCreate") fs::create_directories(path);
    if (type == "FileOrCreate" && !fs::exists(path)) write_file_atomically(path, "", 0644);
    const bool wrong = (type.starts_with("Directory") && !fs::is_directory(path)) ||
                       (type.starts_with("File") && !fs::is_regular_file(path)) ||
                       (type == "Socket" && !fs::is_socket(path));
    if (wrong) refuse("hostPath type check failed: " + path.string() + " is not a " + lower(type));
    if (type.empty() && !fs::exists(path)) fs::create_directories(path);
    return path;
  }
  if (const auto* claim = find_path(volume, {"persistentVolumeClaim"})) {
    const auto path = places.volumes / (ns + "_" + text_at(*claim, {"claimName"}));
    if (fs::create_directories(path)) ::chmod(path.c_str(), 0755);
    if (fs_group) give_to_group(path, *fs_group);
    return path;
  }
  fs::create_directories(own);  // a volume of files: written by write_volume
  return own;
}

void remove_volumes(const fs::path& pod_folder) {
  std::error_code ignored;
  if (!fs::exists(pod_folder, ignored)) return;
  for (const auto& entry : fs::directory_iterator(pod_folder / "volumes", ignored))
    ::umount2(entry.path().c_str(), MNT_DETACH);
  fs::remove_all(pod_folder, ignored);
}

fs::path inside(const fs::path& root, const std::string& path) {
  checked_path(path);
  // Files of a secret or a config map lie behind the link that switches them all at once.
  if (std::error_code absent; fs::exists(root / "..data" / path, absent)) return fs::canonical(root / "..data" / path);
  fs::path at = root;
  for (const auto& part : split(path, '/')) {
    if (part.empty() || part == ".") continue;
    at /= part;
    if (fs::is_symlink(at)) refuse("subPath leads through a link: " + path);
    if (!fs::exists(at)) fs::create_directory(at);
  }
  return at;
}

}  // namespace workflow::engine
