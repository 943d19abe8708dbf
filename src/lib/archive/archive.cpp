#include "lib/archive/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::archive {
namespace {

namespace fs = std::filesystem;

using Reader = std::unique_ptr<::archive, decltype(&archive_read_free)>;
using Writer = std::unique_ptr<::archive, decltype(&archive_write_free)>;
using Entry = std::unique_ptr<archive_entry, decltype(&archive_entry_free)>;

std::string reason(::archive* from) {
  const char* text = archive_error_string(from);
  return text ? text : "unknown reason";
}

[[noreturn]] void refuse(::archive* from, const std::string& what) {
  throw Error(ErrorKind::invalid, what + ": " + reason(from));
}

[[noreturn]] void cannot_write(::archive* to) {
  if (archive_errno(to) == ENOSPC || archive_errno(to) == EDQUOT) {
    throw Error(ErrorKind::unavailable, "the disk is full; free some space");
  }
  throw Error(ErrorKind::internal, "writing failed: " + reason(to));
}

// The entry's path below the folder: never absolute, never with "..". Empty for the folder itself.
std::string safe_path(const char* raw) {
  if (!raw) throw Error(ErrorKind::invalid, "the archive has an entry without a name");
  const fs::path path(raw);
  fs::path safe;
  for (const auto& part : path.relative_path()) {
    if (part == "..") throw Error(ErrorKind::invalid, "the archive tries to leave its folder: " + path.string());
    if (!part.empty() && part != ".") safe /= part;
  }
  return safe.string();
}

void copy_data(::archive* from, ::archive* to, std::uint64_t& budget) {
  const void* block = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  for (;;) {
    const int read = archive_read_data_block(from, &block, &size, &offset);
    if (read == ARCHIVE_EOF) return;
    if (read != ARCHIVE_OK) refuse(from, "the archive is broken");
    if (size > budget) throw Error(ErrorKind::too_large, "the archive unpacks to more than the limit");
    budget -= size;
    if (archive_write_data_block(to, block, size, offset) < ARCHIVE_WARN) cannot_write(to);
  }
}

struct stat lstat_of(const fs::path& path) {
  struct stat info{};
  if (::lstat(path.c_str(), &info) != 0) throw Error(ErrorKind::internal, "cannot read " + path.string());
  return info;
}

// Every path below `folder`, relative, sorted, parents before children.
std::vector<std::string> members(const fs::path& folder, const std::function<bool(const std::string&)>& leave_out) {
  std::vector<std::string> found;
  for (fs::recursive_directory_iterator at(folder), end; at != end; ++at) {
    auto path = at->path().lexically_relative(folder).string();
    if (leave_out && leave_out(path)) {
      if (at->is_directory() && !at->is_symlink()) at.disable_recursion_pending();
      continue;
    }
    found.push_back(std::move(path));
  }
  std::ranges::sort(found);
  return found;
}

void add_file_data(::archive* to, const fs::path& path, std::uint64_t size) {
  Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) throw Error(ErrorKind::internal, "cannot read " + path.string());
  std::vector<char> buffer(256u << 10);
  // The header already says the size: a file that grows meanwhile is cut there, one that shrinks is filled up.
  for (std::uint64_t left = size; left > 0;) {
    const auto got = ::read(file.get(), buffer.data(), std::min<std::uint64_t>(left, buffer.size()));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (archive_write_data(to, buffer.data(), static_cast<std::size_t>(got)) < 0) cannot_write(to);
    left -= static_cast<std::uint64_t>(got);
  }
}

