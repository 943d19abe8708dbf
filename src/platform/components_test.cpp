#include "platform/components.h"

#include <gtest/gtest.h>

namespace workflow::platform {
namespace {

json::object parse(std::string_view text) { return parse_json(text)->as_object(); }

TEST(Component, is_current_once_its_newest_template_alone_serves) {
  const std::pair<std::string, bool> cases[] = {
      {R"({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1})", true},
      {R"({"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1})", false},
      {R"({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 1, "availableReplicas": 1})", false},
      {R"({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1})", false},
      {"{}", false},
  };
  for (const auto& [status, current] : cases) {
    const auto deployment = parse(
        R"({"metadata": {"name": "deis-router", "generation": 2}, "spec": {"replicas": 1}, "status": )" + status + "}");
    EXPECT_EQ(component_from(deployment).current, current) << status;
  }
}

TEST(Component, tells_why_its_pod_is_not_ready) {
  const std::pair<std::string, std::string> cases[] = {
      {R"({"status": {}})", "not started yet"},
      {R"({"status": {"containerStatuses": [{"ready": true, "state": {"running": {}}}]}})", ""},
      {R"({"status": {"containerStatuses": [{"ready": false, "state": {"running": {}}}]}})", "not ready yet"},
      {R"({"status": {"containerStatuses": [{"ready": false, "state": {"waiting":
         {"reason": "ErrImageNeverPull", "message": "no such image"}}}]}})",
       "ErrImageNeverPull: no such image"},
  };
  for (const auto& [pod, problem] : cases) EXPECT_EQ(problem_of(parse(pod)), problem) << pod;
}

}  // namespace
}  // namespace workflow::platform
