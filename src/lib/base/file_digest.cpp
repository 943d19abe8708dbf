#include "lib/base/file_digest.h"

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <string_view>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow {

std::string sha256_of_file(const Fd& file) {
  Digest digest(DigestKind::sha256);
  std::string piece(256 << 10, '\0');
  for (off_t at = 0;;) {
    const auto got = ::pread(file.get(), piece.data(), piece.size(), at);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(ErrorKind::internal, "a file cannot be read");
    if (got == 0) return digest.finish();
    digest.update(std::string_view(piece).substr(0, static_cast<std::size_t>(got)));
    at += got;
  }
}

}  // namespace workflow
