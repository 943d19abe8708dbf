#include "engine/object_equal.h"

#include <gtest/gtest.h>

namespace workflow::engine {
namespace {

TEST(ObjectEqual, means_what_boost_means) {
  const char* const texts[] = {"null",
                               "true",
                               "1",
                               "1.0",
                               "\"1\"",
                               "[]",
                               "[1]",
                               "[1,2]",
                               "[2,1]",
                               "{}",
                               "{\"a\":1}",
                               "{\"b\":1}",
                               "{\"a\":2}",
                               "{\"a\":[{\"b\":{}}]}",
                               "[[{}]]",
                               "[[null]]",
                               "{\"a\":1,\"b\":2}",
                               "{\"b\":2,\"a\":1}",
                               "{\"a\":[{\"b\":{\"c\":1}}]}"};
  for (const auto* a : texts) {
    for (const auto* b : texts) {
      const auto one = json::parse(a), other = json::parse(b);
      EXPECT_EQ(is_same(one, other), one == other) << a << " and " << b;
    }
  }
}

}  // namespace
}  // namespace workflow::engine
