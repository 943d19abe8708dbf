#include "engine/apiserver/patch.h"

#include <gtest/gtest.h>

#include "engine/apiserver/api_error.h"
#include "engine/test_support.h"

namespace workflow::engine {
namespace {

struct Case {
  std::string what, live, patch, expected;
};

int code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const ApiError& error) {
    return error.code();
  }
  return 200;
}

TEST(JsonPatch, operations_of_rfc_6902) {
  const Case cases[] = {
      {"add to an object", "{a: 1}", "[{op: add, path: /b, value: 2}]", "{a: 1, b: 2}"},
      {"add replaces", "{a: 1}", "[{op: add, path: /a, value: 2}]", "{a: 2}"},
      {"add into a list", "{l: [1, 3]}", "[{op: add, path: /l/1, value: 2}]", "{l: [1, 2, 3]}"},
      {"append", "{l: [1]}", "[{op: add, path: /l/-, value: 2}]", "{l: [1, 2]}"},
      {"append by the length", "{l: [1]}", "[{op: add, path: /l/1, value: 2}]", "{l: [1, 2]}"},
      {"remove", "{a: 1, b: 2}", "[{op: remove, path: /b}]", "{a: 1}"},
      {"remove from a list", "{l: [1, 2, 3]}", "[{op: remove, path: /l/1}]", "{l: [1, 3]}"},
      {"replace", "{a: {b: 1}}", "[{op: replace, path: /a/b, value: x}]", "{a: {b: x}}"},
      {"replace the whole", "{a: 1}", "[{op: replace, path: '', value: {b: 2}}]", "{b: 2}"},
      {"move", "{a: {b: 1}, c: {}}", "[{op: move, from: /a/b, path: /c/d}]", "{a: {}, c: {d: 1}}"},
      {"copy", "{a: {b: 1}}", "[{op: copy, from: /a, path: /c}]", "{a: {b: 1}, c: {b: 1}}"},
      {"escapes", "{'a/b': 1, 'c~d': 2}", "[{op: remove, path: /a~1b}, {op: remove, path: /c~0d}]", "{}"},
      {"an escaped tilde before 1 is no slash", "{'~1': 1}", "[{op: remove, path: /~01}]", "{}"},
      {"test passes", "{a: [1, {b: 2}]}", "[{op: test, path: /a, value: [1, {b: 2}]}, {op: add, path: /c, value: 3}]",
       "{a: [1, {b: 2}], c: 3}"},
      {"test of what is absent against null", "{}", "[{op: test, path: /a, value: null}]", "{}"},
      {"in order", "{}", "[{op: add, path: /a, value: {}}, {op: add, path: /a/b, value: 1}]", "{a: {b: 1}}"}};
  for (const auto& c : cases) {
    EXPECT_EQ(json_patched(from_yaml(c.live), kube::parse_yaml(c.patch)), from_yaml(c.expected)) << c.what;
  }
}

TEST(JsonPatch, refuses_what_is_malformed_or_does_not_fit) {
  struct Refused {
    std::string live, patch;
    int code;
  };
  const Refused cases[] = {{"{}", "{op: add}", 400},
                           {"{}", "[1]", 400},
                           {"{}", "[{op: add}]", 400},
                           {"{}", "[{op: add, path: a, value: 1}]", 400},
                           {"{}", "[{op: add, path: /a}]", 400},
                           {"{}", "[{op: fly, path: /a}]", 400},
                           {"{}", "[{op: remove, path: ''}]", 400},
                           {"{}", "[{op: remove, path: /a}]", 422},
                           {"{}", "[{op: replace, path: /a, value: 1}]", 422},
                           {"{}", "[{op: add, path: /a/b, value: 1}]", 422},
                           {"{a: 1}", "[{op: add, path: /a/b, value: 1}]", 422},
                           {"{l: [1]}", "[{op: add, path: /l/2, value: 1}]", 422},
                           {"{l: [1]}", "[{op: remove, path: /l/1}]", 422},
                           {"{l: [1]}", "[{op: remove, path: /l/-}]", 422},
                           {"{l: [1]}", "[{op: add, path: /l/-1, value: 1}]", 422},
                           {"{a: 1}", "[{op: test, path: /a, value: 2}]", 422},
                           {"{a: 1}", "[{op: move, from: /b, path: /c}]", 422},
                           {"{a: {b: 1}}", "[{op: move, from: /a, path: /a/b}]", 422},
                           {"{a: 1}", "[{op: replace, path: '', value: 3}]", 422}};
  for (const auto& c : cases) {
    EXPECT_EQ(code_of([&] { json_patched(from_yaml(c.live), kube::parse_yaml(c.patch)); }), c.code) << c.patch;
  }
}

