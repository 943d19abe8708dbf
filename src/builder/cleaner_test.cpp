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

TEST(Abandoned, is_what_only_a_build_needs_once_none_can_be_under_way) {
  const Time now{std::chrono::hours(1000)};
  auto at = [&](std::string key, std::chrono::minutes age) {
    s3::ObjectInfo object{.key = std::move(key)};
    object.modified = now - age;
    return object;
  };
  using namespace std::chrono_literals;
  const std::vector<s3::ObjectInfo> objects{at("home/a:git-01234567/tar", 60min),
                                            at("home/a:git-01234567/push/Procfile", 60min),
                                            at("home/a:git-01234567/push/slug.tgz", 60min),
                                            at("home/a:git-89abcdef/tar", 10min),
                                            at("home/a:git-01234567/push/slug.sha256", 60min),
                                            at("home/a/cache/tar", 60min),
                                            at("home/A:git-01234567/tar", 60min)};
  EXPECT_EQ(abandoned(objects, now - 35min),
            (std::vector<std::string>{"home/a:git-01234567/tar", "home/a:git-01234567/push/Procfile",
                                      "home/a:git-01234567/push/slug.sha256"}));
}

TEST(OldSlugs, are_those_that_no_push_of_now_can_have_made) {
  using namespace std::chrono_literals;
  const Time now{std::chrono::hours(1000)};
  std::vector<s3::ObjectInfo> objects;
  for (const auto& [key, age] :
       std::vector<std::pair<std::string, std::chrono::minutes>>{{"home/a:git-1/push/slug.tgz", 90min},
                                                                 {"home/a:git-2/push/slug.tgz", 61min},
                                                                 {"home/a:git-3/push/slug.tgz", 60min},
                                                                 {"home/a:git-1/push/Procfile", 90min},
                                                                 {"home/b:git-1/push/slug.tgz", 90min},
                                                                 {"home/a/cache/push/slug.tgz", 90min},
                                                                 {"elsewhere/push/slug.tgz", 90min}}) {
    s3::ObjectInfo object{.key = key};
    object.modified = now - age;
    objects.push_back(std::move(object));
  }
  const auto slugs = old_slugs(objects, now - 60min);
  EXPECT_THAT(slugs, testing::SizeIs(2));
  EXPECT_THAT(slugs.at(*AppName::parse("a")),
              testing::ElementsAre("home/a:git-1/push/slug.tgz", "home/a:git-2/push/slug.tgz"));
  EXPECT_THAT(slugs.at(*AppName::parse("b")), testing::ElementsAre("home/b:git-1/push/slug.tgz"));
}

}  // namespace
}  // namespace workflow::builder
