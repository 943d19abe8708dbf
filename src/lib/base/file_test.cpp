#include "lib/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "lib/base/error.h"

namespace workflow {

TEST(File, writes_and_reads_bytes) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "file";
  for (const auto& bytes : {std::string(), std::string("a\0b\n", 4), std::string(3'000'000, 'x')}) {
    write_file_atomically(path, bytes, 0640);
    EXPECT_EQ(read_file(path), bytes);
  }
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777u, 0640u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "a temporary file is left";
}

TEST(File, tells_absent_from_broken) {
  const TemporaryFolder folder;
  EXPECT_EQ(find_file(folder.path() / "absent"), std::nullopt);
  EXPECT_THROW(find_file(folder.path()), Error);  // a folder
  try {
    read_file(folder.path() / "absent");
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::not_found);
    EXPECT_NE(error.message().find("/absent: No such file or directory"), std::string::npos);
  }
}

TEST(File, reads_what_has_no_size) { EXPECT_NE(read_file("/proc/self/status").find("Name:"), std::string::npos); }

TEST(File, temporary_folders_go_with_their_object) {
  std::filesystem::path path;
  {
    const TemporaryFolder folder;
    path = folder.path();
    write_file_atomically(path / "file", "x");
    EXPECT_TRUE(std::filesystem::exists(path));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace workflow
