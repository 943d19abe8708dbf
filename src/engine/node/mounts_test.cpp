#include "engine/node/mounts.h"

#include <gtest/gtest.h>

namespace workflow::engine {
namespace {

TEST(Mounts, are_read_as_the_kernel_writes_them) {
  const auto points = mount_points(
      "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n"
      "37 36 0:5 / /with\\040blank\\134 rw - tmpfs tmpfs rw\n"
      "short line\n");
  EXPECT_EQ(points, (std::vector<std::filesystem::path>{"/mnt2", "/with blank\\"}));
}

TEST(Mounts, of_this_machine_are_known) {
  EXPECT_TRUE(is_mount_point("/proc"));
  EXPECT_FALSE(is_mount_point("/proc/self"));
}

}  // namespace
}  // namespace workflow::engine
