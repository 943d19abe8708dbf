#include "engine/cron_schedule.h"

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
      {"0 9 *,3 * fri", "2026-03-06T09:00:00Z", "2026-03-13T09:00:00Z"},  // a star: both
      {"0 9 */2 * fri", "2026-03-06T09:00:00Z", "2026-03-07T09:00:00Z"},  // a star with a step is no star
      {"0 9 ? * 0", "2026-03-06T09:00:00Z", "2026-03-08T09:00:00Z"},
      {"@hourly", "2026-03-06T09:00:00Z", "2026-03-06T10:00:00Z"},
      {"@weekly", "2026-03-06T09:00:00Z", "2026-03-08T00:00:00Z"},
      {"@yearly", "2026-03-06T09:00:00Z", "2027-01-01T00:00:00Z"},
      {"1,,7,\t0-0 * mar-APR *", "2026-03-06T09:00:00Z", "2026-03-07T00:01:00Z"},
      {"@every 1h30m", "2026-03-06T09:00:00.5Z", "2026-03-06T10:30:00Z"},
      {"@every 1.5h20s", "2026-03-06T09:00:00Z", "2026-03-06T10:30:20Z"},
      {"@every 100ms", "2026-03-06T09:00:00Z", "2026-03-06T09:00:01Z"}};
  for (const auto& [schedule, after, next] : cases) {
    const auto parsed = CronSchedule::parse(schedule);
    ASSERT_TRUE(parsed) << schedule;
    EXPECT_EQ(rfc3339(parsed->next_after(at(after), TimeZone()).value_or(Time{})), next)
        << schedule << " after " << after;
  }
  EXPECT_FALSE(CronSchedule::parse("0 0 30 2 *")->next_after(at("2026-03-06T09:00:00Z"), TimeZone()));
}

TEST(CronSchedule, knows_the_last_time_that_was_missed) {
  struct Case {
    const char *schedule, *after, *until, *last;
  };
  const Case cases[] = {{"* * * * *", "2020-01-01T00:00:00Z", "2026-03-01T10:00:30Z", "2026-03-01T10:00:00Z"},
                        {"* * * * *", "2026-03-01T10:00:00Z", "2026-03-01T10:00:30Z", ""},
                        {"0 0 1 1 *", "2020-01-01T00:00:00Z", "2026-03-01T10:00:30Z", "2026-01-01T00:00:00Z"},
                        {"30 4 * * *", "2026-02-27T04:30:00Z", "2026-03-01T04:29:59Z", "2026-02-28T04:30:00Z"},
                        {"0 0 30 2 *", "2020-01-01T00:00:00Z", "2026-03-01T10:00:30Z", ""},
                        {"@every 7h", "2026-03-01T00:00:10Z", "2026-03-01T21:00:09Z", "2026-03-01T14:00:10Z"},
                        {"@every 7h", "2026-03-01T00:00:10Z", "2026-03-01T07:00:09Z", ""}};
  for (const auto& [schedule, after, until, last] : cases) {
    const auto found = CronSchedule::parse(schedule)->last_within(at(after), at(until), TimeZone());
    EXPECT_EQ(found ? rfc3339(*found) : "", last) << schedule << " until " << until;
  }
}

