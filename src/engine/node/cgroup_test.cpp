#include "engine/node/cgroup.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

TEST(Cgroup, a_pod_weighs_what_it_requests) {
  struct Case {
    const char* requests;
    std::int64_t shares;
  };
  const Case cases[] = {{"{}", 2}, {"{cpu: 1m}", 2}, {"{cpu: 100m}", 102}, {"{cpu: 2}", 2048}};
  for (const auto& [requests, shares] : cases) {
    const auto pod = from_yaml(std::string("spec: {containers: [{name: c, resources: {requests: ") + requests + "}}]}");
    EXPECT_EQ(pod_cpu_shares(pod), shares) << requests;
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
