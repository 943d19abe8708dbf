#include "engine/apiserver/limits.h"

#include <gtest/gtest.h>

#include "engine/fields.h"
#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;
namespace res = kube::resources;

json::object range(const std::string& items) {
  auto object = from_yaml("{metadata: {name: r}, spec: {limits: [" + items + "]}}");
  default_limit_range(object);
  return object;
}
json::object pod(const std::string& containers) {
  return from_yaml("{metadata: {name: p}, spec: {containers: [" + containers + "]}}");
}

TEST(LimitRange, gives_containers_what_they_do_not_ask_for) {
  const auto defaults = range("{type: Container, default: {cpu: 500m, memory: 1Gi}, defaultRequest: {cpu: 100m}}");
  auto given = pod("{name: a}, {name: b, resources: {requests: {cpu: 50m}, limits: {memory: 2Gi}}}");
  apply_limit_range(defaults, given);
  const auto& containers = array_at(given, {"spec", "containers"});
  EXPECT_EQ(object_at(containers[0].as_object(), {"resources"}),
            from_yaml("{requests: {cpu: 100m, memory: 1Gi}, limits: {cpu: 500m, memory: 1Gi}}"));
  EXPECT_EQ(object_at(containers[1].as_object(), {"resources"}),
            from_yaml("{requests: {cpu: 50m, memory: 1Gi}, limits: {memory: 2Gi, cpu: 500m}}"));
  EXPECT_TRUE(text_at(given, {"metadata", "annotations", "kubernetes.io/limit-ranger"})
                  .starts_with("LimitRanger plugin set: cpu request for container a; "));
}

TEST(LimitRange, refuses_what_is_too_little_or_too_much) {
  struct Case {
    std::string what, items, containers;
    Texts breaches;
  };
  const Case cases[] = {
      {"within",
       "{type: Container, min: {cpu: 50m}, max: {cpu: '1'}}",
       "{name: a, resources: {requests: {cpu: 100m}, limits: {cpu: 200m}}}",
       {}},
      {"too little",
       "{type: Container, min: {cpu: 50m}}",
       "{name: a, resources: {requests: {cpu: 10m}}}",
       {"minimum cpu usage per Container is 50m, but request is less"}},
      {"too much",
       "{type: Container, max: {cpu: '1'}}",
       "{name: a, resources: {requests: {cpu: '1'}, limits: {cpu: '2'}}}",
       {"maximum cpu usage per Container is 1, but limit is more"}},
      {"no limit",
       "{type: Container, max: {cpu: '1'}}",
       "{name: a}",
       {"maximum cpu usage per Container is 1.  No limit is specified"}},
      {"together",
       "{type: Pod, max: {memory: 1Gi}}",
       "{name: a, resources: {limits: {memory: 600Mi}}}, {name: b, resources: {limits: {memory: 600Mi}}}",
       {"maximum memory usage per Pod is 1Gi, but limit is more"}},
      {"too far apart",
       "{type: Container, maxLimitRequestRatio: {cpu: '2'}}",
       "{name: a, resources: {requests: {cpu: 100m}, limits: {cpu: 201m}}}",
       {"cpu max limit to request ratio per Container is 2, but provided ratio is more"}},
      {"of claims alone", "{type: PersistentVolumeClaim, max: {storage: 1Gi}}", "{name: a}", {}}};
  for (const auto& [what, items, containers, expected] : cases)
    EXPECT_EQ(breaches_of(range(items), res::pods, pod(containers)), expected) << what;
  const auto claim = from_yaml("{metadata: {name: c}, spec: {resources: {requests: {storage: 2Gi}}}}");
  EXPECT_EQ(
      breaches_of(range("{type: PersistentVolumeClaim, max: {storage: 1Gi}}"), res::persistent_volume_claims, claim),
      Texts{"maximum storage usage per PersistentVolumeClaim is 1Gi, but request is more"});
}

TEST(LimitRange, is_in_order) {
  EXPECT_EQ(problems_of_limit_range(range("{type: Container, min: {cpu: 50m}, max: {cpu: '1'}}")).size(), 0u);
  const auto problems = problems_of_limit_range(
      range("{type: Container, min: {cpu: '2'}, max: {cpu: '1'}, default: {cpu: '2'}, defaultRequest: {cpu: '2'}}"));
  ASSERT_FALSE(problems.empty());
  EXPECT_EQ(problems[0].field, "spec.limits[0].min[cpu]");
}

}  // namespace
}  // namespace workflow::engine
