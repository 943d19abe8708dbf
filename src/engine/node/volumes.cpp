#include "engine/node/volumes.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "engine/node/mounts.h"
#include "engine/quantity.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/folder.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

std::string text_at(const json::value& value, Path path) { return find_string(value, path).value_or(""); }

[[noreturn]] void refuse(std::string message) { throw Error(ErrorKind::invalid, std::move(message)); }

// A path inside a volume: relative, without "..".
std::string checked_path(const std::string& path) {
  if (path.empty() || path.starts_with('/') || path.starts_with("..")) refuse("invalid volume path \"" + path + "\"");
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

// The kernel's own words for what went wrong with a path of ours.
[[noreturn]] void fail(const std::string& what, const fs::path& path) {
  const auto kind = errno == ENOSPC || errno == EDQUOT || errno == EROFS ? ErrorKind::unavailable : ErrorKind::invalid;
  throw Error(kind, "cannot " + what + " " + path.string() + ": " + std::generic_category().message(errno));
}

// Makes a folder, and those above it, readable by all whatever the umask. True when it was not there.
bool make_folders(const fs::path& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return false;
    errno = ENOTDIR;
    fail("make the folder", path);
  }
  if (errno != ENOENT) fail("make the folder", path);
  if (path.has_parent_path() && path.parent_path() != path) make_folders(path.parent_path());
  if (::mkdir(path.c_str(), 0755) != 0) {
    if (errno == EEXIST) return false;
    fail("make the folder", path);
  }
  ::chmod(path.c_str(), 0755);
  return true;
}

void make_file(const fs::path& path, mode_t mode) {
  Fd fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) fail("make the file", path);
  ::fchmod(fd.get(), mode);
}

// Gives a folder, and what is in it, to the group of the pod's processes, as fsGroup asks. One that has it already is
// left alone, however large it is.
void give_to_group(const fs::path& path, std::int64_t group) {
  const Folder folder(path);
  const auto gid = static_cast<gid_t>(group);
  struct stat info{};
  if (::fstat(folder.fd(), &info) == 0 && info.st_gid == gid && (info.st_mode & S_ISGID) != 0) return;
  folder.change_owner({.gid = gid, .add_to_files = 060, .add_to_folders = S_ISGID | 070});
}

// A volume of files as kubelet lays it out: "..data" leads to a folder whose name begins with two dots, too, and
// everything else at the top leads through "..data".
constexpr std::string_view data_link = "..data";

std::string current_data(const Folder& volume) {
  const auto link = volume.find(data_link);
  if (!link || link->kind != Folder::Kind::link) return "";
  auto target = volume.read_link(data_link);
  return target.starts_with("..") && target.size() > 2 && target.find('/') == std::string::npos ? target : "";
}

Folder::NewFile form_of(const VolumeFile& file, const VolumeReaders& readers) {
  const bool own = file.is_token && (readers.user || readers.group);
  Folder::NewFile form{.mode = static_cast<mode_t>(own ? 0600 : file.mode)};
  if (readers.group) {
    form.mode |= 0440;
    form.gid = static_cast<gid_t>(*readers.group);
  }
  if (own && readers.user) form.uid = static_cast<uid_t>(*readers.user);
  return form;
}

void write_files(const Folder& folder, const VolumeFiles& files, const VolumeReaders& readers) {
  for (const auto& [path, file] : files) {
    if (const auto slash = path.rfind('/'); slash != std::string::npos) folder.make_folder(path.substr(0, slash), 0755);
    folder.write_file(path, file.content, form_of(file, readers));
  }
}

bool is_current(const Folder& data, const VolumeFiles& files, const VolumeReaders& readers) {
  std::size_t count = 0;
  bool same = true;
  data.walk([&](const std::string& path, const Folder::Entry& entry) {
    if (entry.kind == Folder::Kind::folder) return Folder::Next::enter;
    ++count;
    const auto found = files.find(path);
    same = same && found != files.end() && entry.kind == Folder::Kind::file &&
           entry.size == found->second.content.size() && entry.mode == form_of(found->second, readers).mode &&
           data.read_file(path, found->second.content.size()) == found->second.content;
    return Folder::Next::enter;
  });
  return same && count == files.size();
}

void link_to(const Folder& folder, const std::string& target, const std::string& name) {
  if (::symlinkat(target.c_str(), folder.fd(), name.c_str()) != 0 && errno != EEXIST) fail("make the link", name);
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
        files[checked_path(text_at(*token, {"path"}))] = {
            .content = sources.token(text_at(*token, {"audience"})), .mode = mode & 0666, .is_token = true};
      }
    }
  } else {
    return std::nullopt;
  }
  return files;
}

