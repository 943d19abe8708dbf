#include "engine/apiserver/apply.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

const TypeSchema& deployment() { return *find_type("io.k8s.api.apps.v1.Deployment"); }
const TypeSchema& service() { return *find_type("io.k8s.api.core.v1.Service"); }

Manager manager(std::string name) {
  return {.name = std::move(name), .api_version = "apps/v1", .subresource = "", .now = Time{} + std::chrono::hours(9)};
}

json::object applied(const json::object& live, std::string_view wanted, std::string name,
                     const TypeSchema& type = deployment(), OnConflict on_conflict = OnConflict::refuse) {
  auto result = applied_to(type, live, from_yaml(wanted), manager(std::move(name)), on_conflict);
  EXPECT_TRUE(result.conflicts.empty()) << result.conflicts[0].manager << " owns " << result.conflicts[0].field;
  return result.object;
}

std::vector<std::string> conflicts(const json::object& live, std::string_view wanted, std::string name,
                                   const TypeSchema& type = deployment()) {
  std::vector<std::string> fields;
  for (const auto& c :
       applied_to(type, live, from_yaml(wanted), manager(std::move(name)), OnConflict::refuse).conflicts) {
    fields.push_back(c.manager + " " + c.field);
  }
  return fields;
}

json::object without_managers(json::object object) {
  child(object, "metadata").erase("managedFields");
  return object;
}

// The fields of one manager; empty when it owns nothing.
json::object owned_by(const json::object& object, std::string_view name) {
  for (const auto& entry : array_at(object, {"metadata", "managedFields"})) {
    if (text_at(entry.get_object(), {"manager"}) == name) return object_at(entry.get_object(), {"fieldsV1"});
  }
  return {};
}

TEST(FieldSets, follow_the_structure_of_the_type) {
  struct Case {
    std::string what, object, fields;
  };
  const Case cases[] = {
      {"identity and type belong to nobody", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, uid: b}}",
       "{}"},
      {"labels are owned one by one", "{metadata: {labels: {a: b}}}",
       "{'f:metadata': {'f:labels': {.: {}, 'f:a': {}}}}"},
      {"scalars", "{spec: {replicas: 2}}", "{'f:spec': {'f:replicas': {}}}"},
      {"list elements by their key", "{spec: {template: {spec: {containers: [{name: a, image: x}]}}}}",
       "{'f:spec': {'f:template': {'f:spec': {'f:containers': {'k:{\"name\":\"a\"}': {.: {}, 'f:name': {}, 'f:image': "
       "{}}}}}}}"},
      {"atomic lists are one", "{spec: {template: {spec: {containers: [{name: a, args: [x, y]}]}}}}",
       "{'f:spec': {'f:template': {'f:spec': {'f:containers': {'k:{\"name\":\"a\"}': {.: {}, 'f:name': {}, 'f:args': "
       "{}}}}}}}"},
      {"an atomic map is one", "{spec: {selector: {matchLabels: {a: b}}}}", "{'f:spec': {'f:selector': {}}}"},
      {"keys have defaults", "{spec: {template: {spec: {containers: [{name: a, ports: [{containerPort: 80}]}]}}}}",
       "{'f:spec': {'f:template': {'f:spec': {'f:containers': {'k:{\"name\":\"a\"}': {.: {}, 'f:name': {}, 'f:ports': "
       "{'k:{\"containerPort\":80,\"protocol\":\"TCP\"}': {.: {}, 'f:containerPort': {}}}}}}}}}"},
      {"sets by value", "{metadata: {finalizers: [a/b]}}", "{'f:metadata': {'f:finalizers': {'v:\"a/b\"': {}}}}"}};
  for (const auto& c : cases) EXPECT_EQ(fields_of(deployment(), from_yaml(c.object)), from_yaml(c.fields)) << c.what;
}

TEST(Apply, makes_an_object_and_owns_its_fields) {
  const auto object = applied({}, "{metadata: {name: web, labels: {app: web}}, spec: {replicas: 2}}", "ci");
  EXPECT_EQ(without_managers(object), from_yaml("{metadata: {name: web, labels: {app: web}}, spec: {replicas: 2}}"));
  EXPECT_EQ(owned_by(object, "ci"),
            from_yaml("{'f:metadata': {'f:labels': {.: {}, 'f:app': {}}}, 'f:spec': {'f:replicas': {}}}"));
}

TEST(Apply, again_changes_nothing) {
  constexpr std::string_view wanted = "{spec: {replicas: 2, template: {spec: {containers: [{name: a, image: x}]}}}}";
  const auto once = applied({}, wanted, "ci");
  EXPECT_EQ(applied(once, wanted, "ci"), once);
}

TEST(Apply, what_it_leaves_out_goes) {
  const auto once = applied({}, "{metadata: {labels: {a: '1', b: '2'}}, spec: {replicas: 2, paused: true}}", "ci");
  const auto twice = applied(once, "{metadata: {labels: {a: '1'}}, spec: {replicas: 3}}", "ci");
  EXPECT_EQ(without_managers(twice), from_yaml("{metadata: {labels: {a: '1'}}, spec: {replicas: 3}}"));
}

