#include "lib/base/folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"

namespace workflow {
namespace {

constexpr std::uint64_t beneath = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
constexpr std::uint64_t strictly = beneath | RESOLVE_NO_SYMLINKS;
constexpr std::uint64_t same_mount = strictly | RESOLVE_NO_XDEV;
// Each level of a walk holds a descriptor.
constexpr std::size_t deepest = 256;
// A tree in which somebody makes files as fast as they are removed is given up at last.
constexpr int most_passes = 100'000;

Error failure(const std::string& what, const std::string& name, int code) {
  const auto begin = "cannot " + what + " " + printable(name) + ": ";
  switch (code) {
    case ENOENT: return {ErrorKind::not_found, begin + "there is nothing of that name"};
    case ELOOP: return {ErrorKind::invalid, begin + "a symbolic link is not followed here"};
    case EXDEV: return {ErrorKind::invalid, begin + "it leads out of its folder"};
    case ENOTDIR: return {ErrorKind::invalid, begin + "a folder is needed where something else is"};
    case EISDIR:
    case ENAMETOOLONG:
    case EINVAL:
    case EEXIST: return {ErrorKind::invalid, begin + std::generic_category().message(code)};
    case ENOSPC:
    case EDQUOT:
    case EROFS:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EBUSY:
    case ENOTEMPTY: return {ErrorKind::unavailable, begin + std::generic_category().message(code)};
    default: return {ErrorKind::internal, begin + std::generic_category().message(code)};
  }
}

// An invalid descriptor and errno when it fails. A file that is made is our own alone at first.
Fd open_beneath(int folder, const std::string& path, int flags, std::uint64_t resolve) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(static_cast<unsigned>(flags | O_CLOEXEC));
  how.mode = (flags & O_CREAT) != 0 ? 0600 : 0;
  how.resolve = resolve;
  // EAGAIN: something was renamed meanwhile, and the kernel could not tell whether the path stayed beneath.
  for (int attempt = 0; attempt < 128; ++attempt) {
    const auto fd = ::syscall(SYS_openat2, folder, path.c_str(), &how, sizeof how);
    if (fd >= 0) return Fd(static_cast<int>(fd));
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return Fd();
}

struct stat stat_of(int fd, const std::string& name) {
  struct stat info{};
  if (::fstat(fd, &info) != 0) throw failure("look at", name, errno);
  return info;
}

Folder::Kind kind_of(const struct stat& info) {
  if (S_ISREG(info.st_mode)) return Folder::Kind::file;
  if (S_ISDIR(info.st_mode)) return Folder::Kind::folder;
  if (S_ISLNK(info.st_mode)) return Folder::Kind::link;
  return Folder::Kind::other;
}

Folder::Entry entry_of(std::string name, const struct stat& info) {
  return {.name = std::move(name),
          .kind = kind_of(info),
          .size = static_cast<std::uint64_t>(info.st_size),
          .mode = info.st_mode & 07777u,
          .uid = info.st_uid,
          .gid = info.st_gid,
          .modified = std::chrono::sys_seconds(std::chrono::seconds(info.st_mtim.tv_sec))};
}

// "./a//b/" → "a/b". Never absolute, never "..".
std::string checked(std::string_view path) {
  auto refuse = [&](const char* why) -> Error {
    return {ErrorKind::invalid, "the path \"" + printable(path.substr(0, 256)) + "\" " + why};
  };
  if (path.starts_with('/')) throw refuse("must be relative");
  if (path.find('\0') != std::string_view::npos) throw refuse("holds a NUL byte");
  std::string out;
  while (!path.empty()) {
    const auto part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part == "..") throw refuse("leads out of its folder");
    if (part.empty() || part == ".") continue;
    if (!out.empty()) out += '/';
    out += part;
  }
  return out;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

// Reads the folder behind `fd` from its beginning, with an offset of its own.
Directory read_folder(int fd, const std::string& name) {
  auto own = open_beneath(fd, ".", O_RDONLY | O_DIRECTORY, strictly);
  if (!own) throw failure("read the folder", name, errno);
  Directory directory(::fdopendir(own.get()));
  if (!directory) throw failure("read the folder", name, errno);
  own.release();
  return directory;
}

// The next name; "" at the end.
std::string next_name(DIR* directory, const std::string& folder) {
  for (;;) {
    errno = 0;
    const auto* found = ::readdir(directory);
    if (!found && errno != 0) throw failure("read the folder", folder, errno);
    if (!found) return "";
    std::string name = found->d_name;
    if (name != "." && name != "..") return name;
  }
}

std::vector<std::string> sorted_names(int fd, const std::string& name, std::size_t max) {
  const auto directory = read_folder(fd, name);
  std::vector<std::string> names;
  for (auto next = next_name(directory.get(), name); !next.empty(); next = next_name(directory.get(), name)) {
    if (names.size() == max) {
      throw Error(ErrorKind::too_large, "more than " + std::to_string(max) + " files in " + printable(name));
    }
    names.push_back(std::move(next));
  }
  std::ranges::sort(names);
  return names;
}

struct Tree {
  int top;
  const std::string& name;
  std::uint64_t resolve;
  std::size_t max_entries;
};

// Calls visit(path, handle, stat) for everything below the top; a folder that it wants is entered.
template <typename Visit>
void descend(const Tree& tree, Visit visit) {
  const auto& top_name = tree.name;
  struct Level {
    Fd fd;
    std::string path;  // ends in '/', or is empty
    std::vector<std::string> names;
    std::size_t next = 0;
  };
  std::size_t budget = tree.max_entries;
  auto level = [&](Fd fd, std::string path) {
    auto names = sorted_names(fd.get(), top_name + "/" + path, budget);
    budget -= names.size();
    return Level{std::move(fd), std::move(path), std::move(names)};
  };
  std::vector<Level> levels;
  auto root = open_beneath(tree.top, ".", O_RDONLY | O_DIRECTORY, strictly);
  if (!root) throw failure("read the folder", top_name, errno);
  levels.push_back(level(std::move(root), ""));
  while (!levels.empty()) {
    auto& at = levels.back();
    if (at.next == at.names.size()) {
      levels.pop_back();
      continue;
    }
    const auto name = std::move(at.names[at.next++]);
    const auto path = at.path + name;
    auto handle = open_beneath(at.fd.get(), name, O_PATH | O_NOFOLLOW, tree.resolve);
    if (!handle && errno == ENOENT) continue;  // gone meanwhile
    if (!handle && errno == EXDEV) {
      throw Error(ErrorKind::unavailable, printable(top_name + "/" + path) + " is a mount point");
    }
    if (!handle) throw failure("look at", top_name + "/" + path, errno);
    const auto info = stat_of(handle.get(), path);
    if (!visit(path, handle, info) || !S_ISDIR(info.st_mode)) continue;
    if (levels.size() == deepest) {
      throw Error(ErrorKind::invalid,
                  printable(top_name) + " has folders nested deeper than " + std::to_string(deepest));
    }
    auto inner = open_beneath(handle.get(), ".", O_RDONLY | O_DIRECTORY, strictly);
    if (!inner) throw failure("read the folder", top_name + "/" + path, errno);
    levels.push_back(level(std::move(inner), path + "/"));
  }
}

// Removes `name` in `parent`, whatever it is. Memory and descriptors stay bounded for a tree of any depth: what lies
// too deep is moved up to the top of the tree first.
void remove_tree(int parent, const std::string& name, const std::string& full_name) {
  struct Level {
    Directory directory;
    std::string name;  // in the level above
    int fd() const { return ::dirfd(directory.get()); }
  };
  std::vector<Level> levels;
  auto above = [&](std::size_t index) { return index == 0 ? parent : levels[index - 1].fd(); };
  auto remove = [&](int folder, const std::string& what) {
    if (::unlinkat(folder, what.c_str(), 0) == 0 || errno == ENOENT) return;
    if (errno != EISDIR && errno != EPERM) throw failure("remove", full_name, errno);
    const int refusal = errno;
    if (levels.size() == deepest) {
      const auto moved = ".removed-" + random_hex(12);
      if (::renameat(folder, what.c_str(), levels.front().fd(), moved.c_str()) != 0) {
        throw failure("remove", full_name, errno);
      }
      return;
    }
    auto inner = open_beneath(folder, what, O_RDONLY | O_DIRECTORY, same_mount);
    if (!inner && errno == EXDEV) {
      throw Error(ErrorKind::unavailable, "cannot remove " + printable(full_name) + ": " + printable(what) +
                                              " in it is a mount point; unmount it first");
    }
    if (!inner) throw failure("remove", full_name, errno == ENOTDIR ? refusal : errno);
    Directory directory(::fdopendir(inner.get()));
    if (!directory) throw failure("remove", full_name, errno);
    inner.release();
    levels.push_back({std::move(directory), what});
  };
  remove(parent, name);
  int passes = 0;
  while (!levels.empty()) {
    auto& at = levels.back();
    const auto next = next_name(at.directory.get(), full_name);
    if (!next.empty()) {
      remove(at.fd(), next);
      continue;
    }
    if (::unlinkat(above(levels.size() - 1), at.name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) {
      levels.pop_back();
    } else if ((errno == ENOTEMPTY || errno == EEXIST) && ++passes < most_passes) {
      ::rewinddir(at.directory.get());  // something was moved up or made meanwhile
    } else {
      throw failure("remove", full_name, errno);
    }
  }
}

void write_all(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw failure("write", name, errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

Error not_a_file(const std::string& name, const struct stat& info) {
  if (S_ISLNK(info.st_mode)) return failure("read", name, ELOOP);
  return {ErrorKind::invalid,
          "cannot read " + printable(name) + ": it is " + (S_ISDIR(info.st_mode) ? "a folder" : "not a regular file")};
}

}  // namespace

std::filesystem::path path_of(const Fd& fd) { return "/proc/self/fd/" + std::to_string(fd.get()); }

Folder::Folder(const std::filesystem::path& path) : name_(path.string()) {
  fd_ = Fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd_) throw failure("open the folder", name_, errno);
}

std::string Folder::named(std::string_view path) const {
  return path.empty() ? name_ : name_ + "/" + std::string(path);
}

Fd Folder::open_parent(std::string_view path, std::string& last) const {
  const auto clean = checked(path);
  if (clean.empty()) throw Error(ErrorKind::invalid, "a path in " + printable(name_) + " is needed");
  const auto slash = clean.rfind('/');
  last = slash == std::string::npos ? clean : clean.substr(slash + 1);
  const auto parent = slash == std::string::npos ? std::string(".") : clean.substr(0, slash);
  auto fd = open_beneath(fd_.get(), parent, O_RDONLY | O_DIRECTORY, strictly);
  if (!fd) throw failure("open the folder", named(parent), errno);
  return fd;
}

Fd Folder::handle(std::string_view path, Links links) const {
  auto clean = checked(path);
  if (clean.empty()) clean = ".";
  auto fd = links == Links::beneath ? open_beneath(fd_.get(), clean, O_PATH, beneath)
                                    : open_beneath(fd_.get(), clean, O_PATH | O_NOFOLLOW, strictly);
  if (!fd) throw failure("open", named(clean), errno);
  if (links == Links::refuse && S_ISLNK(stat_of(fd.get(), clean).st_mode)) throw failure("open", named(clean), ELOOP);
  return fd;
}

std::optional<Folder::Entry> Folder::find(std::string_view path) const {
  const auto clean = checked(path);
  const auto fd = open_beneath(fd_.get(), clean.empty() ? "." : clean, O_PATH | O_NOFOLLOW, strictly);
  if (!fd && (errno == ENOENT || errno == ENOTDIR)) return std::nullopt;
  if (!fd) throw failure("look at", named(clean), errno);
  return entry_of(clean.substr(clean.rfind('/') + 1), stat_of(fd.get(), named(clean)));
}

bool Folder::has(std::string_view path, Kind kind) const {
  const auto found = find(path);
  return found && found->kind == kind;
}

std::vector<Folder::Entry> Folder::list(std::string_view path, std::size_t max_entries) const {
  const auto folder = open_folder(path);
  std::vector<Entry> entries;
  for (auto& name : sorted_names(folder.fd(), folder.name_, max_entries)) {
    struct stat info{};
    if (::fstatat(folder.fd(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) continue;  // gone meanwhile
      throw failure("look at", folder.named(name), errno);
    }
    entries.push_back(entry_of(std::move(name), info));
  }
  return entries;
}

Fd Folder::open_file(std::string_view path) const {
  const auto clean = checked(path);
  // Opening a pipe waits, opening a device does things: what it is is seen before.
  const auto found = open_beneath(fd_.get(), clean.empty() ? "." : clean, O_PATH | O_NOFOLLOW, strictly);
  if (!found) throw failure("read", named(clean), errno);
  const auto info = stat_of(found.get(), named(clean));
  if (!S_ISREG(info.st_mode)) throw not_a_file(named(clean), info);
  Fd fd(::open(path_of(found).c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw failure("read", named(clean), errno);
  return fd;
}

std::string Folder::read_file(std::string_view path, std::size_t max_bytes) const {
  const auto fd = open_file(path);
  const auto name = named(checked(path));
  const auto size = static_cast<std::size_t>(stat_of(fd.get(), name).st_size);
  std::string bytes;
  bool ended = size > max_bytes;  // not even begun
  while (!ended && bytes.size() <= max_bytes) {
    const auto had = bytes.size();
    bytes.resize(std::min(max_bytes + 1, std::max(size + 1, had + 4096)));
    if (bytes.size() == had) break;
    const auto got = ::read(fd.get(), bytes.data() + had, bytes.size() - had);
    const int code = errno;
    bytes.resize(had + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && code == EINTR) continue;
    if (got < 0) throw failure("read", name, code);
    ended = got == 0;
  }
  if (size > max_bytes || bytes.size() > max_bytes) {
    throw Error(ErrorKind::too_large,
                printable(name) + " is larger than the limit of " + std::to_string(max_bytes) + " bytes");
  }
  return bytes;
}

std::optional<std::string> Folder::find_file(std::string_view path, std::size_t max_bytes) const {
  try {
    return read_file(path, max_bytes);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::not_found) return std::nullopt;
    throw;
  }
}

std::string Folder::read_link(std::string_view path) const {
  std::string last;
  const auto parent = open_parent(path, last);
  std::string target(4096, '\0');
  const auto length = ::readlinkat(parent.get(), last.c_str(), target.data(), target.size());
  if (length < 0 && errno == EINVAL) throw Error(ErrorKind::invalid, printable(named(path)) + " is not a link");
  if (length < 0) throw failure("read the link", named(path), errno);
  target.resize(static_cast<std::size_t>(length));
  return target;
}

Folder Folder::open_folder(std::string_view path) const {
  const auto clean = checked(path);
  auto fd = open_beneath(fd_.get(), clean.empty() ? "." : clean, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, strictly);
  if (!fd) throw failure("open the folder", named(clean), errno);
  return {std::move(fd), named(clean)};
}

std::optional<Folder> Folder::find_folder(std::string_view path) const {
  try {
    return open_folder(path);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::not_found) return std::nullopt;
    throw;
  }
}

Folder Folder::make_folder(std::string_view path, mode_t mode) const {
  const auto clean = checked(path);
  auto at = open_folder("");
  for (std::size_t begin = 0; begin < clean.size();) {
    const auto end = std::min(clean.find('/', begin), clean.size());
    const auto part = clean.substr(begin, end - begin);
    const bool made = ::mkdirat(at.fd(), part.c_str(), 0700) == 0;
    if (!made && errno != EEXIST) throw failure("make the folder", at.named(part), errno);
    auto inner = at.open_folder(part);
    if (made && ::fchmod(inner.fd(), mode) != 0) throw failure("set the mode of", inner.name_, errno);
    at = std::move(inner);
    begin = end + 1;
  }
  return at;
}

void Folder::write_file(std::string_view path, std::string_view bytes, const NewFile& file) const {
  std::string last;
  const auto parent = open_parent(path, last);
  const auto name = named(path);
  const auto temporary = ".new-" + random_hex(12);
  Fd fd = open_beneath(parent.get(), temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, strictly);
  if (!fd) throw failure("write", name, errno);
  try {
    write_all(fd.get(), bytes, name);
    if (file.uid || file.gid) {
      if (::fchown(fd.get(), file.uid.value_or(static_cast<uid_t>(-1)), file.gid.value_or(static_cast<gid_t>(-1))) != 0)
        throw failure("set the owner of", name, errno);
    }
    if (::fchmod(fd.get(), file.mode) != 0) throw failure("set the mode of", name, errno);
    if (::renameat(parent.get(), temporary.c_str(), parent.get(), last.c_str()) != 0)
      throw failure("write", name, errno);
  } catch (...) {
    ::unlinkat(parent.get(), temporary.c_str(), 0);
    throw;
  }
}

void Folder::remove_all(std::string_view path) const {
  std::string last;
  try {
    const auto parent = open_parent(path, last);
    remove_tree(parent.get(), last, named(path));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
}

void Folder::clear() const {
  const auto directory = read_folder(fd_.get(), name_);
  bool found = true;
  while (found) {
    found = false;
    for (auto name = next_name(directory.get(), name_); !name.empty(); name = next_name(directory.get(), name_)) {
      remove_tree(fd_.get(), name, named(name));
      found = true;
    }
    ::rewinddir(directory.get());
  }
}

void Folder::walk(const std::function<Next(const std::string& path, const Entry& entry)>& visit,
                  std::size_t max_entries) const {
  descend({fd_.get(), name_, strictly, max_entries}, [&](const std::string& path, const Fd&, const struct stat& info) {
    return visit(path, entry_of(path.substr(path.rfind('/') + 1), info)) == Next::enter;
  });
}

void Folder::change_owner(const Ownership& ownership) const {
  auto apply = [&](const Fd& handle, const struct stat& info, const std::string& path) {
    if (::fchownat(handle.get(), "", ownership.uid.value_or(static_cast<uid_t>(-1)),
                   ownership.gid.value_or(static_cast<gid_t>(-1)), AT_EMPTY_PATH) != 0) {
      throw failure("set the owner of", named(path), errno);
    }
    const auto added = S_ISDIR(info.st_mode) ? ownership.add_to_folders : ownership.add_to_files;
    if (added == 0 || (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode))) return;
    // What runs as another user than the one who made it loses that with its owner.
    const auto kept = info.st_mode & (S_ISDIR(info.st_mode) ? 07777u : 0777u);
    if (::chmod(path_of(handle).c_str(), kept | added) != 0) throw failure("set the mode of", named(path), errno);
  };
  // A file with several names is done when all of them were found here.
  struct Linked {
    nlink_t seen = 0;
    std::string path;
  };
  std::map<std::pair<dev_t, ino_t>, Linked> linked;
  auto visit = [&](const std::string& path, const Fd& handle, const struct stat& info) {
    if (!S_ISDIR(info.st_mode) && info.st_nlink > 1) {
      auto& found = linked[{info.st_dev, info.st_ino}];
      found.path = path;
      if (++found.seen < info.st_nlink) return false;
      linked.erase({info.st_dev, info.st_ino});
    }
    apply(handle, info, path);
    return true;
  };
  descend({fd_.get(), name_, same_mount, 10'000'000}, visit);
  if (!linked.empty()) {
    throw Error(ErrorKind::invalid, printable(named(linked.begin()->second.path)) +
                                        " is a hard link to a file outside of its folder; its owner stays");
  }
  // The folder itself last, so that one that was cut short can be told from one that was done.
  const auto self = handle("", Links::refuse);
  apply(self, stat_of(self.get(), name_), "");
}

}  // namespace workflow
