#include "lib/base/private_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "lib/base/file.h"

namespace workflow {
namespace {

namespace fs = std::filesystem;

unsigned mode_of(const fs::path& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 07777u;
}

struct PrivateFolder : testing::Test {
  mode_t before = ::umask(022);
  ~PrivateFolder() override { ::umask(before); }
};

TEST_F(PrivateFolder, is_made_for_its_owner_alone_and_so_is_all_that_comes_into_it) {
  const TemporaryFolder temporary;
  const auto state = temporary.path() / "a" / "state";
  keep_private(state);
  EXPECT_EQ(mode_of(state), 0700u);
  fs::create_directory(state / "later");
  EXPECT_EQ(mode_of(state / "later"), 0700u);
}

TEST_F(PrivateFolder, an_older_one_is_tightened_and_nothing_outside_of_it) {
  const TemporaryFolder temporary;
  const auto state = temporary.path() / "state", outside = temporary.path() / "outside";
  fs::create_directories(state / "pki");
  ::chmod(state.c_str(), 0755);
  ::chmod((state / "pki").c_str(), 0755);
  write_file_atomically(state / "engine.db", "", 0644);
  write_file_atomically(state / "engine.db-wal", "", 0640);
  write_file_atomically(state / "script", "", 0700);
  write_file_atomically(outside, "", 0644);
  fs::create_symlink(outside, state / "link");
  keep_private(state);
  EXPECT_EQ(mode_of(state), 0700u);
  EXPECT_EQ(mode_of(state / "pki"), 0700u);
  EXPECT_EQ(mode_of(state / "engine.db"), 0600u);
  EXPECT_EQ(mode_of(state / "engine.db-wal"), 0600u);
  EXPECT_EQ(mode_of(state / "script"), 0700u);
  EXPECT_EQ(mode_of(outside), 0644u);
}

}  // namespace
}  // namespace workflow
