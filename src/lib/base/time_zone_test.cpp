#include "lib/base/time_zone.h"

#include <gtest/gtest.h>

#include "lib/base/clock.h"
#include "lib/base/file.h"

namespace workflow {
namespace {

using namespace std::chrono_literals;
using std::chrono::minutes;
using std::chrono::seconds;
using std::chrono::sys_seconds;

sys_seconds at(const char* text) { return std::chrono::floor<seconds>(*parse_rfc3339(text)); }
std::string text_of(sys_seconds time) { return rfc3339(Time(time)); }

struct Case {
  const char *zone, *time;
  minutes offset;
  const char* until;
};

// Dates that are over: no government can change them any more.
TEST(TimeZone, knows_the_offset_and_until_when_it_holds) {
  const Case cases[] = {
      {"Europe/Berlin", "2025-03-30T00:59:59Z", 60min, "2025-03-30T01:00:00Z"},
      {"Europe/Berlin", "2025-03-30T01:00:00Z", 120min, "2025-10-26T01:00:00Z"},
      {"Europe/Berlin", "2025-10-26T01:00:00Z", 60min, "2026-03-29T01:00:00Z"},
      {"America/New_York", "2012-03-11T07:00:00Z", -240min, "2012-11-04T06:00:00Z"},
      {"America/New_York", "2012-11-04T06:00:00Z", -300min, "2013-03-10T07:00:00Z"},
      {"Australia/Sydney", "2025-01-15T00:00:00Z", 660min, "2025-04-05T16:00:00Z"},
      {"Australia/Sydney", "2025-07-15T00:00:00Z", 600min, "2025-10-04T16:00:00Z"},
      {"Australia/Lord_Howe", "2025-01-15T00:00:00Z", 660min, "2025-04-05T15:00:00Z"},
      {"Australia/Lord_Howe", "2025-07-15T00:00:00Z", 630min, "2025-10-04T15:30:00Z"},
      {"Pacific/Chatham", "2025-01-15T00:00:00Z", 825min, "2025-04-05T14:00:00Z"},
      {"America/Sao_Paulo", "2018-11-04T02:59:59Z", -180min, "2018-11-04T03:00:00Z"},  // midnight did not exist
      {"Europe/Dublin", "2025-07-15T00:00:00Z", 60min, "2025-10-26T01:00:00Z"},        // its winter is the exception
      {"Africa/Casablanca", "2025-03-01T00:00:00Z", 0min, "2025-04-06T02:00:00Z"},     // Ramadan
      {"Europe/Berlin", "1900-01-01T00:00:00Z", 60min, "1916-04-30T22:00:00Z"},
      {"America/New_York", "1883-01-01T00:00:00Z", -297min, "1883-11-18T17:00:00Z"}};  // -4:56:02, rounded down
  for (const auto& c : cases) {
    const auto zone = find_time_zone(c.zone);
    ASSERT_TRUE(zone) << c.zone << ": is the package tzdata installed?";
    const auto span = zone->span_at(at(c.time));
    EXPECT_EQ(std::chrono::floor<minutes>(span.offset), c.offset) << c.zone << " at " << c.time;
    EXPECT_EQ(text_of(span.end), c.until) << c.zone << " at " << c.time;
  }
  for (const auto& [name, offset] : {std::pair{"Asia/Kolkata", 330min},
                                     {"Asia/Kathmandu", 345min},
                                     {"Etc/GMT+5", -300min},
                                     {"UTC", 0min},
                                     {"Etc/UTC", 0min},
                                     {"Asia/Tokyo", 540min}}) {
    const auto span = find_time_zone(name).value().span_at(at("2025-06-01T00:00:00Z"));
    EXPECT_EQ(span.offset, offset) << name;
    EXPECT_GT(span.end, at("2036-01-01T00:00:00Z")) << name;
  }
}

TEST(TimeZone, follows_the_rule_after_the_last_change_of_the_file) {
  const Case cases[] = {
      {"CET-1CEST,M3.5.0,M10.5.0/3", "2060-03-28T00:59:59Z", 60min, "2060-03-28T01:00:00Z"},
      {"CET-1CEST,M3.5.0,M10.5.0/3", "2060-03-28T01:00:00Z", 120min, "2060-10-31T01:00:00Z"},
      {"CET-1CEST,M3.5.0,M10.5.0/3", "2060-12-31T23:59:59Z", 60min, "2061-03-27T01:00:00Z"},
      {"EST5EDT,M3.2.0,M11.1.0", "2060-03-14T07:00:00Z", -240min, "2060-11-07T06:00:00Z"},
      {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2060-01-01T00:00:00Z", 660min, "2060-04-03T16:00:00Z"},
      {"AEST-10AEDT,M10.1.0,M4.1.0/3", "2060-05-01T00:00:00Z", 600min, "2060-10-02T16:00:00Z"},
      {"<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "2060-01-01T00:00:00Z", 660min, "2060-04-03T15:00:00Z"},
      {"IST-1GMT0,M10.5.0,M3.5.0/1", "2060-07-01T00:00:00Z", 60min, "2060-10-31T01:00:00Z"},
      {"IST-1GMT0,M10.5.0,M3.5.0/1", "2060-11-01T00:00:00Z", 0min, "2061-03-27T01:00:00Z"},
      {"<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "2060-03-28T00:59:59Z", -120min, "2060-03-28T01:00:00Z"},
      {"EET-2EEST,M3.4.4/50,M10.4.4/50", "2060-03-27T00:00:00Z", 180min, "2060-10-29T23:00:00Z"},
      {"AAA0BBB,J60,J61", "2060-03-01T01:59:59Z", 0min, "2060-03-01T02:00:00Z"},  // J60 is 1 March, leap year or not
      {"AAA0BBB,J60,J61", "2061-03-01T01:59:59Z", 0min, "2061-03-01T02:00:00Z"},
      {"AAA0BBB,59,100", "2060-02-29T01:59:59Z", 0min, "2060-02-29T02:00:00Z"},
      {"EST5EDT,0/0,J365/25", "2060-06-01T00:00:00Z", -240min, "2061-01-01T05:00:00Z"},  // summer all year
      {"EST5EDT,0/0,J365/25", "2061-01-01T05:00:00Z", -240min, "2062-01-01T05:00:00Z"}};
  for (const auto& c : cases) {
    const auto rule = TimeZone::parse_rule(c.zone);
    ASSERT_TRUE(rule) << c.zone;
    const auto span = rule->span_at(at(c.time));
    EXPECT_EQ(std::chrono::floor<minutes>(span.offset), c.offset) << c.zone << " at " << c.time;
    EXPECT_EQ(text_of(span.end), c.until) << c.zone << " at " << c.time;
  }
  EXPECT_EQ(TimeZone::parse_rule("<+0530>-5:30")->span_at({}).end, sys_seconds::max());
  for (const auto* bad :
       {"", "CE", "CET", "CET-", "CET-25", "CET-1CEST", "CET-1CEST,", "CET-1CEST,M3.5.0", "CET-1CEST,M3.5.0,",
        "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0", "CET-1CEST,M3.5.7,M10.5.0", "CET-1CEST,J0,J9",
        "CET-1CEST,366,9", "CET-1CEST,M3.5.0/168,M10.5.0", "CET-1CEST,M3.5.0,M10.5.0 ", "<+1-1", "CET-1:60",
        "CET-1CEST,M3.5.0/,M10.5.0"}) {
    EXPECT_FALSE(TimeZone::parse_rule(bad)) << bad;
  }
}

TEST(TimeZone, finds_no_zone_outside_its_folder) {
  for (const auto* name :
       {"", "Nowhere/Land", "Europe", "Europe/", "/Europe/Berlin", "Europe//Berlin", "../zoneinfo/UTC", "./UTC",
        "Europe/../UTC", "/etc/passwd", "-UTC", "Europe/Ber lin", "Europe/Berlin\n", "zone.tab", "tzdata.zi",
        "America/Argentina_and_more", "right/Asia/Tokyo"}) {
    EXPECT_FALSE(find_time_zone(name)) << name;
  }
  EXPECT_FALSE(find_time_zone(std::string_view("UTC\0", 4)));
}

TEST(TimeZone, refuses_files_that_end_early_or_lie) {
  const auto bytes = read_file(std::string(WF_TESTDATA) + "/time_zone_fuzz_corpus/berlin");
  ASSERT_TRUE(TimeZone::parse(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(TimeZone::parse(std::string_view(bytes).substr(0, size))) << size;
  }
  auto version_1 = bytes;
  version_1[4] = '\0';
  EXPECT_FALSE(TimeZone::parse(version_1));
  auto many = bytes;
  for (std::size_t i = 20; i < 44; ++i) many[i] = '\xff';
  EXPECT_FALSE(TimeZone::parse(many));
  EXPECT_FALSE(TimeZone::parse(read_file(std::string(WF_TESTDATA) + "/time_zone_fuzz_corpus/leap_seconds")));
}

}  // namespace
}  // namespace workflow
