#include "lib/base/slug_name.h"

#include <gtest/gtest.h>

namespace workflow {
namespace {

const std::string digest(64, 'a');

TEST(SlugName, is_a_key_and_perhaps_a_digest) {
  struct Case {
    std::string image, key, sha256;
  };
  const Case cases[] = {
      {"home/a:git-1/push/slug.tgz@sha256:" + digest, "home/a:git-1/push/slug.tgz", digest},
      {"home/a:git-1/push/slug.tgz", "home/a:git-1/push/slug.tgz", ""},
      {"home/a:git-1/push", "home/a:git-1/push/slug.tgz", ""},
      {"slug.tgz@sha256:abc", "slug.tgz@sha256:abc/slug.tgz", ""},
      {"slug.tgz@sha256:" + std::string(64, 'A'), "slug.tgz@sha256:" + std::string(64, 'A') + "/slug.tgz", ""},
  };
  for (const auto& [image, key, sha256] : cases) {
    EXPECT_EQ(SlugName::parse(image), (SlugName{key, sha256})) << image;
    EXPECT_EQ(SlugName::parse(SlugName::parse(image).text()), SlugName::parse(image)) << image;
  }
}

TEST(SlugUrl, keeps_the_digest_from_the_server) {
  const std::string url = "http://store/builder/home/a%3Agit-1/push/slug.tgz?X-Amz-Signature=1";
  EXPECT_EQ(SlugUrl::parse(url + "#sha256=" + digest), (SlugUrl{url, digest}));
  EXPECT_EQ(SlugUrl::parse(url), (SlugUrl{url, ""}));
  EXPECT_EQ((SlugUrl{url, digest}).text(), url + "#sha256=" + digest);
}

}  // namespace
}  // namespace workflow
