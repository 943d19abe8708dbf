#include "engine/node/log_files.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const Time now = *parse_rfc3339("2026-03-01T10:00:00Z");

std::string line(const std::string& text) { return "2026-01-02T03:04:05Z stdout F " + text + "\n"; }
void write(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::app) << text; }

std::string all(LogReader& reader, std::size_t limit = 7) {
  std::string out;
  for (auto bytes = reader.read(limit); !bytes.empty(); bytes = reader.read(limit)) out += bytes;
  return out;
}
std::string tail(const fs::path& log, std::int64_t lines) {
  LogReader reader(log);
  reader.begin_at_last(lines);
  return all(reader);
}

TEST(LogLine, is_read_as_the_runtime_writes_it) {
  const auto record = parse_log_line("2026-01-02T03:04:05.000000006Z stderr P half a line");
  ASSERT_TRUE(record);
  EXPECT_EQ(record->time, "2026-01-02T03:04:05.000000006Z");
  EXPECT_EQ(record->stream, "stderr");
  EXPECT_EQ(record->text, "half a line");
  EXPECT_TRUE(record->partial);
  EXPECT_EQ(parse_log_line("2026-01-02T03:04:05Z stdout F ")->text, "");
  for (const auto* text : {"", "2026 stdout", "2026 stdin F x", "garbage"}) EXPECT_FALSE(parse_log_line(text)) << text;
}

TEST(LogFiles, are_called_after_the_time_at_which_they_were_set_aside) {
  TemporaryFolder folder;
  const auto log = folder.path() / "0.log";
  const auto first = name_aside(log, now);
  EXPECT_EQ(first.filename(), "0.log.20260301T100000.000000000Z");
  EXPECT_EQ(set_aside_at(first), now);
  EXPECT_EQ(set_aside_at("/l/0.log.20260301T100000Z"), now);
  for (const auto* name : {"0.log", "0.log.", "0.log.x", "other"}) EXPECT_FALSE(set_aside_at(name)) << name;
  write(first, "x");
  EXPECT_EQ(name_aside(log, now - 1h).filename(), "0.log.20260301T100000.000000001Z");  // the clock was set back
}

TEST(LogReader, reads_all_parts_as_one_log) {
  TemporaryFolder folder;
  const auto log = folder.path() / "0.log";
  write(folder.path() / "0.log.20260301T090000.000000000Z", line("one") + line("two"));
  write(folder.path() / "0.log.20260301T100000.000000000Z", line("three"));
  write(folder.path() / "1.log", line("another instance"));
  write(log, line("four"));
  LogReader reader(log);
  EXPECT_EQ(all(reader), line("one") + line("two") + line("three") + line("four"));
  write(log, line("five"));
  EXPECT_EQ(all(reader), line("five"));
  // It is set aside while it is read, twice; what the runtime still writes to the old file counts.
  fs::rename(log, folder.path() / "0.log.20260301T110000.000000000Z");
  EXPECT_EQ(all(reader), "");
  write(folder.path() / "0.log.20260301T110000.000000000Z", line("six"));
  write(log, line("seven"));
  fs::rename(log, folder.path() / "0.log.20260301T120000.000000000Z");
  write(log, line("eight"));
  EXPECT_EQ(all(reader), line("six") + line("seven") + line("eight"));
  // And goes.
  fs::remove(log);
  write(folder.path() / "0.log.20260301T130000.000000000Z", line("nine"));
  for (const auto* gone : {"09", "10", "11", "12"})
    fs::remove(folder.path() / ("0.log.20260301T" + std::string(gone) + "0000.000000000Z"));
  EXPECT_EQ(all(reader), line("nine"));
}

TEST(LogReader, goes_on_when_an_instance_is_forgotten_while_it_is_read) {
  for (const bool whole : {true, false}) {
    TemporaryFolder folder;
    const auto log = folder.path() / "0.log";
    write(folder.path() / "0.log.20260301T090000.000000000Z", line("one"));
    write(folder.path() / "0.log.20260301T100000.000000000Z", line("two"));
    write(log, line("three"));
    LogReader reader(log);
    if (!whole) reader.begin_at_last(2);
    const auto expected = (whole ? line("one") : "") + line("two") + line("three");
    const auto first = reader.read(3);
    remove_old_logs(folder.path(), 1);
    EXPECT_EQ(first + all(reader), expected);
  }
}

