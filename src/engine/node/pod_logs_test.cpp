#include "engine/node/pod_logs.h"

#include <gtest/gtest.h>

#include <fstream>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

TEST(LogLine, is_read_as_the_runtime_writes_it) {
  const auto line = parse_log_line("2026-01-02T03:04:05.000000006Z stderr P half a line");
  ASSERT_TRUE(line);
  EXPECT_EQ(line->time, "2026-01-02T03:04:05.000000006Z");
  EXPECT_EQ(line->stream, "stderr");
  EXPECT_EQ(line->text, "half a line");
  EXPECT_TRUE(line->partial);
  EXPECT_EQ(parse_log_line("2026-01-02T03:04:05Z stdout F ")->text, "");
  for (const auto* text : {"", "2026 stdout", "2026 stdin F x", "garbage"}) EXPECT_FALSE(parse_log_line(text)) << text;
}

TEST(Log, tells_its_last_lines) {
  TemporaryFolder folder;
  const auto file = folder.path() / "0.log";
  std::ofstream(file) << "2026-01-02T03:04:05Z stdout F one\n2026-01-02T03:04:05Z stdout P tw\n2026-01-02T03:04:05Z "
                         "stdout F o\n2026-01-02T03:04:05Z stderr F three\n";
  EXPECT_EQ(last_lines(file, 80, 2048), "one\ntwo\nthree\n");
  EXPECT_EQ(last_lines(file, 1, 2048), "three\n");
  EXPECT_EQ(last_lines(file, 80, 4), "ree\n");
  EXPECT_EQ(last_lines(folder.path() / "none.log", 80, 4), "");
}

TEST(Log, is_rotated_when_it_is_too_long) {
  const Time now = *parse_rfc3339("2026-03-01T10:00:00Z");
  EXPECT_FALSE(rotated_name("/l/0.log", 99, 100, now));
  EXPECT_EQ(rotated_name("/l/0.log", 100, 100, now), "/l/0.log.20260301T100000Z");
  EXPECT_EQ(surplus_logs({"/l/0.log.20260303T000000Z", "/l/0.log.20260301T000000Z", "/l/0.log.20260302T000000Z"}, 2),
            (std::vector<fs::path>{"/l/0.log.20260301T000000Z"}));
  EXPECT_TRUE(surplus_logs({"/l/0.log.20260303T000000Z"}, 2).empty());
}

TEST(Log, of_earlier_attempts_goes) {
  TemporaryFolder folder;
  for (const auto* name : {"0.log", "1.log", "1.log.20260301T000000Z", "2.log", "other"})
    std::ofstream(folder.path() / name) << "x";
  remove_old_logs(folder.path(), 2);
  std::set<std::string> left;
  for (const auto& entry : fs::directory_iterator(folder.path())) left.insert(entry.path().filename().string());
  EXPECT_EQ(left, (std::set<std::string>{"2.log", "other"}));
}

}  // namespace
}  // namespace workflow::engine
