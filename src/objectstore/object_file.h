// src/objectstore/object_file.h: one object in one file: its bytes, then what is known of them.
//
//   [data][metadata][CRC-32C of each block of data][footer of 40 bytes]
//
//   The footer says how long each part is and carries the CRC-32C of everything after the data, so a file that was cut,
//   or changed anywhere, is recognised. Everything here blocks; failures of the disk are thrown as S3Error.
#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"

namespace workflow::objectstore {

constexpr std::size_t block_size = 256u << 10;

struct Metadata {
  std::string bucket, key, etag;  // etag without quotes
  Time modified{};
  std::vector<std::pair<std::string, std::string>> headers;  // content-type, x-amz-meta-…, as GET sends them back
  bool operator==(const Metadata&) const = default;
};

// What stands behind the data, as bytes and back. nullopt: damaged.
struct Tail {
  Metadata metadata;
  std::uint64_t size = 0;
  std::vector<std::uint32_t> block_sums;
  bool operator==(const Tail&) const = default;
};
std::string encode_tail(const Tail& tail);
constexpr std::size_t footer_size = 40;
// How long the tail is, by the last 40 bytes of a file of `file_size` bytes.
std::optional<std::size_t> tail_size(std::string_view footer, std::uint64_t file_size);
std::optional<Tail> decode_tail(std::string_view bytes);

// A file in the making, at a path of its own. Removed again unless `keep` was called after `finish`.
class ObjectWriter {
 public:
  explicit ObjectWriter(std::filesystem::path path);
  ~ObjectWriter();
  ObjectWriter(const ObjectWriter&) = delete;
  ObjectWriter& operator=(const ObjectWriter&) = delete;
  void append(std::string_view bytes);
  std::uint64_t size() const { return tail_.size; }
  std::string md5_hex();           // of all that was appended; once
  void finish(Metadata metadata);  // writes the tail and waits until the disk has everything
  void keep() { path_.clear(); }   // it was renamed
  const std::filesystem::path& path() const { return path_; }

 private:
  void write_all(std::string_view bytes);
  std::filesystem::path path_;
  Fd fd_;
  Tail tail_;
  Digest md5_{DigestKind::md5};
  std::uint32_t block_sum_ = 0;
};

class ObjectReader {
 public:
  // nullopt: there is no such file. Throws `damaged` for a file that is not sound.
  static std::optional<ObjectReader> open(const std::filesystem::path& path);
  const Metadata& metadata() const { return tail_.metadata; }
  std::uint64_t size() const { return tail_.size; }
  // Bytes of the range, at most up to the end of the block that is `ahead` blocks after the first; verified.
  std::string read(std::uint64_t offset, std::uint64_t length, std::size_t ahead = 3) const;

 private:
  ObjectReader(Fd fd, Tail tail) : fd_(std::move(fd)), tail_(std::move(tail)) {}
  Fd fd_;
  Tail tail_;
};

void sync_folder(const std::filesystem::path& path);

}  // namespace workflow::objectstore