TEST(LogReader, begins_at_the_last_lines_of_all_parts) {
  TemporaryFolder folder;
  const auto log = folder.path() / "0.log";
  EXPECT_EQ(tail(log, 3), "");
  const auto aside = folder.path() / "0.log.20260301T090000.000000000Z";
  const std::string wide(200'000, 'w');  // further than one look goes
  write(aside, line("one") + line(wide) + line("three"));
  write(log, line("four") + line("five"));
  EXPECT_EQ(tail(log, 1), line("five"));
  EXPECT_EQ(tail(log, 2), line("four") + line("five"));
  EXPECT_EQ(tail(log, 3), line("three") + line("four") + line("five"));
  EXPECT_EQ(tail(log, 4), line(wide) + line("three") + line("four") + line("five"));
  EXPECT_EQ(tail(log, 99), line("one") + line(wide) + line("three") + line("four") + line("five"));
  EXPECT_EQ(tail(log, 0), "");
  // A long line is several records.
  const auto part_of = [](const std::string& text) { return "2026-01-02T03:04:05Z stdout P " + text + "\n"; };
  write(log, part_of("si") + part_of("x") + line("!"));
  EXPECT_EQ(tail(log, 1), part_of("si") + part_of("x") + line("!"));
  EXPECT_EQ(tail(log, 2), line("five") + part_of("si") + part_of("x") + line("!"));
  write(log, line("seven") + part_of("eight"));
  EXPECT_EQ(tail(log, 1), part_of("eight"));
  EXPECT_EQ(tail(log, 2), line("seven") + part_of("eight"));
  EXPECT_EQ(tail(log, 3), part_of("si") + part_of("x") + line("!") + line("seven") + part_of("eight"));
  fs::remove(log);
  write(log, line("four") + line("five"));
  write(log, "unfinished");
  EXPECT_EQ(tail(log, 1), "unfinished");
  EXPECT_EQ(tail(log, 2), line("five") + "unfinished");
}

TEST(LogReader, leaves_out_what_is_older_than_what_is_asked_for) {
  TemporaryFolder folder;
  write(folder.path() / "0.log.20260301T090000.000000000Z", line("old"));
  write(folder.path() / "0.log.20260301T110000.000000000Z", line("in between"));
  write(folder.path() / "0.log", line("new"));
  LogReader reader(folder.path() / "0.log");
  reader.begin_at(now);
  EXPECT_EQ(all(reader), line("in between") + line("new"));
}

// A log of 4 GiB (with holes) is none the slower for it.
TEST(LogReader, reads_no_more_than_it_must) {
  TemporaryFolder folder;
  const auto log = folder.path() / "0.log";
  write(log, line("one"));
  fs::resize_file(log, std::uintmax_t{4} << 30);
  write(log, "\n" + line("two"));
  EXPECT_EQ(tail(log, 1), line("two"));
  EXPECT_EQ(last_lines(log, {.lines = 1, .bytes = 100}), "two\n");
}

TEST(Log, tells_its_last_lines) {
  TemporaryFolder folder;
  const auto file = folder.path() / "0.log";
  write(file,
        "2026-01-02T03:04:05Z stdout F one\n2026-01-02T03:04:05Z stdout P tw\n2026-01-02T03:04:05Z "
        "stdout F o\n2026-01-02T03:04:05Z stderr F three\n");
  EXPECT_EQ(last_lines(file, {.lines = 80, .bytes = 2048}), "one\ntwo\nthree\n");
  EXPECT_EQ(last_lines(file, {.lines = 1, .bytes = 2048}), "three\n");
  EXPECT_EQ(last_lines(file, {.lines = 80, .bytes = 4}), "ree\n");
  EXPECT_EQ(last_lines(folder.path() / "none.log", {.lines = 80, .bytes = 4}), "");
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

TEST(Log, of_earlier_attempts_goes) {
  TemporaryFolder folder;
  for (const auto* name : {"0.log", "1.log", "1.log.20260301T000000Z", "2.log", "other"})
    write(folder.path() / name, "x");
  remove_old_logs(folder.path(), 2);
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"2.log", "other"}));
}

TEST(Log, keeps_its_newest_parts) {
  TemporaryFolder folder;
  for (const auto* name : {"0.log", "0.log.20260303T000000Z", "0.log.20260301T000000Z", "0.log.20260302T000000Z",
                           "1.log.20260301T000000Z"})
    write(folder.path() / name, "x");
  remove_surplus_parts(folder.path() / "0.log", 2);
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"0.log", "0.log.20260302T000000Z", "0.log.20260303T000000Z",
                                                            "1.log.20260301T000000Z"}));
  remove_surplus_parts(folder.path() / "0.log", 0);
  EXPECT_EQ(names_in(folder.path()), (std::set<std::string>{"0.log", "1.log.20260301T000000Z"}));
}

}  // namespace
}  // namespace workflow::engine