TEST(MergePatch, examples_of_rfc_7386) {
  const Case cases[] = {{"replace", "{a: b}", "{a: c}", "{a: c}"},
                        {"add", "{a: b}", "{b: c}", "{a: b, b: c}"},
                        {"null removes", "{a: b, b: c}", "{a: null}", "{b: c}"},
                        {"a list is replaced", "{a: [b]}", "{a: [c, d]}", "{a: [c, d]}"},
                        {"a list becomes an object", "{a: [b]}", "{a: {b: c}}", "{a: {b: c}}"},
                        {"nested", "{a: {b: c}}", "{a: {b: d, c: null}}", "{a: {b: d}}"},
                        {"nulls in new objects go", "{}", "{a: {bb: {ccc: null}}}", "{a: {bb: {}}}"},
                        {"nulls in lists stay", "{}", "{a: [null]}", "{a: [null]}"},
                        {"nothing", "{a: 1}", "{}", "{a: 1}"}};
  for (const auto& c : cases) {
    EXPECT_EQ(merge_patched(from_yaml(c.live), kube::parse_yaml(c.patch)), from_yaml(c.expected)) << c.what;
  }
  EXPECT_EQ(code_of([] { merge_patched({}, json::value(json::array{1})); }), 400);
}

const TypeSchema* deployment() { return find_type("io.k8s.api.apps.v1.Deployment"); }

TEST(StrategicMergePatch, lists_are_merged_by_their_key) {
  const auto pod = [](std::string_view spec) { return "{spec: {template: {spec: " + std::string(spec) + "}}}"; };
  const Case cases[] = {
      {"an element is changed", pod("{containers: [{name: a, image: x}, {name: b, image: y}]}"),
       pod("{containers: [{name: b, image: z}]}"), pod("{containers: [{name: a, image: x}, {name: b, image: z}]}")},
      {"an element is added", pod("{containers: [{name: a}]}"), pod("{containers: [{name: b}]}"),
       pod("{containers: [{name: a}, {name: b}]}")},
      {"an element is deleted", pod("{containers: [{name: a}, {name: b}]}"),
       pod("{containers: [{name: a, $patch: delete}]}"), pod("{containers: [{name: b}]}")},
      {"deleting what is absent", pod("{containers: [{name: a}]}"), pod("{containers: [{name: z, $patch: delete}]}"),
       pod("{containers: [{name: a}]}")},
      {"an element is replaced", pod("{containers: [{name: a, image: x, args: [q]}]}"),
       pod("{containers: [{name: a, image: y, $patch: replace}]}"), pod("{containers: [{name: a, image: y}]}")},
      {"the list is replaced", pod("{containers: [{name: a}, {name: b}]}"),
       pod("{containers: [{$patch: replace}, {name: c}]}"), pod("{containers: [{name: c}]}")},
      {"a null in an element removes its field", pod("{containers: [{name: a, image: x, tty: true}]}"),
       pod("{containers: [{name: a, tty: null}]}"), pod("{containers: [{name: a, image: x}]}")},
      {"inner lists have their own key", pod("{containers: [{name: a, env: [{name: P, value: '1'}]}]}"),
       pod("{containers: [{name: a, env: [{name: Q, value: '2'}, {name: P, value: '3'}]}]}"),
       pod("{containers: [{name: a, env: [{name: P, value: '3'}, {name: Q, value: '2'}]}]}")},
      {"volume mounts by path", pod("{containers: [{name: a, volumeMounts: [{name: v, mountPath: /a}]}]}"),
       pod("{containers: [{name: a, volumeMounts: [{name: v, mountPath: /b}]}]}"),
       pod("{containers: [{name: a, volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b}]}]}")},
      {"scalars without a key are replaced", pod("{containers: [{name: a, args: [x, y]}]}"),
       pod("{containers: [{name: a, args: [z]}]}"), pod("{containers: [{name: a, args: [z]}]}")},
      {"the order is set", pod("{containers: [{name: a}, {name: b}]}"),
       pod("{$setElementOrder/containers: [{name: c}, {name: b}, {name: a}], containers: [{name: c}]}"),
       pod("{containers: [{name: c}, {name: b}, {name: a}]}")},
      {"an order alone sorts", pod("{containers: [{name: a}, {name: b}]}"),
       pod("{$setElementOrder/containers: [{name: b}, {name: a}]}"), pod("{containers: [{name: b}, {name: a}]}")},
      {"elements that the order does not name stay", pod("{containers: [{name: s}, {name: a}, {name: b}]}"),
       pod("{$setElementOrder/containers: [{name: b}, {name: a}]}"),
       pod("{containers: [{name: s}, {name: b}, {name: a}]}")},
      {"a new list", pod("{}"), pod("{containers: [{name: a, env: [{name: x, value: null}]}]}"),
       pod("{containers: [{name: a, env: [{name: x}]}]}")}};
  for (const auto& c : cases) {
    EXPECT_EQ(strategic_patched(deployment(), from_yaml(c.live), kube::parse_yaml(c.patch)), from_yaml(c.expected))
        << c.what;
  }
}

