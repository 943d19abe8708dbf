#include "lib/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow {

namespace {
Error failure(const char* what, const std::filesystem::path& path, int code) {
  const auto kind = code == ENOENT ? ErrorKind::not_found : ErrorKind::internal;
  return {kind, std::string("cannot ") + what + " " + path.string() + ": " + std::generic_category().message(code)};
}

void write_all(int fd, std::string_view bytes, const std::filesystem::path& path) {
  while (!bytes.empty()) {
    const auto written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw failure("write", path, errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

// Removes the temporary file unless it was renamed.
struct Unfinished {
  std::filesystem::path path;
  bool finished = false;
  ~Unfinished() {
    if (!finished) ::unlink(path.c_str());
  }
};
}  // namespace

void Fd::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

std::string read_file(const std::filesystem::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) throw failure("read", path, errno);
  struct stat info{};
  std::string bytes;
  if (::fstat(fd.get(), &info) == 0 && info.st_size > 0) bytes.reserve(static_cast<std::size_t>(info.st_size) + 1);
  // Sizes in /proc and /sys say nothing: read until the end.
  for (;;) {
    const auto old_size = bytes.size();
    bytes.resize(bytes.capacity() > old_size ? bytes.capacity() : old_size * 2 + 4096);
    const auto got = ::read(fd.get(), bytes.data() + old_size, bytes.size() - old_size);
    bytes.resize(old_size + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw failure("read", path, errno);
    if (got == 0) return bytes;
  }
}

std::optional<std::string> find_file(const std::filesystem::path& path) {
  try {
    return read_file(path);
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::not_found) return std::nullopt;
    throw;
  }
}

void write_file_atomically(const std::filesystem::path& path, std::string_view bytes, int mode) {
  const auto folder = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  Unfinished temporary{folder / ("." + path.filename().string() + "." + random_hex(12))};
  {
    const Fd fd(::open(temporary.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) throw failure("write", path, errno);
    write_all(fd.get(), bytes, path);
    if (::fchmod(fd.get(), static_cast<mode_t>(mode)) != 0) throw failure("set the mode of", path, errno);
    if (::fsync(fd.get()) != 0) throw failure("sync", path, errno);
  }
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) throw failure("replace", path, errno);
  temporary.finished = true;
  const Fd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0) throw failure("sync the folder of", path, errno);
}

TemporaryFolder::TemporaryFolder() {
  std::error_code ignored;
  auto base = std::filesystem::temp_directory_path(ignored);
  if (ignored) base = "/tmp";
  std::string pattern = (base / "workflow-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw failure("make a temporary folder in", base, errno);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace workflow
