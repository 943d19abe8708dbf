#include "lib/base/error.h"

#include <gtest/gtest.h>

#include <stdexcept>

namespace workflow {

TEST(Error, names_every_field) {
  const Error error(
      Error::Fields{{"app", {"This field is required."}}, {"port", {"must be a number", "must be positive"}}});
  EXPECT_EQ(error.kind(), ErrorKind::invalid);
  EXPECT_EQ(error.message(), "app: This field is required.; port: must be a number, must be positive");
}

TEST(Error, describes_whatever_was_thrown) {
  EXPECT_EQ(describe(std::make_exception_ptr(Error(ErrorKind::unavailable, "no database").with_detail("port 5432"))),
            "unavailable: no database (port 5432)");
  EXPECT_EQ(describe(std::make_exception_ptr(std::runtime_error("boom"))), "boom");
  EXPECT_EQ(describe(std::make_exception_ptr(42)), "an exception of unknown type");
  EXPECT_EQ(describe({}), "no error");
}

}  // namespace workflow
