#include "controller/hephy/dump.h"

#include <gtest/gtest.h>

namespace workflow::controller::hephy {
namespace {

using Cells = std::vector<std::optional<std::string>>;

TEST(Dump, has_the_rows_of_wanted_tables) {
  const auto dump = read_dump(
      "-- PostgreSQL database dump\nSET x = 1;\n\n"
      "COPY public.api_app (uuid, id, \"values\") FROM stdin;\n"
      "1\tpeachy\t{\"A\": \"b\\\\tc\"}\n"
      "2\t\\N\ttab\\there\\nand\\\\N\n"
      "\\.\n\n"
      "COPY public.api_push (uuid) FROM stdin;\nnot\twhat\tit\tsays\n\\.\n"
      "COPY auth_user (id) FROM stdin;\n\\.\n",
      {"api_app", "auth_user"});
  ASSERT_TRUE(dump) << dump.error();
  ASSERT_EQ(dump->size(), 2u);
  const auto& apps = dump->at("api_app");
  EXPECT_EQ(apps.columns, (std::vector<std::string>{"uuid", "id", "values"}));
  ASSERT_EQ(apps.rows.size(), 2u);
  EXPECT_EQ(apps.rows[0], (Cells{"1", "peachy", "{\"A\": \"b\\tc\"}"}));
  EXPECT_EQ(apps.rows[1], (Cells{"2", std::nullopt, "tab\there\nand\\N"}));
  EXPECT_TRUE(dump->at("auth_user").rows.empty());
}

TEST(Dump, of_quoted_names) {
  const auto dump = read_dump("COPY \"pub.lic\".\"a\"\"b\" (\"c, d\", e) FROM stdin;\n1\t2\n\\.\n", {"a\"b"});
  ASSERT_TRUE(dump) << dump.error();
  EXPECT_EQ(dump->at("a\"b").columns, (std::vector<std::string>{"c, d", "e"}));
}

TEST(Dump, names_the_line_that_is_wrong) {
  struct Case {
    std::string text, problem;
  };
  const Case cases[] = {
      {"PGDMP\1\2", "it is in pg_dump's own format; make text of it: pg_restore -f dump.sql <file>"},
      {"\nCOPY t (a) FROM stdin;\n1\n", "line 3: the dump ends within table t"},
      {"COPY t (a, b) FROM stdin;\n1\t2\n3\n\\.\n", "line 3: table t has 2 columns, this row 1"},
      {"COPY t (a) FROM stdin;\n\xff\n\\.\n", "line 2: not UTF-8"},
      {std::string("COPY t (a) FROM stdin;\na\0b\n\\.\n", 30), "line 2: not UTF-8"},
      {"COPY t (a) FROM stdin;\n\\.\nCOPY x.t (a) FROM stdin;\n\\.\n", "line 4: table t is there twice"},
  };
  for (const auto& [text, problem] : cases) {
    const auto dump = read_dump(text, {"t"});
    ASSERT_FALSE(dump) << text;
    EXPECT_EQ(dump.error(), problem);
  }
}

TEST(Dump, of_other_statements_has_no_tables) {
  for (const auto* text : {"", "COPY", "COPY t", "COPY t (a", "COPY t () FROM stdin;", "COPY t (a) TO stdout;",
                           "COPY \"t (a) FROM stdin;", "INSERT INTO t VALUES (1);"}) {
    const auto dump = read_dump(text, {"t"});
    ASSERT_TRUE(dump) << text;
    EXPECT_TRUE(dump->empty()) << text;
  }
}

}  // namespace
}  // namespace workflow::controller::hephy
