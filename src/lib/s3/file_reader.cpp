#include "lib/s3/file_reader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lib/base/encoding.h"

namespace workflow::s3 {

namespace {

constexpr std::size_t piece_size = 64u << 10;

std::string read_at(int fd, std::uint64_t offset, std::size_t size) {
  std::string piece(size, '\0');
  ssize_t got = -1;
  do got = ::pread(fd, piece.data(), size, static_cast<off_t>(offset));
  while (got < 0 && errno == EINTR);
  if (got < 0) throw Error{ErrorKind::internal, std::string("cannot read a file: ") + std::strerror(errno)};
  if (got == 0) throw Error{ErrorKind::internal, "a file became shorter while it was read"};
  piece.resize(static_cast<std::size_t>(got));
  return piece;
}

}  // namespace

Task<std::string> FileReader::read() {
  if (left_ == 0) co_return "";
  const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece_size));
  auto piece = co_await offload([fd = fd_, offset = offset_, size] { return read_at(fd->get(), offset, size); });
  offset_ += piece.size();
  left_ -= piece.size();
  co_return piece;
}

std::uint64_t size_of_file(const Fd& fd) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) {
    throw Error{ErrorKind::internal, std::string("cannot examine a file: ") + std::strerror(errno)};
  }
  return static_cast<std::uint64_t>(status.st_size);
}

std::string sha256_of_part(const Fd& fd, std::uint64_t offset, std::uint64_t length) {
  Digest digest(DigestKind::sha256);
  while (length > 0) {
    const auto piece = read_at(fd.get(), offset, static_cast<std::size_t>(std::min<std::uint64_t>(length, 256u << 10)));
    digest.update(piece);
    offset += piece.size();
    length -= piece.size();
  }
  return digest.finish();
}

}  // namespace workflow::s3
