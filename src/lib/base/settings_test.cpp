#include "lib/base/settings.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow {

using namespace std::chrono_literals;

TEST(Env, reads_values_and_defaults) {
  Env env({{"TEXT", "a"}, {"EMPTY", ""}, {"NUMBER", "8"}, {"YES", "Yes"}, {"ZERO", "0"}});
  EXPECT_EQ(env.text("TEXT", "b"), "a");
  EXPECT_EQ(env.text("EMPTY", "b"), "b");
  EXPECT_EQ(env.text("ABSENT", "b"), "b");
  EXPECT_EQ(env.integer("NUMBER", 1, 0, 10), 8);
  EXPECT_EQ(env.integer("ABSENT", 1, 0, 10), 1);
  EXPECT_TRUE(env.flag("YES", false));
  EXPECT_FALSE(env.flag("ZERO", true));
  EXPECT_NO_THROW(env.done());
}

TEST(Env, reads_durations) {
  struct Case {
    std::string text;
    std::optional<std::chrono::milliseconds> value;
  };
  const Case cases[] = {{"250ms", 250ms}, {"30s", 30s}, {"5m", 5min}, {"2h", 2h}, {"7", 7s},
                        {"5 m", {}},      {"-1s", {}},  {"1d", {}},   {"s", {}},  {"99999999999h", {}}};
  for (const auto& [text, value] : cases) {
    Env env({{"D", text}});
    const auto read = env.duration("D", 1ms);
    if (value) {
      EXPECT_EQ(read, *value) << text;
      EXPECT_NO_THROW(env.done());
    } else {
      EXPECT_THROW(env.done(), Error) << text;
    }
  }
}

TEST(Env, lists_every_problem_at_once) {
  Env env({{"NUMBER", "eleven"}, {"FLAG", "maybe"}});
  env.integer("NUMBER", 1, 0, 10);
  env.flag("FLAG", true);
  env.required("NAME");
  env.secret_or_file("PASSWORD");
  try {
    env.done();
    FAIL() << "no exception";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    EXPECT_EQ(error.fields().size(), 4u);
    EXPECT_EQ(error.message(),
              "FLAG: must be true or false; NAME: is required; NUMBER: must be a number from 0 to 10; "
              "PASSWORD_FILE: is required (or PASSWORD)");
  }
}

TEST(Env, a_setting_that_two_parts_read_has_its_problem_once) {
  Env env({});
  env.required("URL");
  env.required("URL");
  try {
    env.done();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.fields().at("URL").size(), 1u);
  }
}

TEST(Env, secret_files_lose_their_newline) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "password", "s3cret\n");
  Env env({{"PASSWORD_FILE", folder.path() / "password"}, {"PASSWORD", "other"}, {"KEY", "k"}});
  EXPECT_EQ(env.secret_or_file("PASSWORD").reveal(), "s3cret");
  EXPECT_EQ(env.secret_or_file("KEY").reveal(), "k");
  EXPECT_NO_THROW(env.done());
}

}  // namespace workflow
