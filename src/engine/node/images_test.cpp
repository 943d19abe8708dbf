#include "engine/node/images.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

TEST(Images, are_pulled_always_only_when_their_tag_may_move) {
  struct Case {
    const char *policy, *image, *expected;
  };
  const Case cases[] = {{"", "nginx", "Always"},
                        {"", "nginx:latest", "Always"},
                        {"", "nginx:1.25", "IfNotPresent"},
                        {"", "host:5000/nginx", "Always"},
                        {"", "host:5000/nginx:1", "IfNotPresent"},
                        {"", "nginx@sha256:abc", "IfNotPresent"},
                        {"Never", "nginx", "Never"}};
  for (const auto& [policy, image, expected] : cases) {
    json::object container;
    if (*policy) container["imagePullPolicy"] = policy;
    EXPECT_EQ(pull_policy(container, image), expected) << image;
  }
}

TEST(Images, come_from_the_registry_in_their_name) {
  struct Case {
    const char *image, *registry;
  };
  const Case cases[] = {{"nginx", "docker.io"},
                        {"library/nginx", "docker.io"},
                        {"quay.io/a/b:1", "quay.io"},
                        {"localhost:5555/app:v1", "localhost:5555"},
                        {"localhost/app", "localhost"}};
  for (const auto& [image, registry] : cases) EXPECT_EQ(registry_of(image), registry) << image;
}

TEST(Images, find_the_credentials_of_their_registry) {
  const auto config = json::parse(R"({"auths": {
    "https://index.docker.io/v1/": {"username": "hub"}, "registry.example.com": {"username": "all"},
    "registry.example.com/team": {"username": "team"}, "http://localhost:5555": {"username": "own"}}})");
  struct Case {
    const char *image, *username;
  };
  const Case cases[] = {{"nginx", "hub"},
                        {"me/app:1", "hub"},
                        {"registry.example.com/x", "all"},
                        {"registry.example.com/team/x:1", "team"},
                        {"registry.example.com/teammate/x", "all"},
                        {"localhost:5555/app:v1", "own"},
                        {"registry.example.com.evil.org/x", ""},
                        {"example.com/x", ""}};
  for (const auto& [image, username] : cases) {
    const auto auth = auth_for(image, config);
    EXPECT_EQ(auth ? auth->username : "", username) << image;
  }
}

}  // namespace
}  // namespace workflow::engine
