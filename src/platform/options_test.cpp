#include "platform/options.h"

#include <gtest/gtest.h>

#include "lib/base/file.h"

namespace workflow::platform {
namespace {

std::string problem_of(const OptionChanges& changes) {
  try {
    merge({}, changes);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid);
    return error.fields().empty() ? "" : error.fields().begin()->first;
  }
  return "";
}

TEST(Options, that_cannot_work_are_refused_by_name) {
  const std::pair<OptionChanges, std::string> cases[] = {
      {{}, ""},
      {{.domain = "example.com"}, ""},
      {{.domain = "exa mple"}, "--domain"},
      {{.domain = "*.example.com"}, "--domain"},
      {{.pod_cidr = "10.42.0.0/24"}, ""},
      {{.pod_cidr = "10.42.0.1/24"}, "--pod-cidr"},
      {{.pod_cidr = "10.42.0.0"}, "--pod-cidr"},
      {{.pod_cidr = "10.42.0.0/30"}, "--pod-cidr"},
      {{.service_cidr = "10.42.0.0/24"}, "--service-cidr"},
      {{.http_port = 0}, "--http-port"},
      {{.http_port = 65536}, "--http-port"},
      {{.http_port = 443}, "--https-port"},
      {{.build_env = {"PIP_INDEX_URL=https://example.com/simple"}}, ""},
      {{.build_env = {"1BAD=x"}}, "--build-env"},
      {{.build_env = {"NO_VALUE"}}, "--build-env"},
  };
  for (const auto& [changes, option] : cases) EXPECT_EQ(problem_of(changes), option);
}

TEST(Options, that_are_not_given_stay_as_they_were) {
  const auto first = merge({}, {.domain = "example.com", .http_port = 8080, .build_env = {"A=1", "B=2"}});
  const auto second = merge(first, {.https_port = 8443, .build_env = {"A="}});
  EXPECT_EQ(second.domain, "example.com");
  EXPECT_EQ(second.http_port, 8080);
  EXPECT_EQ(second.https_port, 8443);
  EXPECT_EQ(second.build_env, (std::map<std::string, std::string>{{"B", "2"}}));
}

TEST(Options, survive_being_saved) {
  TemporaryFolder folder;
  auto options = merge({}, {.domain = "example.com", .ssh_port = 2022, .build_env = {"A=1"}});
  options.state = folder.path();
  save_options(options);
  EXPECT_EQ(load_options(folder.path()), options);
}

TEST(Options, become_the_engines_command_line) {
  const auto command = engine_command("/usr/bin/workflow", merge({}, {.http_port = 8080}));
  const std::vector<std::string> head(command.begin(), command.begin() + 4);
  EXPECT_EQ(head, (std::vector<std::string>{"/usr/bin/workflow", "engine", "--state", "/var/lib/workflow"}));
  EXPECT_NE(std::find(command.begin(), command.end(), "80=8080"), command.end());
}

}  // namespace
}  // namespace workflow::platform
