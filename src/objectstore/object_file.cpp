#include "objectstore/object_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lib/base/log.h"
#include "objectstore/s3_error.h"

namespace workflow::objectstore {

namespace {

constexpr std::string_view magic = "WFOBJ001";
constexpr std::size_t metadata_limit = 1u << 20;

template <typename Integer>
void put(std::string& out, Integer value) {
  for (std::size_t i = 0; i < sizeof(Integer); ++i) out += static_cast<char>(value >> (8 * i));
}

void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}

// Little-endian values off the front of some bytes. Reading past the end gives zeros and clears `ok`.
struct Cursor {
  std::string_view rest;
  bool ok = true;

  template <typename Integer>
  Integer take() {
    if (rest.size() < sizeof(Integer)) {
      ok = false;
      return 0;
    }
    Integer value = 0;
    for (std::size_t i = 0; i < sizeof(Integer); ++i) {
      value |= static_cast<Integer>(static_cast<Integer>(static_cast<unsigned char>(rest[i])) << (8 * i));
    }
    rest.remove_prefix(sizeof(Integer));
    return value;
  }
  std::string take_text() {
    const auto size = take<std::uint32_t>();
    if (size > rest.size()) {
      ok = false;
      return "";
    }
    std::string text(rest.substr(0, size));
    rest.remove_prefix(size);
    return text;
  }
};

std::string encode_metadata(const Metadata& metadata) {
  std::string out;
  put_text(out, metadata.bucket);
  put_text(out, metadata.key);
  put_text(out, metadata.etag);
  put(out, static_cast<std::uint64_t>(metadata.modified.time_since_epoch().count()));
  put(out, static_cast<std::uint32_t>(metadata.headers.size()));
  for (const auto& [name, value] : metadata.headers) {
    put_text(out, name);
    put_text(out, value);
  }
  return out;
}

std::optional<Metadata> decode_metadata(std::string_view bytes) {
  Cursor in{bytes};
  Metadata metadata;
  metadata.bucket = in.take_text();
  metadata.key = in.take_text();
  metadata.etag = in.take_text();
  metadata.modified = Time(std::chrono::nanoseconds(static_cast<std::int64_t>(in.take<std::uint64_t>())));
  const auto count = in.take<std::uint32_t>();
  for (std::uint32_t i = 0; i < count && in.ok; ++i) {
    auto name = in.take_text();
    metadata.headers.emplace_back(std::move(name), in.take_text());
  }
  if (!in.ok || !in.rest.empty()) return std::nullopt;
  return metadata;
}

struct Footer {
  std::uint64_t data_size = 0;
  std::uint32_t metadata_size = 0, blocks = 0, block_bytes = 0, sum = 0;
};

std::optional<Footer> decode_footer(std::string_view bytes) {
  if (bytes.size() != footer_size || !bytes.starts_with(magic)) return std::nullopt;
  Cursor in{bytes.substr(magic.size())};
  Footer footer;
  footer.data_size = in.take<std::uint64_t>();
  footer.metadata_size = in.take<std::uint32_t>();
  footer.blocks = in.take<std::uint32_t>();
  footer.block_bytes = in.take<std::uint32_t>();
  in.take<std::uint64_t>();  // room for later
  footer.sum = in.take<std::uint32_t>();
  const bool sane = footer.block_bytes == block_size && footer.metadata_size <= metadata_limit &&
                    footer.blocks == footer.data_size / block_size + (footer.data_size % block_size != 0 ? 1 : 0);
  if (!sane) return std::nullopt;
  return footer;
}

std::string read_at(int fd, std::uint64_t offset, std::size_t size, const std::string& path) {
  std::string bytes(size, '\0');
  std::size_t done = 0;
  while (done < size) {
    const auto got = ::pread(fd, bytes.data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw disk_error(errno, "reading an object", path);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

}  // namespace

std::string encode_tail(const Tail& tail) {
  std::string out = encode_metadata(tail.metadata);
  const auto metadata_size = static_cast<std::uint32_t>(out.size());
  for (const auto sum : tail.block_sums) put(out, sum);
  out += magic;
  put(out, tail.size);
  put(out, metadata_size);
  put(out, static_cast<std::uint32_t>(tail.block_sums.size()));
  put(out, static_cast<std::uint32_t>(block_size));
  put(out, std::uint64_t{0});
  put(out, crc32c(out));
  return out;
}

std::optional<std::size_t> tail_size(std::string_view footer_bytes, std::uint64_t file_size) {
  const auto footer = decode_footer(footer_bytes);
  if (!footer) return std::nullopt;
  const std::uint64_t size = std::uint64_t{footer->metadata_size} + 4 * std::uint64_t{footer->blocks} + footer_size;
  if (file_size < size || file_size - size != footer->data_size) return std::nullopt;
  return static_cast<std::size_t>(size);
}

std::optional<Tail> decode_tail(std::string_view bytes) {
  if (bytes.size() < footer_size) return std::nullopt;
  const auto footer = decode_footer(bytes.substr(bytes.size() - footer_size));
  if (!footer || bytes.size() != footer->metadata_size + std::uint64_t{4} * footer->blocks + footer_size) {
    return std::nullopt;
  }
  if (crc32c(bytes.substr(0, bytes.size() - 4)) != footer->sum) return std::nullopt;
  auto metadata = decode_metadata(bytes.substr(0, footer->metadata_size));
  if (!metadata) return std::nullopt;
  Tail tail{.metadata = std::move(*metadata), .size = footer->data_size, .block_sums = {}};
  Cursor sums{bytes.substr(footer->metadata_size, std::size_t{4} * footer->blocks)};
  tail.block_sums.reserve(footer->blocks);
  for (std::uint32_t i = 0; i < footer->blocks; ++i) tail.block_sums.push_back(sums.take<std::uint32_t>());
  return tail;
}

ObjectWriter::ObjectWriter(std::filesystem::path path) : path_(std::move(path)) {
  fd_.reset(::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!fd_) {
    const int number = errno;
    const std::string name = std::exchange(path_, {});
    throw disk_error(number, "creating a file", name);
  }
}

ObjectWriter::~ObjectWriter() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

void ObjectWriter::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw disk_error(errno, "writing an object", path_);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void ObjectWriter::append(std::string_view bytes) {
  write_all(bytes);
  md5_.update(bytes);
  while (!bytes.empty()) {
    const auto room = block_size - static_cast<std::size_t>(tail_.size % block_size);
    const auto piece = bytes.substr(0, room);
    block_sum_ = crc32c(piece, block_sum_);
    tail_.size += piece.size();
    bytes.remove_prefix(piece.size());
    if (tail_.size % block_size == 0) tail_.block_sums.push_back(std::exchange(block_sum_, 0));
  }
}

std::string ObjectWriter::md5_hex() { return to_hex(md5_.finish()); }

void ObjectWriter::finish(Metadata metadata) {
  if (tail_.size % block_size != 0) tail_.block_sums.push_back(block_sum_);
  tail_.metadata = std::move(metadata);
  write_all(encode_tail(tail_));
  if (::fsync(fd_.get()) != 0) throw disk_error(errno, "making an object durable", path_);
  fd_.reset();
}

std::optional<ObjectReader> ObjectReader::open(const std::filesystem::path& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) throw disk_error(errno, "opening an object", path);
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) throw disk_error(errno, "examining an object", path);
  const auto file_size = static_cast<std::uint64_t>(status.st_size);
  // One read for the tails of most objects.
  const auto guess = static_cast<std::size_t>(std::min<std::uint64_t>(file_size, 4096));
  std::string bytes = read_at(fd.get(), file_size - guess, guess, path);
  std::optional<Tail> tail;
  if (bytes.size() >= footer_size) {
    const auto size = tail_size(std::string_view(bytes).substr(bytes.size() - footer_size), file_size);
    if (size && *size > bytes.size()) bytes = read_at(fd.get(), file_size - *size, *size, path);
    if (size && *size <= bytes.size()) tail = decode_tail(std::string_view(bytes).substr(bytes.size() - *size));
  }
  if (!tail) {
    log::error("an object is damaged: its description cannot be read", kv("file", path.string()));
    throw S3Error{500, "InternalError", "The object is damaged on disk: restore it or delete it."};
  }
  return ObjectReader(std::move(fd), std::move(*tail));
}

std::string ObjectReader::read(std::uint64_t offset, std::uint64_t length, std::size_t ahead) const {
  length = std::min(length, tail_.size - std::min(offset, tail_.size));
  if (length == 0) return "";
  const std::uint64_t first = offset / block_size;
  const std::uint64_t last = std::min((offset + length - 1) / block_size, first + ahead);
  const std::uint64_t begin = first * block_size;
  const std::uint64_t end = std::min((last + 1) * block_size, tail_.size);
  const auto& [bucket, key] = std::tie(tail_.metadata.bucket, tail_.metadata.key);
  std::string bytes = read_at(fd_.get(), begin, static_cast<std::size_t>(end - begin), bucket + "/" + key);
  bool sound = bytes.size() == end - begin;
  for (std::uint64_t block = first; block <= last && sound; ++block) {
    const auto at = static_cast<std::size_t>(block * block_size - begin);
    sound = crc32c(std::string_view(bytes).substr(at, block_size)) == tail_.block_sums[block];
    if (!sound) log::error("an object is damaged", kv("bucket", bucket), kv("key", key), kv("block", block));
  }
  if (!sound) throw damaged(bucket, key);
  const auto skip = static_cast<std::size_t>(offset - begin);
  if (skip > 0) bytes.erase(0, skip);
  if (bytes.size() > length) bytes.resize(static_cast<std::size_t>(length));
  return bytes;
}

void sync_folder(const std::filesystem::path& path) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) throw disk_error(errno, "making a folder durable", path);
}

}  // namespace workflow::objectstore
