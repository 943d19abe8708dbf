#include "builder/cleaner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace workflow::builder {
namespace {

TEST(AppOfKey, is_in_each_of_the_apps_keys) {
  const std::pair<std::string, std::string> cases[] = {
      {"home/peachy:git-01234567/tar", "peachy"},
      {"home/peachy:git-01234567/push/slug.tgz", "peachy"},
      {"home/peachy/cache/cache.tgz", "peachy"},
      {"home/peachy/other", ""},
      {"home/peachy:other/tar", ""},
      {"home/Peachy:git-01234567/tar", ""},
      {"home/peachy", ""},
      {"away/peachy/cache/x", ""},
      {"", ""},
  };
  for (const auto& [key, app] : cases)
    EXPECT_EQ(app_of_key(key), app.empty() ? std::nullopt : AppName::parse(app)) << key;
}

TEST(WithoutNamespace, leaves_out_apps_that_have_one) {
  const auto a = *AppName::parse("a"), b = *AppName::parse("b");
  EXPECT_THAT(without_namespace({a, b}, [&](const AppName& app) { return app == a; }), testing::ElementsAre(b));
}

}  // namespace
}  // namespace workflow::builder
