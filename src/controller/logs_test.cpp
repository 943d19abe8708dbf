#include "controller/logs.h"

#include <gmock/gmock.h>

namespace workflow::controller {
namespace {

using testing::ElementsAre;

Time at(const char* text) { return *parse_rfc3339(text); }

std::vector<std::string> texts(const std::vector<cluster::LogLine>& lines) {
  std::vector<std::string> all;
  for (const auto& line : lines) all.push_back(line.text);
  return all;
}

TEST(Logs, show_events_in_the_form_of_the_original) {
  EXPECT_THAT(texts(lines_of({at("2026-01-02T03:04:05.6Z"), "alice deployed 1a2b3c4", ""})),
              ElementsAre("2026-01-02T03:04:05+00:00 deis[controller]: INFO alice deployed 1a2b3c4"));
}

TEST(Logs, show_each_line_of_why_something_failed) {
  EXPECT_THAT(texts(lines_of({at("2026-01-02T03:04:05Z"), "v3 failed", "(app::deploy): web: exit 1\n\n  boom\n"})),
              ElementsAre("2026-01-02T03:04:05+00:00 deis[controller]: INFO v3 failed",
                          "2026-01-02T03:04:05+00:00 deis[controller]: ERROR (app::deploy): web: exit 1",
                          "2026-01-02T03:04:05+00:00 deis[controller]: ERROR   boom"));
}

TEST(Logs, are_merged_by_time_and_cut_at_their_beginning) {
  const std::vector<cluster::LogLine> lines{{at("2026-01-01T00:00:03Z"), "three"},
                                            {at("2026-01-01T00:00:03Z"), "three again"},
                                            {at("2026-01-01T00:00:01Z"), "one"},
                                            {at("2026-01-01T00:00:02.5Z"), "two and a half"}};
  EXPECT_THAT(newest_lines(lines, 10), ElementsAre("one", "two and a half", "three", "three again"));
  EXPECT_THAT(newest_lines(lines, 2), ElementsAre("three", "three again"));
  EXPECT_THAT(newest_lines({}, 2), ElementsAre());
}

}  // namespace
}  // namespace workflow::controller
