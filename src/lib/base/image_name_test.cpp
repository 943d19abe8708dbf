#include "lib/base/image_name.h"

#include <gtest/gtest.h>

namespace workflow {

TEST(ImageName, is_split_as_container_tools_split_it) {
  struct Case {
    std::string text;
    ImageName parts;
    std::string full;
    bool fixed;
  };
  const Case cases[] = {
      {"busybox", {"", "busybox", "", ""}, "docker.io/library/busybox:latest", false},
      {"busybox:latest", {"", "busybox", "latest", ""}, "docker.io/library/busybox:latest", false},
      {"busybox:1.36", {"", "busybox", "1.36", ""}, "docker.io/library/busybox:1.36", true},
      {"deis/example-go", {"", "deis/example-go", "", ""}, "docker.io/deis/example-go:latest", false},
      {"docker.io/busybox", {"docker.io", "busybox", "", ""}, "docker.io/library/busybox:latest", false},
      {"quay.io/a/b:v1", {"quay.io", "a/b", "v1", ""}, "quay.io/a/b:v1", true},
      {"localhost/workflow/stack:x", {"localhost", "workflow/stack", "x", ""}, "localhost/workflow/stack:x", true},
      {"host:5000/app", {"host:5000", "app", "", ""}, "host:5000/app:latest", false},
      {"host:5000/app:v2@sha256:ab", {"host:5000", "app", "v2", "sha256:ab"}, "host:5000/app:v2@sha256:ab", true},
      {"app@sha256:ab", {"", "app", "", "sha256:ab"}, "docker.io/library/app@sha256:ab", true},
      {"a/b.c/d:e", {"", "a/b.c/d", "e", ""}, "docker.io/a/b.c/d:e", true},
  };
  for (const auto& [text, parts, full, fixed] : cases) {
    const auto name = ImageName::split(text);
    EXPECT_EQ(name, parts) << text;
    EXPECT_EQ(name.full(), full) << text;
    EXPECT_EQ(name.is_fixed(), fixed) << text;
    EXPECT_EQ(ImageName::split(name.full()).full(), full) << text;
  }
}

TEST(ImageName, whatever_the_text_its_parts_give_it_back) {
  for (const std::string text :
       {"", "/", ":", "@", "a/", "/a", "a:", ":a", "a@", "@a", "a:b:c", "a.b/", "a//b", "a:1/b:2@c@d"}) {
    const auto name = ImageName::split(text);
    const auto tag = name.tag.empty() ? "" : ":" + name.tag, digest = name.digest.empty() ? "" : "@" + name.digest;
    const auto back = (name.host.empty() ? "" : name.host + "/") + name.repository + tag + digest;
    EXPECT_TRUE(back == text || back + ":" == text || back + "@" == text) << text << " became " << back;
  }
}

}  // namespace workflow