TEST(CronSchedule, goes_by_local_time) {
  struct Case {
    const char *zone, *schedule, *after, *next;
  };
  const Case cases[] = {
      {"Europe/Berlin", "0 9 * * *", "2025-01-10T08:00:00Z", "2025-01-11T08:00:00Z"},
      {"Europe/Berlin", "0 9 * * *", "2025-03-29T08:00:00Z", "2025-03-30T07:00:00Z"},
      {"Europe/Berlin", "0 0 1 * *", "2025-06-10T00:00:00Z", "2025-06-30T22:00:00Z"},
      // A time that is skipped does not come.
      {"Europe/Berlin", "30 2 * * *", "2025-03-29T01:30:00Z", "2025-03-31T00:30:00Z"},
      {"America/New_York", "30 2 11 mar *", "2012-03-11T05:00:00Z", "2013-03-11T06:30:00Z"},
      {"America/Sao_Paulo", "0 0 * * *", "2018-11-03T03:00:00Z", "2018-11-05T02:00:00Z"},
      {"Europe/Berlin", "0 * * * *", "2025-03-30T00:00:00Z", "2025-03-30T01:00:00Z"},
      // One that repeats comes twice, as its second hour is an hour of work, too.
      {"America/New_York", "0 1 * * *", "2012-11-04T04:00:00Z", "2012-11-04T05:00:00Z"},
      {"America/New_York", "0 1 * * *", "2012-11-04T05:00:00Z", "2012-11-04T06:00:00Z"},
      {"America/New_York", "0 1 * * *", "2012-11-04T06:00:00Z", "2012-11-05T06:00:00Z"},
      {"America/New_York", "30 1 4 nov *", "2012-11-04T05:45:00Z", "2012-11-04T06:30:00Z"},
      {"America/New_York", "30 2 4 nov *", "2012-11-04T04:00:00Z", "2012-11-04T07:30:00Z"},
      {"America/New_York", "*/20 * * * *", "2012-11-04T05:40:00Z", "2012-11-04T06:00:00Z"},
      {"Australia/Sydney", "30 2 * * *", "2025-04-04T15:30:00Z", "2025-04-05T15:30:00Z"},
      {"Australia/Sydney", "30 2 * * *", "2025-04-05T15:30:00Z", "2025-04-05T16:30:00Z"},
      {"Australia/Sydney", "30 2 * * *", "2025-10-03T16:30:00Z", "2025-10-05T15:30:00Z"},
      {"Australia/Lord_Howe", "15 2 * * *", "2025-10-03T15:45:00Z", "2025-10-05T15:15:00Z"},  // skips half an hour
      {"Australia/Lord_Howe", "0 * * * *", "2025-10-04T14:30:00Z", "2025-10-04T16:00:00Z"},
      {"Asia/Kolkata", "0 * * * *", "2025-06-01T00:00:00Z", "2025-06-01T00:30:00Z"},
      {"Asia/Kathmandu", "0 12 * * mon", "2025-06-01T00:00:00Z", "2025-06-02T06:15:00Z"},
      {"America/Los_Angeles", "@daily", "2025-06-01T00:00:00Z", "2025-06-01T07:00:00Z"},
      {"America/Los_Angeles", "@every 1h", "2025-06-01T00:10:00Z", "2025-06-01T01:10:00Z"}};
  for (const auto& [zone, schedule, after, next] : cases) {
    const auto found = find_time_zone(zone);
    ASSERT_TRUE(found) << zone << ": is the package tzdata installed?";
    EXPECT_EQ(rfc3339(CronSchedule::parse(schedule)->next_after(at(after), *found).value_or(Time{})), next)
        << schedule << " in " << zone << " after " << after;
  }
}

TEST(CronSchedule, says_what_is_wrong) {
  struct Case {
    const char *schedule, *why;
  };
  const Case cases[] = {{"", "expected exactly 5 fields, found 0: []"},
                        {"* * *  *", "expected exactly 5 fields, found 4: [* * * *]"},
                        {"* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"},
                        {"60 * * * *", "end of range (60) above maximum (59): 60"},
                        {"* 24 * * *", "end of range (24) above maximum (23): 24"},
                        {"* * 0 * *", "beginning of range (0) below minimum (1): 0"},
                        {"* * * 13 *", "end of range (13) above maximum (12): 13"},
                        {"* * * * 7", "end of range (7) above maximum (6): 7"},
                        {"5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"},
                        {"*/0 * * * *", "step of range should be a positive number: */0"},
                        {"*/x * * * *", "failed to parse int from x"},
                        {"*/-2 * * * *", "negative number (-2) not allowed: -2"},
                        {"1/2/3 * * * *", "too many slashes: 1/2/3"},
                        {"1-2-3 * * * *", "too many hyphens: 1-2-3"},
                        {"a * * * *", "failed to parse int from a"},
                        {"* * * jan-mon *", "failed to parse int from mon"},
                        {"- * * * *", "failed to parse int from "},
                        {"99999999999999999999 * * * *", "failed to parse int from 99999999999999999999"},
                        {", * * * *", "a field without any value: ,"},
                        {"@often", "unrecognized descriptor: @often"},
                        {"@Daily", "unrecognized descriptor: @Daily"},
                        {"@every", "unrecognized descriptor: @every"}};
  for (const auto& [schedule, why] : cases) {
    const auto parsed = CronSchedule::parse(schedule);
    EXPECT_EQ(parsed ? "is fine" : parsed.error(), why) << schedule;
  }
  for (const auto* bad : {"@every ", "@every 5", "@every h", "@every 1h2", "@every -1h", "@every 1x", "@every 1..5s",
                          "@every .s", "@every 1h 5m", "@every 99999999h"}) {
    EXPECT_FALSE(CronSchedule::parse(bad)) << bad;
  }
  EXPECT_TRUE(CronSchedule::parse("*/9223372036854775807 * * * *"));
  EXPECT_FALSE(CronSchedule::parse("@every 2562047h")->next_after(at("2026-03-06T09:00:00Z"), TimeZone()));
}

}  // namespace
}  // namespace workflow::engine
