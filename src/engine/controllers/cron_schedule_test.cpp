#include "engine/controllers/cron_schedule.h"

#include <gtest/gtest.h>

namespace workflow::engine {
namespace {

Time at(const char* text) { return *parse_rfc3339(text); }

TEST(CronSchedule, says_when_it_is_due_next) {
  struct Case {
    const char *schedule, *after, *next;
  };
  const Case cases[] = {
      {"* * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:01:00Z"},
      {"* * * * *", "2026-03-01T10:00:59Z", "2026-03-01T10:01:00Z"},
      {"*/15 * * * *", "2026-03-01T10:46:00Z", "2026-03-01T11:00:00Z"},
      {"5/20 * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:05:00Z"},
      {"0 3 * * *", "2026-12-31T03:00:00Z", "2027-01-01T03:00:00Z"},
      {"10-20/5,50 0 * * *", "2026-03-01T00:16:00Z", "2026-03-01T00:20:00Z"},
      {"0 0 31 * *", "2026-01-31T00:00:00Z", "2026-03-31T00:00:00Z"},
      {"0 0 29 feb *", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"},
      {"0 9 * * mon-fri", "2026-03-06T09:00:00Z", "2026-03-09T09:00:00Z"},
      {"0 9 13 * fri", "2026-03-06T09:00:00Z", "2026-03-13T09:00:00Z"},  // either: the 13th, and every Friday
      {"0 9 14 * fri", "2026-03-06T09:00:00Z", "2026-03-13T09:00:00Z"},
      {"0 9 */2 * fri", "2026-03-06T09:00:00Z", "2026-03-13T09:00:00Z"},  // a star: both
      {"0 9 ? * 0", "2026-03-06T09:00:00Z", "2026-03-08T09:00:00Z"},
      {"@hourly", "2026-03-06T09:00:00Z", "2026-03-06T10:00:00Z"},
      {"@weekly", "2026-03-06T09:00:00Z", "2026-03-08T00:00:00Z"},
      {"@yearly", "2026-03-06T09:00:00Z", "2027-01-01T00:00:00Z"}};
  for (const auto& [schedule, after, next] : cases) {
    const auto parsed = CronSchedule::parse(schedule);
    ASSERT_TRUE(parsed) << schedule;
    EXPECT_EQ(rfc3339(parsed->next_after(at(after)).value_or(Time{})), next) << schedule << " after " << after;
  }
  EXPECT_FALSE(CronSchedule::parse("0 0 30 2 *")->next_after(at("2026-03-06T09:00:00Z")));
}

TEST(CronSchedule, knows_the_last_time_that_was_missed) {
  struct Case {
    const char *schedule, *after, *until, *last;
  };
  const Case cases[] = {{"* * * * *", "2020-01-01T00:00:00Z", "2026-03-01T10:00:30Z", "2026-03-01T10:00:00Z"},
                        {"* * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:00:30Z", ""},
                        {"0 0 1 1 *", "2020-01-01T00:00:00Z", "2026-03-01T10:00:30Z", "2026-01-01T00:00:00Z"},
                        {"30 4 * * *", "2026-02-27T04:30:00Z", "2026-03-01T04:29:59Z", "2026-02-28T04:30:00Z"},
                        {"0 0 30 2 *", "2020-01-01T00:00:00Z", "2026-03-01T10:00:30Z", ""}};
  for (const auto& [schedule, after, until, last] : cases) {
    const auto found = CronSchedule::parse(schedule)->last_within(at(after), at(until));
    EXPECT_EQ(found ? rfc3339(*found) : "", last) << schedule << " until " << until;
  }
}

TEST(CronSchedule, refuses_what_is_no_schedule) {
  for (const auto* text :
       {"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "5-1 * * * *",
        "*/0 * * * *", "a * * * *", "1, * * * *", "@often", "- * * * *", "1-2-3 * * * *", "*/x * * * *"}) {
    EXPECT_FALSE(CronSchedule::parse(text)) << text;
  }
}

}  // namespace
}  // namespace workflow::engine
