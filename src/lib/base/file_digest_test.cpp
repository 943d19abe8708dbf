#include "lib/base/file_digest.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "lib/base/encoding.h"

namespace workflow {
namespace {

TEST(Sha256OfFile, is_that_of_its_bytes_wherever_it_is_read) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{(256 << 10) + 1}}) {
    const std::string bytes(size, 'x');
    const Fd file(::open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
    ASSERT_EQ(::write(file.get(), bytes.data(), size), static_cast<ssize_t>(size));
    EXPECT_EQ(to_hex(sha256_of_file(file)), to_hex(sha256(bytes))) << size;
  }
}

}  // namespace
}  // namespace workflow
