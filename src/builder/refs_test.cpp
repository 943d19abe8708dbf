#include "builder/refs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace workflow::builder {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string none(40, '0'), one(40, '1'), two(40, '2');

RefUpdate update(const std::string& before, const std::string& after, const std::string& ref) {
  return {*ObjectId::parse(before), *ObjectId::parse(after), ref};
}

TEST(ObjectId, is_forty_digits) {
  EXPECT_TRUE(ObjectId::parse(one));
  EXPECT_TRUE(ObjectId::parse(none)->is_null());
  EXPECT_FALSE(ObjectId::parse(one)->is_null());
  for (const auto& text : {std::string(), std::string(39, 'a'), std::string(41, 'a'), std::string(40, 'A'),
                           std::string(40, 'g'), std::string(64, 'a')}) {
    EXPECT_FALSE(ObjectId::parse(text)) << text;
  }
  EXPECT_EQ(ObjectId::parse("0123456789abcdef0123456789abcdef01234567")->brief(), "01234567");
}

TEST(RefUpdates, are_lines_of_two_ids_and_a_ref) {
  EXPECT_EQ(parse_ref_updates(none + " " + one + " refs/heads/master\n" + one + " " + two + " refs/tags/v 1\n"),
            (std::vector{update(none, one, "refs/heads/master"), update(one, two, "refs/tags/v 1")}));
}

TEST(RefUpdates, that_are_anything_else_are_not_read) {
  for (const auto& text :
       {std::string(), std::string("\n"), none + " " + one + " refs/heads/master", none + " " + one + " master\n",
        none + " " + one + "\n", none + one + " refs/heads/x\n", none + "  " + one + " refs/heads/x\n",
        std::string(40, 'x') + " " + one + " refs/heads/x\n", none + " " + one + " refs/heads/x\n\n"}) {
    EXPECT_FALSE(parse_ref_updates(text)) << text;
  }
}

TEST(DeployBranches, are_master_and_main_unless_the_app_says_otherwise) {
  EXPECT_THAT(deploy_branches(""), ElementsAre("main", "master"));
  EXPECT_THAT(deploy_branches("production"), ElementsAre("production"));
  EXPECT_THAT(deploy_branches("live, next"), ElementsAre("live", "next"));
  EXPECT_THAT(deploy_branches(" , "), ElementsAre("main", "master"));
}

TEST(PushPlan, builds_the_deploy_branch) {
  const auto branches = deploy_branches("");
  for (const std::string ref : {"refs/heads/master", "refs/heads/main"}) {
    EXPECT_EQ(plan_push({update(one, two, ref)}, branches),
              (PushPlan{ObjectId::parse(two), {update(one, two, ref)}, {}, std::nullopt}))
        << ref;
  }
}

TEST(PushPlan, builds_a_commit_once) {
  const auto plan = plan_push(
      {update(none, one, "refs/heads/master"), update(none, one, "refs/heads/main"), update(none, one, "refs/tags/v1")},
      deploy_branches(""));
  EXPECT_EQ(plan.build, ObjectId::parse(one));
  EXPECT_THAT(plan.notices, ElementsAre(HasSubstr("tag v1")));
}

TEST(PushPlan, stores_other_refs_and_says_so) {
  const auto branches = deploy_branches("");
  const auto plan = plan_push({update(none, one, "refs/heads/feature/x")}, branches);
  EXPECT_FALSE(plan.build);
  EXPECT_FALSE(plan.refusal);
  EXPECT_THAT(plan.notices,
              ElementsAre("The branch feature/x was stored, but not deployed: only master or main deploys.",
                          "To deploy it: git push <remote> feature/x:master"));
  EXPECT_THAT(plan_push({update(none, two, "refs/tags/v1"), update(none, two, "refs/notes/commits")}, branches).notices,
              ElementsAre("The tag v1 was stored, but not deployed: only master or main deploys.",
                          "The ref refs/notes/commits was stored, but not deployed: only master or main deploys."));
}

TEST(PushPlan, does_not_tell_of_every_tag_that_there_is) {
  std::vector<RefUpdate> tags;
  for (int i = 0; i < 500; ++i) tags.push_back(update(none, one, "refs/tags/v" + std::to_string(i)));
  const auto plan = plan_push(tags, deploy_branches(""));
  ASSERT_EQ(plan.notices.size(), 6u);
  EXPECT_EQ(plan.notices.back(), "So were 495 more.");
}

TEST(PushPlan, lets_other_refs_be_deleted) {
  EXPECT_EQ(
      plan_push({update(one, none, "refs/heads/feature"), update(one, none, "refs/tags/v1")}, deploy_branches("")),
      PushPlan{});
}

TEST(PushPlan, refuses_what_has_no_one_meaning) {
  const auto deleted = plan_push({update(one, none, "refs/heads/master")}, deploy_branches(""));
  EXPECT_THAT(*deleted.refusal, HasSubstr("master"));
  const auto two_commits =
      plan_push({update(none, one, "refs/heads/master"), update(none, two, "refs/heads/main")}, deploy_branches(""));
  EXPECT_THAT(*two_commits.refusal, HasSubstr("different commits"));
  EXPECT_FALSE(two_commits.build);
}

TEST(PushPlan, shows_no_terminal_codes_of_a_branchs_name) {
  const auto plan = plan_push({update(none, one, "refs/heads/a\x1b[31m")}, deploy_branches(""));
  for (const auto& notice : plan.notices) EXPECT_EQ(notice.find('\x1b'), std::string::npos);
}

TEST(Transaction, is_what_it_says_of_refs) {
  const auto zeros = std::string(40, '0'), ones = std::string(40, '1');
  const auto updates = parse_transaction(zeros + " " + ones + " refs/heads/master\n" + zeros + " " + ones + " HEAD\n" +
                                         "ref:refs/heads/x " + zeros + " HEAD\n" + ones + " " + zeros + " refs/tags/a");
  ASSERT_EQ(updates.size(), 2u);
  EXPECT_EQ(updates[0], (RefUpdate{*ObjectId::parse(zeros), *ObjectId::parse(ones), "refs/heads/master"}));
  EXPECT_EQ(updates[1].ref, "refs/tags/a");
  EXPECT_TRUE(parse_transaction("").empty());
}

}  // namespace
}  // namespace workflow::builder