void add_member(::archive* to, const fs::path& folder, const std::string& member, const CreateOptions& options) {
  const auto path = folder / member;
  const auto info = lstat_of(path);
  if (!S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode) && !S_ISLNK(info.st_mode))
    return;  // sockets and pipes stay here
  Entry entry(archive_entry_new(), archive_entry_free);
  archive_entry_copy_stat(entry.get(), &info);
  archive_entry_set_pathname(entry.get(), member.empty() ? "./" : ("./" + member).c_str());
  archive_entry_set_nlink(entry.get(), 1);
  archive_entry_unset_atime(entry.get());
  archive_entry_unset_ctime(entry.get());
  archive_entry_unset_birthtime(entry.get());
  archive_entry_set_dev(entry.get(), 0);
  archive_entry_set_ino(entry.get(), 0);
  if (options.owner) {
    archive_entry_set_uid(entry.get(), options.owner->uid);
    archive_entry_set_gid(entry.get(), options.owner->gid);
  }
  if (S_ISLNK(info.st_mode)) archive_entry_set_symlink(entry.get(), fs::read_symlink(path).c_str());
  if (!S_ISREG(info.st_mode)) archive_entry_set_size(entry.get(), 0);
  if (archive_write_header(to, entry.get()) < ARCHIVE_WARN) cannot_write(to);
  if (S_ISREG(info.st_mode)) add_file_data(to, path, static_cast<std::uint64_t>(info.st_size));
}

}  // namespace

void extract_tar(int fd, const fs::path& folder, const ExtractOptions& options) {
  Reader from(archive_read_new(), archive_read_free);
  archive_read_support_format_tar(from.get());
  archive_read_support_filter_gzip(from.get());
  archive_read_support_filter_zstd(from.get());
  if (archive_read_open_fd(from.get(), fd, 256u << 10) != ARCHIVE_OK) refuse(from.get(), "this is not a tar archive");

  Writer to(archive_write_disk_new(), archive_write_free);
  const int flags = ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
                    ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_UNLINK;
  archive_write_disk_set_options(to.get(), flags);

  // The canonical folder: its own path may well lead through links, which SECURE_SYMLINKS would take for the archive's.
  const auto base = fs::canonical(folder);
  std::uint64_t bytes = options.max_bytes, entries = options.max_entries;
  archive_entry* entry = nullptr;
  for (;;) {
    const int read = archive_read_next_header(from.get(), &entry);
    if (read == ARCHIVE_EOF) break;
    if (read < ARCHIVE_WARN) refuse(from.get(), "the archive is broken");
    if (entries-- == 0) throw Error(ErrorKind::too_large, "the archive has more entries than the limit");
    const auto path = safe_path(archive_entry_pathname(entry));
    if (path.empty()) continue;
    const auto type = archive_entry_filetype(entry);
    if (const char* target = archive_entry_hardlink(entry)) {
      archive_entry_set_hardlink(entry, (base / safe_path(target)).c_str());
    } else if (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK) {
      throw Error(ErrorKind::invalid, "the archive holds a device or a pipe: " + path);
    }
    archive_entry_set_pathname(entry, (base / path).c_str());
    archive_entry_set_perm(entry, archive_entry_perm(entry) & 0777);
    const int made = archive_write_header(to.get(), entry);
    if (made < ARCHIVE_WARN) {
      if (archive_errno(to.get()) == ENOSPC) cannot_write(to.get());
      refuse(to.get(), "the archive cannot be unpacked at " + path);
    }
    if (archive_entry_size(entry) > 0) copy_data(from.get(), to.get(), bytes);
    if (archive_write_finish_entry(to.get()) < ARCHIVE_WARN) cannot_write(to.get());
  }
  if (archive_write_close(to.get()) < ARCHIVE_WARN) cannot_write(to.get());
}

std::uint64_t create_tar(const fs::path& folder, const fs::path& file, const CreateOptions& options) {
  Writer to(archive_write_new(), archive_write_free);
  archive_write_set_format_pax_restricted(to.get());
  archive_write_add_filter_zstd(to.get());
  // As fast as it gets: three times gzip's fastest, and smaller.
  archive_write_set_filter_option(to.get(), "zstd", "compression-level", "1");
  if (archive_write_open_filename(to.get(), file.c_str()) != ARCHIVE_OK) cannot_write(to.get());
  add_member(to.get(), folder, "", options);
  for (const auto& member : members(folder, options.leave_out)) add_member(to.get(), folder, member, options);
  if (archive_write_close(to.get()) != ARCHIVE_OK) cannot_write(to.get());
  return fs::file_size(file);
}

}  // namespace workflow::archive