void write_volume(const fs::path& place, const VolumeFiles& files, const VolumeReaders& readers) {
  make_folders(place);
  const Folder volume(place);
  const auto old = current_data(volume);
  if (const auto data = old.empty() ? std::nullopt : volume.find_folder(old); data && is_current(*data, files, readers))
    return;
  const auto fresh = ".." + random_hex(12);
  try {
    write_files(volume.make_folder(fresh, 0755), files, readers);
    const std::string aside = std::string(data_link) + "_tmp";
    volume.remove_all(aside);
    link_to(volume, fresh, aside);
    if (::renameat(volume.fd(), aside.c_str(), volume.fd(), std::string(data_link).c_str()) != 0)
      fail("switch the volume", place);
  } catch (...) {
    volume.remove_all(fresh);
    throw;
  }
  std::set<std::string> tops;
  for (const auto& [path, file] : files) tops.insert(split(path, '/').front());
  for (const auto& top : tops) link_to(volume, std::string(data_link) + "/" + top, top);
  for (const auto& entry : volume.list()) {
    const bool keep = entry.name == data_link || entry.name == fresh || tops.contains(entry.name);
    if (!keep) volume.remove_all(entry.name);
  }
}

VolumeKind kind_of(const json::object& volume) {
  for (const char* kind : {"secret", "configMap", "downwardAPI", "projected"}) {
    if (volume.contains(kind)) return VolumeKind::files;
  }
  return VolumeKind::folder;
}

namespace {

fs::path prepare_empty_dir(const json::object& volume, const fs::path& own, const VolumeReaders& readers) {
  const bool fresh = make_folders(own);
  // In memory, it is gone after the machine was.
  const bool lost = text_at(volume, {"emptyDir", "medium"}) == "Memory" && !is_mount_point(own);
  const auto limit = thousandths_at(volume, {"emptyDir", "sizeLimit"});
  const auto options = limit ? "size=" + std::to_string(*limit / 1000) : std::string();
  if (lost && ::mount("tmpfs", own.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, options.c_str()) != 0)
    fail("mount a memory volume on", own);
  if (fresh || lost) {
    ::chmod(own.c_str(), 0777);
    if (readers.group) give_to_group(own, *readers.group);
  }
  return own;
}

// The operator's own paths: links there are meant.
fs::path prepare_host_path(const json::object& volume) {
  const fs::path path = text_at(volume, {"hostPath", "path"});
  const auto type = text_at(volume, {"hostPath", "type"});
  struct stat info{};
  const bool there = ::stat(path.c_str(), &info) == 0;
  if (!there && errno != ENOENT) fail("reach the hostPath", path);
  if (!there && (type.empty() || type == "DirectoryOrCreate")) {
    make_folders(path);
  } else if (!there && type == "FileOrCreate") {
    make_folders(path.parent_path());
    make_file(path, 0644);
  }
  if (type.empty()) return path;
  if (::stat(path.c_str(), &info) != 0) info.st_mode = 0;
  const bool right = type.starts_with("Directory") ? S_ISDIR(info.st_mode)
                     : type.starts_with("File")    ? S_ISREG(info.st_mode)
                     : type == "Socket"            ? S_ISSOCK(info.st_mode)
                     : type == "CharDevice"        ? S_ISCHR(info.st_mode)
                                                   : S_ISBLK(info.st_mode);
  if (!right) refuse("hostPath type check failed: " + path.string() + " is not a " + lower(type));
  return path;
}

}  // namespace

fs::path prepare_volume(const json::object& volume, const std::string& ns, const VolumePlaces& places,
                        const VolumeReaders& readers) {
  const auto own = places.pod / "volumes" / text_at(volume, {"name"});
  if (volume.contains("emptyDir")) return prepare_empty_dir(volume, own, readers);
  if (volume.contains("hostPath")) return prepare_host_path(volume);
  if (const auto claim = text_at(volume, {"persistentVolumeClaim", "claimName"}); !claim.empty()) {
    const auto path = places.volumes / (ns + "_" + claim);
    make_folders(path);
    if (readers.group) give_to_group(path, *readers.group);
    return path;
  }
  make_folders(own);  // a volume of files: written by write_volume
  return own;
}

void bind_sub_path(const fs::path& place_of_volume, const std::string& path, VolumeKind kind, const fs::path& place) {
  checked_path(path);
  const Folder volume(place_of_volume);
  // Missing folders are as open as the volume itself is.
  struct stat info{};
  if (kind == VolumeKind::folder && ::fstat(volume.fd(), &info) == 0 && !volume.find(path))
    volume.make_folder(path, info.st_mode & 07777);
  const auto handle = volume.handle(path, kind == VolumeKind::files ? Folder::Links::beneath : Folder::Links::refuse);
  if (::fstat(handle.get(), &info) != 0) fail("look at", place_of_volume / path);
  unmount(place);  // of an earlier start; a container that still runs has it in a namespace of its own
  if (S_ISDIR(info.st_mode)) {
    make_folders(place);
  } else {
    make_folders(place.parent_path());
    make_file(place, 0644);
  }
  if (::mount(path_of(handle).c_str(), place.c_str(), nullptr, MS_BIND | MS_REC, nullptr) != 0)
    fail("mount the subPath " + path + " on", place);
}

void remove_volumes(const fs::path& pod_folder) {
  struct stat info{};
  if (::lstat(pod_folder.c_str(), &info) != 0 && errno == ENOENT) return;
  unmount_below(pod_folder);
  Folder(pod_folder.parent_path()).remove_all(pod_folder.filename().string());
}

}  // namespace workflow::engine
