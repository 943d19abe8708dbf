#include "controller/registry.h"

#include <gmock/gmock.h>

namespace workflow::controller {
namespace {

using testing::ElementsAre;

TEST(ImageName, is_read_as_docker_reads_it) {
  struct Case {
    std::string text, host, repository, reference;
  };
  const Case cases[] = {{"nginx", "", "library/nginx", "latest"},
                        {"nginx:1.25", "", "library/nginx", "1.25"},
                        {"acme/shop", "", "acme/shop", "latest"},
                        {"docker.io/acme/shop:v1", "", "acme/shop", "v1"},
                        {"docker.io/nginx", "", "library/nginx", "latest"},
                        {"quay.io/acme/team/shop:v1", "quay.io", "acme/team/shop", "v1"},
                        {"localhost/shop", "localhost", "shop", "latest"},
                        {"localhost:5555/shop:git-1a2b3c4d", "localhost:5555", "shop", "git-1a2b3c4d"},
                        {"quay.io/shop@sha256:0123", "quay.io", "shop", "sha256:0123"},
                        {"quay.io/shop:v1@sha256:0123", "quay.io", "shop", "sha256:0123"}};
  for (const auto& [text, host, repository, reference] : cases)
    EXPECT_EQ(ImageName::parse(text), (ImageName{host, repository, reference})) << text;
}

TEST(ImageName, that_is_none_is_refused) {
  for (const auto* text : {"",
                           "Shop",
                           "acme//shop",
                           "quay.io/",
                           "quay.io/../v2",
                           "shop:",
                           "shop@v1",
                           "shop:..",
                           "shop:.x",
                           "shop:-x",
                           "shop@sha256:",
                           "shop@sha256:..",
                           "shop@..:0",
                           "quay.io/x:v1/y",
                           "shop:a/b",
                           "a b",
                           "x/y?z",
                           "quay.io:99999/shop",
                           "shop:v 1",
                           "https://quay.io/shop"})
    EXPECT_FALSE(ImageName::parse(text)) << text;
}

TEST(RegistryPlaces, are_https_but_for_this_machine_and_the_platforms_own) {
  const RegistryPlaces places{"localhost:5555", http::Url::parse("http://deis-registry.deis:80")};
  EXPECT_EQ(places.place_of("")->text(), "https://registry-1.docker.io/");
  EXPECT_EQ(places.place_of("quay.io")->text(), "https://quay.io/");
  EXPECT_EQ(places.place_of("registry.example.com:5000")->text(), "https://registry.example.com:5000/");
  EXPECT_EQ(places.place_of("localhost:5555")->text(), "http://deis-registry.deis/");
  EXPECT_EQ(places.place_of("localhost:5000")->text(), "http://localhost:5000/");
  EXPECT_EQ(places.place_of("127.0.0.1:5000")->text(), "http://127.0.0.1:5000/");
  EXPECT_EQ(places.place_of("localhost.example.com")->text(), "https://localhost.example.com/");
}

TEST(Challenge, names_where_the_token_is) {
  const auto challenge = Challenge::parse(
      R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull,push")");
  ASSERT_TRUE(challenge);
  EXPECT_EQ(challenge->realm, "https://auth.docker.io/token");
  EXPECT_EQ(challenge->service, "registry.docker.io");
  EXPECT_EQ(challenge->scope, "repository:library/nginx:pull,push");
  EXPECT_EQ(Challenge::parse("bearer realm=https://a/t, service=x")->service, "x");
  for (const auto* text : {"", "Basic realm=\"x\"", "Bearer", "Bearer service=\"x\"", "Bearer realm"})
    EXPECT_FALSE(Challenge::parse(text)) << text;
}

TEST(Challenge, leads_nowhere_but_to_https_and_the_registry_itself) {
  const auto registry = *http::Url::parse("http://127.0.0.1:5000");
  const auto hub = *http::Url::parse("https://registry-1.docker.io");
  EXPECT_EQ(token_url({"https://auth.docker.io/token", "registry.docker.io", ""}, hub, "library/nginx")->text(),
            "https://auth.docker.io/token?scope=repository%3Alibrary%2Fnginx%3Apull&service=registry.docker.io");
  EXPECT_TRUE(token_url({"http://127.0.0.1:5000/token", "", ""}, registry, "x"));
  // Not to what is only reachable from where we are.
  for (const auto* realm : {"http://169.254.169.254/latest/meta-data", "http://127.0.0.1:8001/",
                            "http://deis-controller.deis/", "file:///etc/passwd", "x"}) {
    EXPECT_FALSE(token_url({realm, "", ""}, hub, "x")) << realm;
    EXPECT_FALSE(token_url({realm, "", ""}, registry, "x")) << realm;
  }
}

TEST(ExposedPorts, are_those_that_tcp_is_spoken_on) {
  auto ports = [](std::string_view text) { return exposed_ports(parse_json(text)->get_object()); };
  EXPECT_THAT(ports(R"({"config":{"ExposedPorts":{"53/udp":{},"8080/tcp":{},"9090":{}}}})"), ElementsAre(8080, 9090));
  EXPECT_THAT(ports(R"({"config":{}})"), ElementsAre());
  EXPECT_THAT(ports(R"({"config":{"ExposedPorts":{"x/tcp":{},"0/tcp":{},"70000":{}}}})"), ElementsAre());
  EXPECT_THAT(ports(R"({"config":{"ExposedPorts":["8080"]}})"), ElementsAre());
}

}  // namespace
}  // namespace workflow::controller
