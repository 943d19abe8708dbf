#include "engine/node/cgroup.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

TEST(Cgroup, a_pod_weighs_what_it_requests_and_what_it_is_worth) {
  struct Case {
    const char* what;
    const char* spec;
    std::int64_t weight;
  };
  const Case cases[] = {
      {"nothing requested", "", 128},
      {"less than the least", "{cpu: 100m}", 128},
      {"half a processor", "{cpu: 500m}", 512},
      {"two", "{cpu: 2}", 2048},
      {"the platform's: as much as everybody else together", "{cpu: 100m}, priority: 1000000000", 4096},
      {"by the name of its class", "{}, priorityClassName: system-cluster-critical", 4096},
      {"which is no reason to have less", "{cpu: 8}, priority: 2000001000", 8192},
      {"a build that requests nothing", "{}, priority: -100", 32},
      {"a build", "{cpu: 1}, priority: -1", 256},
      {"an operator's own class", "{cpu: 1}, priority: 1000", 1024}};
  constexpr std::int64_t processors = 4;
  for (const auto& [what, spec, weight] : cases) {
    std::string text = spec[0] == 0 ? "{}" : spec;
    const auto comma = text.find("},");
    const auto requests = text.substr(0, comma == std::string::npos ? text.size() : comma + 1);
    const auto more = comma == std::string::npos ? "" : text.substr(comma + 1);
    const auto pod = from_yaml("spec: {containers: [{name: c, resources: {requests: " + requests + "}}]" + more + "}");
    EXPECT_EQ(pod_weight(pod, processors), weight) << what;
  }
}

TEST(Cgroup, use_is_what_happened_between_two_looks) {
  const Time start{};
  EXPECT_EQ(nanocores({start, 1'000, 0}, {start + std::chrono::seconds(2), 1'000'001'000, 0}), 500'000'000u);
  EXPECT_EQ(nanocores({start, 5'000, 0}, {start + std::chrono::seconds(1), 1'000, 0}), 0u);  // another container's
  EXPECT_EQ(nanocores({start, 0, 0}, {start, 5'000, 0}), 0u);
}

}  // namespace
}  // namespace workflow::engine
