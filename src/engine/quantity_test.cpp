#include "engine/quantity.h"

#include <gtest/gtest.h>

#include "lib/kube/yaml.h"

namespace workflow::engine {
namespace {

TEST(Quantity, is_read_exactly_and_printed_as_kubernetes_does) {
  struct Case {
    const char *text, *canonical;
    std::int64_t thousandths;
  };
  const Case cases[] = {{"1", "1", 1000},          {"0.5", "500m", 500},
                        {"1500m", "1500m", 1500},  {"1024Mi", "1Gi", 1'073'741'824'000},
                        {"1Ki", "1Ki", 1'024'000}, {"1k", "1k", 1'000'000},
                        {"100n", "100n", 1},       {"0", "0", 0},
                        {"1e3", "1e3", 1'000'000}};
  for (const auto& [text, canonical, thousandths] : cases) {
    EXPECT_EQ(canonical_quantity(text).value_or("none"), canonical) << text;
    EXPECT_EQ(quantity_in_thousandths(text).value_or(-1), thousandths) << text;
  }
  for (const auto* text : {"", "m", "1Qi", "1 Mi", "--1", "1.2.3", "0x10"})
    EXPECT_FALSE(canonical_quantity(text)) << text;
}

TEST(Quantity, of_a_pod_counts_what_runs_at_the_same_time) {
  struct Case {
    const char* spec;
    std::int64_t cpu;
  };
  const Case cases[] = {
      {"{containers: [{name: a}]}", 0},
      {"{containers: [{name: a, resources: {requests: {cpu: 100m}}}, {name: b, resources: {requests: {cpu: 1}}}]}",
       1100},
      {"{initContainers: [{name: i, resources: {requests: {cpu: 3}}}], containers: [{name: a, resources: {requests: "
       "{cpu: 1}}}]}",
       3000},
      {"{initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: 200m}}}], "
       "containers: [{name: a, resources: {requests: {cpu: 1}}}]}",
       1200},
      {"{initContainers: [{name: s, restartPolicy: Always, resources: {requests: {cpu: 200m}}}, "
       "{name: i, resources: {requests: {cpu: 3}}}], containers: [{name: a, resources: {requests: {cpu: 1}}}]}",
       3200}};
  for (const auto& [spec, cpu] : cases) {
    const json::object pod{{"spec", kube::parse_yaml(spec)}};
    EXPECT_EQ(pod_amount(pod, "requests", "cpu"), cpu) << spec;
  }
}

}  // namespace
}  // namespace workflow::engine
