#include "lib/kube/selectors.h"

#include <gtest/gtest.h>

namespace workflow::kube {

using Labels = std::map<std::string, std::string>;

TEST(LabelSelector, matches_as_kubernetes_does) {
  const Labels shop{{"app", "shop"}, {"type", "web"}, {"version", "v4"}, {"empty", ""}, {"rack", "12"}};
  struct Case {
    std::string selector;
    bool matches;
  };
  const Case cases[] = {
      {"", true},
      {"app=shop", true},
      {"app==shop,type=web", true},
      {"app=shop,type=cmd", false},
      {"app!=shop", false},
      {"app!=other", true},
      {"absent!=x", true},
      {"app", true},
      {"absent", false},
      {"!absent", true},
      {"! app", false},
      {"type in (web, cmd)", true},
      {"type in (cmd)", false},
      {"absent in (cmd)", false},
      {"type notin (cmd,worker)", true},
      {"type notin (web)", false},
      {"absent notin (web)", true},
      {"empty=", true},
      {"empty in ()", true},
      {"app=", false},
      {"heritage=deis", false},
      {"rack>11", true},
      {"rack<12", false},
      {"app>1", false},
      {"app=shop,version notin(v2,v3),type", true},
      {"  app = shop , type  in  ( web ) ", true},
  };
  for (const auto& [text, expected] : cases) {
    const auto selector = LabelSelector::parse(text);
    ASSERT_TRUE(selector) << text;
    EXPECT_EQ(selector->matches(shop), expected) << text;
    json::object labels;
    for (const auto& [key, value] : shop) labels[key] = value;
    const json::value as_json(labels);
    EXPECT_EQ(selector->matches(&as_json), expected) << text;
    EXPECT_EQ(LabelSelector::parse(selector->text()), selector) << text;
  }
}

TEST(LabelSelector, refuses_what_is_malformed) {
  for (const auto* text :
       {",", "app=shop,", "=x", "app=a b", "app in (a", "app in a)", "app in ((a))", "app within (a)", "!", "app!shop",
        "app=shop=x", "Ä=1", "a/b/c=1", "-a=1", "app=-x", "rack>x", "in (a)", "app in (a) b", "!app=x"}) {
    EXPECT_FALSE(LabelSelector::parse(text)) << text;
  }
}

TEST(LabelSelector, without_labels_only_negative_terms_match) {
  EXPECT_TRUE(LabelSelector::parse("a notin (b),!c,d!=e")->matches(nullptr));
  EXPECT_FALSE(LabelSelector::parse("a")->matches(nullptr));
  EXPECT_TRUE(LabelSelector().matches(nullptr));
}

TEST(LabelSelector, reads_selector_objects) {
  const auto from = [](std::string_view text) { return LabelSelector::from_object(*parse_json(text)); };
  EXPECT_EQ(
      from(R"({"matchLabels":{"app":"shop"},"matchExpressions":[{"key":"type","operator":"In","values":["web","cmd"]},
                     {"key":"a","operator":"NotIn","values":["x"]},{"key":"b","operator":"Exists"},
                     {"key":"c","operator":"DoesNotExist","values":[]}]})")
          ->text(),
      "app=shop,type in (cmd,web),a notin (x),b,!c");
  EXPECT_TRUE(from("{}")->empty());
  for (const auto* bad : {"[]", R"({"matchLabels":{"a":1}})", R"({"matchLabels":[]})", R"({"matchExpressions":{}})",
                          R"({"matchExpressions":[{"key":"a","operator":"Is"}]})",
                          R"({"matchExpressions":[{"key":"a","operator":"In"}]})",
                          R"({"matchExpressions":[{"key":"a","operator":"Exists","values":["x"]}]})"}) {
    EXPECT_FALSE(from(bad)) << bad;
  }
  const auto map = *parse_json(R"({"app":"shop","type":"web"})");
  EXPECT_EQ(LabelSelector::from_map(&map).text(), "app=shop,type=web");
}

TEST(FieldSelector, compares_fields_as_text) {
  const auto pod = parse_json(R"({"metadata":{"name":"a","namespace":"x"},"spec":{"nodeName":"n1","hostNetwork":true},
                                  "status":{"phase":"Running","count":3,"odd":"a,b=c\\d"}})")
                       ->get_object();
  struct Case {
    std::string selector;
    bool matches;
  };
  const Case cases[] = {{"", true},
                        {"metadata.name=a", true},
                        {"metadata.name==b", false},
                        {"status.phase!=Succeeded,status.phase!=Failed", true},
                        {"status.phase!=Running", false},
                        {"spec.hostNetwork=true", true},
                        {"status.count=3", true},
                        {"spec.absent=", true},
                        {"spec.absent!=x", true},
                        {"metadata.name.deeper=", true},
                        {"metadata=", true},
                        {R"(status.odd=a\,b\=c\\d)", true}};
  for (const auto& [text, expected] : cases) {
    const auto selector = FieldSelector::parse(text);
    ASSERT_TRUE(selector) << text;
    EXPECT_EQ(selector->matches(pod), expected) << text;
    EXPECT_EQ(FieldSelector::parse(selector->text()), selector) << text;
  }
  for (const auto* text : {"a", "=b", "a=b=c", "a!b", R"(a=\x)", R"(a=\)", ",", "a=b,,c=d"}) {
    EXPECT_FALSE(FieldSelector::parse(text)) << text;
  }
}

}  // namespace workflow::kube