TEST(StrategicMergePatch, directives) {
  const Case cases[] = {
      {"labels merge", "{metadata: {labels: {a: b, c: d}}}", "{metadata: {labels: {a: null, e: f}}}",
       "{metadata: {labels: {c: d, e: f}}}"},
      {"$patch: replace of a map", "{metadata: {labels: {a: b, c: d}}}",
       "{metadata: {labels: {$patch: replace, e: f}}}", "{metadata: {labels: {e: f}}}"},
      {"$patch: delete of a map", "{metadata: {labels: {a: b}, name: x}}", "{metadata: {labels: {$patch: delete}}}",
       "{metadata: {name: x}}"},
      {"$retainKeys", "{spec: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1}}}}",
       "{spec: {strategy: {$retainKeys: [type], type: Recreate}}}", "{spec: {strategy: {type: Recreate}}}"},
      {"finalizers merge as a set", "{metadata: {finalizers: [a/x, b/y]}}", "{metadata: {finalizers: [b/y, c/z]}}",
       "{metadata: {finalizers: [a/x, b/y, c/z]}}"},
      {"$deleteFromPrimitiveList", "{metadata: {finalizers: [a/x, b/y]}}",
       "{metadata: {$deleteFromPrimitiveList/finalizers: [a/x]}}", "{metadata: {finalizers: [b/y]}}"},
      {"delete, add and order of scalars", "{metadata: {finalizers: [a/x, b/y]}}",
       "{metadata: {$deleteFromPrimitiveList/finalizers: [a/x], $setElementOrder/finalizers: [c/z, b/y], finalizers: "
       "[c/z]}}",
       "{metadata: {finalizers: [c/z, b/y]}}"}};
  for (const auto& c : cases) {
    EXPECT_EQ(strategic_patched(deployment(), from_yaml(c.live), kube::parse_yaml(c.patch)), from_yaml(c.expected))
        << c.what;
  }
}

TEST(StrategicMergePatch, ports_of_services_merge_by_number) {
  const auto* service = find_type("io.k8s.api.core.v1.Service");
  EXPECT_EQ(strategic_patched(service, from_yaml("{spec: {ports: [{port: 80, name: web}]}}"),
                              kube::parse_yaml("{spec: {ports: [{port: 443, name: tls}, {port: 80, name: http}]}}")),
            from_yaml("{spec: {ports: [{port: 80, name: http}, {port: 443, name: tls}]}}"));
}

TEST(StrategicMergePatch, an_element_needs_its_key) {
  const auto patch = kube::parse_yaml("{spec: {template: {spec: {containers: [{image: x}]}}}}");
  EXPECT_EQ(code_of([&] { strategic_patched(deployment(), {}, patch); }), 400);
  EXPECT_EQ(code_of([&] { strategic_patched(deployment(), {}, kube::parse_yaml("{$patch: fly}")); }), 400);
  EXPECT_EQ(code_of([&] { strategic_patched(deployment(), {}, json::value("x")); }), 400);
}

