#include "lib/kube/objects.h"

#include <gtest/gtest.h>

namespace workflow::kube {

namespace {
json::object object(std::string_view text) { return parse_json(text)->get_object(); }
}  // namespace

TEST(Objects, reads_metadata) {
  const auto pod = object(R"({"metadata":{"name":"a","namespace":"x","uid":"u","resourceVersion":"7","generation":2,
    "labels":{"app":"shop","odd":1},"annotations":{"k":"v"},"creationTimestamp":"2026-01-05T10:00:00Z",
    "finalizers":["f"],"ownerReferences":[{"apiVersion":"v1","kind":"Thing","name":"t","uid":"1"},
    {"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"2","controller":true}]}})");
  const auto meta = meta_of(pod);
  EXPECT_EQ(meta.name, "a");
  EXPECT_EQ(meta.ns, "x");
  EXPECT_EQ(meta.generation, 2);
  EXPECT_EQ(meta.labels, (Labels{{"app", "shop"}}));
  EXPECT_EQ(meta.finalizers, std::vector<std::string>{"f"});
  ASSERT_NE(meta.controller(), nullptr);
  EXPECT_EQ(meta.controller()->name, "r");
  EXPECT_EQ(meta.created, parse_rfc3339("2026-01-05T10:00:00Z"));
  EXPECT_FALSE(meta.deleted);
  EXPECT_EQ(label_of(pod, "app"), "shop");
  EXPECT_EQ(annotation_of(pod, "k"), "v");
  EXPECT_EQ(label_of({}, "app"), "");
  EXPECT_EQ(name_of(meta_of({}).name.empty() ? json::object() : pod), "");
}

TEST(Objects, reads_pod_status) {
  const auto pod = object(R"({"metadata":{"name":"a"},"status":{"phase":"Running","podIP":"10.0.0.1",
    "conditions":[{"type":"Ready","status":"True"}],"containerStatuses":[{"name":"c","ready":true,"restartCount":2,
    "state":{"running":{"startedAt":"2026-01-05T10:00:05Z"}},
    "lastState":{"terminated":{"exitCode":3,"reason":"Error","message":"m"}}},
    {"name":"d","state":{"waiting":{"reason":"CrashLoopBackOff"}}},{"name":"e","state":{}}]}})");
  const auto status = pod_status_of(pod);
  EXPECT_EQ(status.phase, "Running");
  const auto* c = status.find_container("c");
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(c->restarts, 2);
  EXPECT_EQ(c->state.kind, ContainerState::Kind::running);
  EXPECT_EQ(c->last_state.exit_code, 3);
  EXPECT_EQ(status.find_container("d")->state.reason, "CrashLoopBackOff");
  EXPECT_EQ(status.find_container("e")->state.kind, ContainerState::Kind::none);
  EXPECT_EQ(status.find_container("z"), nullptr);
  EXPECT_TRUE(is_pod_ready(pod));
  EXPECT_FALSE(is_pod_finished(pod));
}

TEST(Objects, a_pod_that_is_being_deleted_is_not_ready) {
  EXPECT_FALSE(is_pod_ready(object(R"({"metadata":{"deletionTimestamp":"2026-01-05T10:00:00Z"},
    "status":{"conditions":[{"type":"Ready","status":"True"}]}})")));
  EXPECT_FALSE(is_pod_ready(object(R"({"metadata":{"name":"a"}})")));
}

TEST(Objects, reads_both_kinds_of_events) {
  const auto core = event_of(object(R"({"type":"Warning","reason":"FailedCreate","message":"quota","count":3,
    "involvedObject":{"kind":"ReplicaSet","name":"r","uid":"u"},"firstTimestamp":null,"lastTimestamp":"2026-01-05T10:00:09Z"})"));
  EXPECT_EQ(core.reason, "FailedCreate");
  EXPECT_EQ(core.kind, "ReplicaSet");
  EXPECT_EQ(core.count, 3);
  EXPECT_EQ(core.last, parse_rfc3339("2026-01-05T10:00:09Z"));
  const auto newer =
      event_of(object(R"({"type":"Normal","reason":"Pulled","note":"done","regarding":{"kind":"Pod","name":"p"},
    "eventTime":"2026-01-05T10:00:09.5Z"})"));
  EXPECT_EQ(newer.message, "done");
  EXPECT_EQ(newer.name, "p");
  EXPECT_TRUE(newer.last);
}

TEST(Objects, secrets_are_base64_on_the_wire) {
  const auto secret = make_secret("shop", "s", {{"app", "shop"}}, {{"A", "1"}, {"B", std::string("\0x", 2)}});
  EXPECT_EQ(print_json(secret), R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"s","namespace":"shop",)"
                                R"("labels":{"app":"shop"}},"type":"Opaque","data":{"A":"MQ==","B":"AHg="}})");
  EXPECT_EQ(secret_values(secret).at("B"), std::string("\0x", 2));
}

TEST(Resources, are_found_by_version_and_kind) {
  EXPECT_EQ(find_resource("v1", "Pod"), &resources::pods);
  EXPECT_EQ(find_resource("apps/v1", "Deployment"), &resources::deployments);
  EXPECT_EQ(find_resource("v1", "Deployment"), nullptr);
  EXPECT_EQ(all_resources().size(), 33u);
}

}  // namespace workflow::kube