TEST(Apply, an_empty_object_may_be_filled) {
  const auto with = [](std::string_view resources) {
    return "{spec: {template: {spec: {containers: [{name: a, resources: " + std::string(resources) + "}]}}}}";
  };
  const auto once = applied({}, with("{}"), "ci");
  const auto twice = applied(once, with("{limits: {cpu: 1}}"), "ci");
  EXPECT_EQ(without_managers(twice), from_yaml("{metadata: {}, " + with("{limits: {cpu: 1}}").substr(1)));
  EXPECT_EQ(applied(twice, with("{limits: {cpu: 1}}"), "ci"), twice);
}

TEST(Apply, elements_that_it_leaves_out_go) {
  const auto list = [](std::string_view containers) {
    return "{spec: {template: {spec: {containers: " + std::string(containers) + "}}}}";
  };
  const auto once = applied({}, list("[{name: a, image: x}, {name: b, image: y}]"), "ci");
  const auto twice = applied(once, list("[{name: b, image: y}]"), "ci");
  EXPECT_EQ(without_managers(twice), from_yaml("{metadata: {}, " + list("[{name: b, image: y}]").substr(1)));
}

TEST(Apply, what_others_own_as_well_stays) {
  auto object = applied({}, "{spec: {replicas: 2, paused: true}}", "ci");
  object = applied(object, "{spec: {replicas: 2}}", "other");
  object = applied(object, "{spec: {paused: true}}", "ci");
  EXPECT_EQ(integer_at(object, {"spec", "replicas"}), 2);
  EXPECT_EQ(owned_by(object, "ci"), from_yaml("{'f:spec': {'f:paused': {}}}"));
  EXPECT_EQ(owned_by(object, "other"), from_yaml("{'f:spec': {'f:replicas': {}}}"));
}

TEST(Apply, conflicts_with_the_owner_of_another_value) {
  const auto object = applied(
      {}, "{metadata: {labels: {a: '1'}}, spec: {replicas: 2, template: {spec: {containers: [{name: a, image: x}]}}}}",
      "ci");
  EXPECT_EQ(conflicts(object, "{spec: {replicas: 3}}", "other"), std::vector<std::string>{"\"ci\" .spec.replicas"});
  EXPECT_EQ(conflicts(object, "{metadata: {labels: {a: '2'}}}", "other"),
            std::vector<std::string>{"\"ci\" .metadata.labels.a"});
  EXPECT_EQ(conflicts(object, "{spec: {template: {spec: {containers: [{name: a, image: y}]}}}}", "other"),
            std::vector<std::string>{"\"ci\" .spec.template.spec.containers[name=\"a\"].image"});
  EXPECT_TRUE(conflicts(object, "{spec: {replicas: 2}}", "other").empty());
  EXPECT_TRUE(conflicts(object, "{spec: {minReadySeconds: 3}}", "other").empty());
  EXPECT_TRUE(conflicts(object, "{metadata: {labels: {b: '2'}}}", "other").empty());
  EXPECT_TRUE(conflicts(object, "{spec: {replicas: 3}}", "ci").empty());
}

TEST(Apply, conflicts_with_whoever_updated_it) {
  const auto made = applied({}, "{spec: {replicas: 2}}", "ci");
  auto scaled = made;
  child(scaled, "spec")["replicas"] = 5;
  scaled = with_tracked_fields(deployment(), made, scaled, manager("kubectl-scale"));
  EXPECT_EQ(owned_by(scaled, "ci"), json::object());
  EXPECT_EQ(conflicts(scaled, "{spec: {replicas: 2}}", "ci"),
            std::vector<std::string>{"\"kubectl-scale\" using apps/v1 .spec.replicas"});
}

TEST(Apply, by_force_takes_over) {
  auto object = applied({}, "{spec: {replicas: 2, paused: true}}", "ci");
  object = applied(object, "{spec: {replicas: 3}}", "other", deployment(), OnConflict::take_over);
  EXPECT_EQ(integer_at(object, {"spec", "replicas"}), 3);
  EXPECT_EQ(owned_by(object, "ci"), from_yaml("{'f:spec': {'f:paused': {}}}"));
  EXPECT_EQ(owned_by(object, "other"), from_yaml("{'f:spec': {'f:replicas': {}}}"));
}

TEST(Apply, an_element_stays_while_another_owns_a_field_in_it) {
  const auto made = applied({}, "{spec: {ports: [{port: 80, name: web}, {port: 443, name: tls}]}}", "ci", service());
  auto changed = made;
  child(changed, "spec")["ports"].as_array()[1].as_object()["nodePort"] = 30443;
  changed = with_tracked_fields(service(), made, changed, manager("edit"));
  const auto left = applied(changed, "{spec: {ports: [{port: 80, name: web}]}}", "ci", service());
  ASSERT_EQ(array_at(left, {"spec", "ports"}).size(), 2u);
  EXPECT_EQ(array_at(left, {"spec", "ports"})[1], kube::parse_yaml("{port: 443, nodePort: 30443}"));
}

