#include "lib/base/clock.h"

#include <gtest/gtest.h>

namespace workflow {

using namespace std::chrono_literals;

namespace {
Time at(std::int64_t seconds, std::chrono::nanoseconds more = {}) { return Time(std::chrono::seconds(seconds)) + more; }
}  // namespace

TEST(Clock, prints_every_form) {
  const auto time = at(784111777, 6us);  // the example of RFC 9110
  EXPECT_EQ(rfc3339(time), "1994-11-06T08:49:37Z");
  EXPECT_EQ(rfc3339_micros(time), "1994-11-06T08:49:37.000006Z");
  EXPECT_EQ(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(basic_iso8601(time), "19941106T084937Z");
  EXPECT_EQ(rfc3339(at(-1)), "1969-12-31T23:59:59Z");
}

TEST(Clock, reads_rfc3339) {
  struct Case {
    std::string text;
    std::optional<Time> time;
  };
  const Case cases[] = {{"1994-11-06T08:49:37Z", at(784111777)},
                        {"1994-11-06t08:49:37.5z", at(784111777, 500ms)},
                        {"1994-11-06T09:49:37+01:00", at(784111777)},
                        {"1994-11-06T00:49:37.123456789-08:00", at(784111777, 123456789ns)},
                        {"2024-02-29T00:00:00Z", at(1709164800)},
                        {"2023-02-29T00:00:00Z", {}},
                        {"1994-11-06T08:49:37", {}},
                        {"1994-11-06T08:49:37.Z", {}},
                        {"1994-11-06T24:00:00Z", {}},
                        {"1994-13-06T08:49:37Z", {}},
                        {"1994-11-06T08:49:37+0100", {}},
                        {"1994-11-06T08:49:37Z ", {}},
                        {"0001-01-01T00:00:00Z", {}},
                        {"", {}},
                        {"1994-11-06T08:49:37.12345678901Z", at(784111777, 123456789ns)}};
  for (const auto& [text, time] : cases) EXPECT_EQ(parse_rfc3339(text), time) << text;
}

TEST(Clock, reads_the_three_http_dates) {
  for (const auto* text :
       {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"}) {
    EXPECT_EQ(parse_http_date(text), at(784111777)) << text;
  }
  for (const auto* text : {"", "06 Nov 1994", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Foo 1994 08:49:37 GMT"}) {
    EXPECT_FALSE(parse_http_date(text)) << text;
  }
}

TEST(Clock, what_is_printed_can_be_read) {
  for (std::int64_t seconds = -8'000'000'000; seconds < 8'000'000'000; seconds += 123'456'789) {
    const auto time = at(seconds);
    EXPECT_EQ(parse_rfc3339(rfc3339(time)), time);
    EXPECT_EQ(parse_http_date(http_date(time)), time);
    EXPECT_EQ(parse_basic_iso8601(basic_iso8601(time)), time);
    EXPECT_EQ(parse_rfc3339(rfc3339_micros(time + 42us)), time + 42us);
  }
}

}  // namespace workflow
