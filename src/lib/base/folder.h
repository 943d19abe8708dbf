// src/lib/base/folder.h: a tree whose content somebody else made, read and changed without being led out of it.
//   A pushed source, a slug, a pod's volume: whatever a tenant may write, root works on through a `Folder` only. Paths
//   are relative to it; the kernel resolves them beneath it (openat2) and follows no link, so that neither "..", a
//   symbolic link, a mount, nor a rename that happens meanwhile leads elsewhere. Files are regular ones: a pipe, a
//   device or a socket in their place is refused before it is opened. Everything here blocks: call it through offload.
//   Throws  Error: not_found; invalid (a link, "..", not the kind of file that was asked for); too_large;
//           unavailable (disk full, mount point in the way, too many open files); internal.
#pragma once
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/file.h"

namespace workflow {

class Folder {
 public:
  // `path` is ours, not the tenant's: links on the way to it are followed.
  explicit Folder(const std::filesystem::path& path);

  enum class Kind { file, folder, link, other };
  struct Entry {
    std::string name;
    Kind kind = Kind::other;
    std::uint64_t size = 0;
    mode_t mode = 0;  // permission bits
    uid_t uid = 0;
    gid_t gid = 0;
    std::chrono::sys_seconds modified;
  };
  std::optional<Entry> find(std::string_view path) const;  // a link is told as a link
  bool has(std::string_view path, Kind kind) const;
  std::vector<Entry> list(std::string_view path = "", std::size_t max_entries = 100'000) const;  // by name

  std::string read_file(std::string_view path, std::size_t max_bytes) const;
  // nullopt when nothing is there. What is there and may not be read (a link, a pipe, too much) throws.
  std::optional<std::string> find_file(std::string_view path, std::size_t max_bytes) const;
  Fd open_file(std::string_view path) const;           // to read from
  std::string read_link(std::string_view path) const;  // what the link says

  Folder open_folder(std::string_view path) const;
  std::optional<Folder> find_folder(std::string_view path) const;
  // Makes what is missing on the way, with exactly `mode`; what is there stays as it is.
  Folder make_folder(std::string_view path, mode_t mode = 0755) const;

  struct NewFile {
    mode_t mode = 0644;  // exactly, whatever the umask
    std::optional<uid_t> uid;
    std::optional<gid_t> gid;
  };
  // Readers see the old file or the new one; whatever had the name (a link, too) is replaced. Not synced to the disk.
  void write_file(std::string_view path, std::string_view bytes, const NewFile& file) const;
  void write_file(std::string_view path, std::string_view bytes) const { write_file(path, bytes, NewFile{}); }

  // With all that is in it; nothing there is fine. A mount below is left alone, and said: unavailable.
  void remove_all(std::string_view path) const;
  void clear() const;  // all that is in this folder

  enum class Next { enter, skip };
  // Everything below, parents first, each folder by name. Links are told, not followed. Up to 256 folders deep.
  void walk(const std::function<Next(const std::string& path, const Entry& entry)>& visit,
            std::size_t max_entries = 2'000'000) const;

  struct Ownership {
    std::optional<uid_t> uid;
    std::optional<gid_t> gid;
    mode_t add_to_files = 0, add_to_folders = 0;  // permission bits
  };
  // Of the folder and everything below; of links themselves, never of what they point at. A file with a further name
  // outside of the folder is not the tenant's to have: invalid, and it keeps its owner.
  void change_owner(const Ownership& ownership) const;

  // A handle on whatever lies at `path` ("" for the folder itself), to be mounted: it stays the same thing whatever is
  // renamed meanwhile. `beneath` follows links that stay in the folder, as those of a mounted secret do.
  enum class Links { refuse, beneath };
  Fd handle(std::string_view path, Links links) const;

  int fd() const { return fd_.get(); }

 private:
  Folder(Fd fd, std::string name) : fd_(std::move(fd)), name_(std::move(name)) {}
  Fd open_parent(std::string_view path, std::string& last) const;
  std::string named(std::string_view path) const;

  Fd fd_;
  std::string name_;  // for messages
};

// The path by which this process reaches an open file or handle as long as it is open: for mount(2) and its like.
std::filesystem::path path_of(const Fd& fd);

}  // namespace workflow