TEST(Apply, atomic_lists_are_taken_whole) {
  const auto list = [](std::string_view args) {
    return "{spec: {template: {spec: {containers: [{name: a, args: " + std::string(args) + "}]}}}}";
  };
  const auto object = applied({}, list("[x, y]"), "ci");
  EXPECT_EQ(conflicts(object, list("[x, y, z]"), "other").size(), 1u);
  const auto changed = applied(object, list("[z]"), "ci");
  EXPECT_EQ(without_managers(changed), from_yaml("{metadata: {}, " + list("[z]").substr(1)));
}

TEST(Apply, applied_elements_come_in_their_order_among_the_others) {
  const auto list = [](std::string_view env) {
    return "{spec: {template: {spec: {containers: [{name: a, env: " + std::string(env) + "}]}}}}";
  };
  auto object = applied({}, list("[{name: A, value: '1'}, {name: C, value: '3'}]"), "ci");
  object = applied(object, list("[{name: B, value: '2'}]"), "other");
  object = applied(object, list("[{name: C, value: '3'}, {name: A, value: '1'}]"), "ci");
  std::string names;
  for (const auto& e :
       array_at(array_at(object, {"spec", "template", "spec", "containers"})[0].get_object(), {"env"})) {
    names += text_at(e.get_object(), {"name"});
  }
  EXPECT_LT(names.find('C'), names.find('A'));
  EXPECT_EQ(names.size(), 3u);
}

TEST(Updates, are_tracked_by_what_they_changed) {
  const auto made = with_tracked_fields(
      deployment(), {}, from_yaml("{metadata: {name: a, labels: {x: y}}, spec: {replicas: 1, paused: true}}"),
      manager("create"));
  EXPECT_EQ(
      owned_by(made, "create"),
      from_yaml("{'f:metadata': {'f:labels': {.: {}, 'f:x': {}}}, 'f:spec': {'f:replicas': {}, 'f:paused': {}}}"));
  auto next = made;
  child(next, "spec")["replicas"] = 2;
  child(next, "spec").erase("paused");
  next = with_tracked_fields(deployment(), made, next, manager("edit"));
  EXPECT_EQ(owned_by(next, "create"), from_yaml("{'f:metadata': {'f:labels': {.: {}, 'f:x': {}}}}"));
  EXPECT_EQ(owned_by(next, "edit"), from_yaml("{'f:spec': {'f:replicas': {}}}"));
}

TEST(Updates, of_a_subresource_are_an_entry_of_their_own) {
  const auto made = with_tracked_fields(deployment(), {}, from_yaml("{spec: {replicas: 1}}"), manager("m"));
  auto next = made;
  next["status"] = json::object{{"replicas", 1}};
  auto who = manager("m");
  who.subresource = "status";
  next = with_tracked_fields(deployment(), made, next, who);
  ASSERT_EQ(array_at(next, {"metadata", "managedFields"}).size(), 2u);
  EXPECT_EQ(text_at(array_at(next, {"metadata", "managedFields"})[1].get_object(), {"subresource"}), "status");
}

// Were any of this a walk for each element, it would take hours.
TEST(ServerSideApply, merges_and_tracks_lists_of_any_length_in_one_pass) {
  constexpr int many = 60'000;
  const auto object = [](std::string_view value, int first) {
    json::array env;
    for (int i = first; i < first + many; ++i) {
      env.push_back(json::object{{"name", "V" + std::to_string(i)}, {"value", key(value)}});
    }
    json::object result;
    json::array containers{json::object{{"name", "a"}, {"env", std::move(env)}}};
    child(child(child(result, "spec"), "template"), "spec")["containers"] = std::move(containers);
    return result;
  };
  const auto length = [](const json::object& o) {
    return array_at(array_at(o, {"spec", "template", "spec", "containers"})[0].get_object(), {"env"}).size();
  };
  auto live = with_tracked_fields(deployment(), {}, object("old", 0), manager("kubectl"));
  live = with_tracked_fields(deployment(), live, object("new", 1), manager("curl"));
  EXPECT_FALSE(owned_by(live, "curl").empty());
  const auto result =
      applied_to(deployment(), live, object("applied", many / 2), manager("helm"), OnConflict::take_over);
  EXPECT_EQ(length(result.object), many + many / 2 - 1);
  const auto again =
      applied_to(deployment(), result.object, object("applied", many), manager("helm"), OnConflict::refuse);
  EXPECT_TRUE(again.conflicts.empty());
  EXPECT_EQ(length(again.object), many + many - 1);
}

}  // namespace
}  // namespace workflow::engine
