#include "database/cluster.h"

#include <gtest/gtest.h>

#include "lib/base/error.h"

namespace workflow::database {
namespace {

TEST(PlanStart, initialises_only_where_nothing_can_be_lost) {
  struct Case {
    std::set<std::string> entries;
    bool has_version;
    std::string outcome;
  };
  const Case cases[] = {
      {{}, false, "initialise"},
      {{"lock", "lost+found"}, false, "initialise"},
      {{"lock", "15.new-0123"}, false, "initialise"},
      {{"15", "lock"}, true, "run"},
      {{"15", "lock"}, false, "refuse"},
      {{"14"}, false, "refuse"},
      {{"PG_VERSION", "base"}, false, "refuse"},
  };
  for (const auto& [entries, has_version, outcome] : cases) {
    std::string got;
    try {
      got = plan_start({"/data", entries, has_version}) == Start::run ? "run" : "initialise";
    } catch (const Error& error) {
      got = "refuse";
    }
    EXPECT_EQ(got, outcome) << testing::PrintToString(entries);
  }
}

TEST(SetupSql, keeps_names_and_passwords_inside_their_quotes) {
  EXPECT_EQ(sql_identifier("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(sql_literal("it's \\ x"), "E'it\\'s \\\\ x'");
}

TEST(SetupSql, sets_the_password_each_time_and_makes_the_rest_once) {
  Config config;
  config.user = "workflow";
  config.name = "workflow";
  config.password = Secret("pa'ss");
  const auto sql = setup_sql(config);
  EXPECT_NE(sql.find("ALTER ROLE \"workflow\" LOGIN PASSWORD E'pa\\'ss';"), std::string::npos);
  EXPECT_NE(sql.find("WHERE NOT EXISTS (SELECT FROM pg_roles"), std::string::npos);
  EXPECT_NE(sql.find("WHERE NOT EXISTS (SELECT FROM pg_database"), std::string::npos);
}

TEST(AccessRules, let_the_superuser_in_through_the_socket_alone) {
  EXPECT_EQ(access_rules(), "local all postgres trust\nhost all postgres all reject\nhost all all all scram-sha-256\n");
}

}  // namespace
}  // namespace workflow::database
