// src/lib/archive/archive.h: tar archives to folders and back, safely. Everything here blocks: call it through offload.
//   Throws  Error: invalid (not an archive, broken, or it tries to leave the folder), unavailable (disk full),
//   internal.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

namespace workflow::archive {

struct ExtractOptions {
  std::uint64_t max_bytes = 20ull << 30;  // of all files together
  std::uint64_t max_entries = 2'000'000;
};
// Unpacks a tar from `fd`, plain or compressed with gzip or zstd, below `folder`, which must exist, as our own. No
// entry leaves the folder, not through "..", an absolute path or a symbolic link of the archive; device files are
// refused.
void extract_tar(int fd, const std::filesystem::path& folder, const ExtractOptions& options = {});

struct Owner {
  int uid = 0, gid = 0;
};
struct CreateOptions {
  std::optional<Owner> owner;  // written as every member's owner
  // Paths relative to the folder, without "./"; a folder that is left out is not entered.
  std::function<bool(const std::string& path)> leave_out;
};
// Writes `folder` as a tar, compressed with zstd, to `file` (members "./…", sorted, so that equal folders make equal
// archives) and returns its size in bytes.
std::uint64_t create_tar(const std::filesystem::path& folder, const std::filesystem::path& file,
                         const CreateOptions& options = {});

}  // namespace workflow::archive
