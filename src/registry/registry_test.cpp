#include "registry/registry.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"

namespace workflow::registry {
namespace {

TEST(RegistryConfig, names_every_setting_that_s3_storage_lacks) {
  Env env({{"REGISTRY_STORAGE", "s3"}});
  Config::from(env);
  try {
    env.done();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_TRUE(error.fields().contains("S3_ENDPOINT"));
    EXPECT_TRUE(error.fields().contains("S3_ACCESS_KEY_FILE"));
    EXPECT_TRUE(error.fields().contains("S3_SECRET_KEY_FILE"));
  }
}

TEST(RegistryConfig, refuses_other_storage) {
  Env env({{"REGISTRY_STORAGE", "floppy"}});
  Config::from(env);
  EXPECT_THROW(env.done(), Error);
}

TEST(RegistryYaml, keeps_text_from_settings_inside_its_quotes) {
  Env env({{"REGISTRY_DIR", "/a\"\nstorage: \\evil"}});
  const auto yaml = registry_yaml(Config::from(env), "s3cret");
  EXPECT_NE(yaml.find(R"(rootdirectory: "/a\")"), std::string::npos);
  EXPECT_NE(yaml.find(R"(\\evil")"), std::string::npos);
}

TEST(RegistryYaml, uses_tls_to_the_object_store_as_its_endpoint_says) {
  for (const std::string scheme : {"http", "https"}) {
    Env env({{"REGISTRY_STORAGE", "s3"},
             {"S3_ENDPOINT", scheme + "://s3:9000"},
             {"S3_ACCESS_KEY", "a"},
             {"S3_SECRET_KEY", "b"}});
    const auto yaml = registry_yaml(Config::from(env), "x");
    EXPECT_NE(yaml.find(scheme == "https" ? "secure: true" : "secure: false"), std::string::npos);
  }
}

}  // namespace
}  // namespace workflow::registry