// --- scale: were any of these a walk for each element, they would take hours

constexpr int many = 60'000;

json::object with_environment(const std::function<json::object(int)>& variable) {
  json::array env;
  for (int i = 0; i < many; ++i) env.push_back(variable(i));
  json::object object;
  json::array containers{json::object{{"name", "a"}, {"env", std::move(env)}}};
  child(child(child(object, "spec"), "template"), "spec")["containers"] = std::move(containers);
  return object;
}
std::string name_of_variable(int i) { return "V" + std::to_string(i); }
const json::array& environment_of(const json::object& object) {
  return array_at(array_at(object, {"spec", "template", "spec", "containers"})[0].get_object(), {"env"});
}

TEST(StrategicMergePatch, merges_lists_of_any_length_in_one_pass) {
  const auto live =
      with_environment([](int i) { return json::object{{"name", name_of_variable(i)}, {"value", "old"}}; });
  auto patch = with_environment([](int i) {
    const auto name = name_of_variable(many - 1 - i);
    return i % 2 == 0 ? json::object{{"name", name}, {"value", "new"}}
                      : json::object{{"name", name}, {"$patch", "delete"}};
  });
  json::array order;
  for (int i = 0; i < many; ++i) order.push_back(json::object{{"name", name_of_variable(many - 1 - i)}});
  list(child(child(child(patch, "spec"), "template"), "spec"), "containers")[0].get_object()["$setElementOrder/env"] =
      std::move(order);
  const auto merged = strategic_patched(deployment(), live, json::value(patch));
  const auto& env = environment_of(merged);
  ASSERT_EQ(env.size(), many / 2);
  EXPECT_EQ(env.front(), (json::object{{"name", name_of_variable(many - 1)}, {"value", "new"}}));
  EXPECT_EQ(env.back(), (json::object{{"name", name_of_variable(1)}, {"value", "new"}}));
}

TEST(StrategicMergePatch, merges_sets_of_any_length_in_one_pass) {
  json::object live, patch;
  for (int i = 0; i < many; ++i) {
    list(child(live, "metadata"), "finalizers").emplace_back("a/x" + std::to_string(i));
    list(child(patch, "metadata"), "finalizers").emplace_back("b/x" + std::to_string(i));
    list(child(patch, "metadata"), "$deleteFromPrimitiveList/finalizers").emplace_back("a/x" + std::to_string(i));
  }
  const auto merged = strategic_patched(deployment(), live, json::value(patch));
  EXPECT_EQ(array_at(merged, {"metadata", "finalizers"}).size(), many);
}

TEST(JsonPatch, does_not_grow_or_shift_without_a_bound) {
  json::array copies{json::object{{"op", "add"}, {"path", "/a"}, {"value", json::array{1, 2, 3, 4}}}};
  for (int i = 0; i < 40; ++i) {  // each doubles the list: 2⁴² numbers
    copies.push_back(json::object{{"op", "copy"}, {"from", "/a"}, {"path", "/b"}});
    copies.push_back(json::object{{"op", "move"}, {"from", "/b"}, {"path", "/a/-"}});
    copies.push_back(json::object{{"op", "copy"}, {"from", "/a"}, {"path", "/a/-"}});
  }
  EXPECT_EQ(code_of([&] { json_patched({}, json::value(copies)); }), 413);
  json::object live;
  for (int i = 0; i < many; ++i) list(live, "l").emplace_back(0);
  json::array shifts;
  for (int i = 0; i < 9'000; ++i) shifts.push_back(json::object{{"op", "add"}, {"path", "/l/0"}, {"value", 1}});
  EXPECT_EQ(code_of([&] { json_patched(live, json::value(shifts)); }), 413);
  json::array operations;
  for (int i = 0; i <= 10'000; ++i) operations.push_back(json::object{{"op", "test"}, {"path", "/a"}});
  EXPECT_EQ(code_of([&] { json_patched({}, json::value(operations)); }), 413);
  operations.pop_back();
  EXPECT_EQ(code_of([&] { json_patched({}, json::value(operations)); }), 200);
}

}  // namespace
}  // namespace workflow::engine
