// src/engine/node/log_files.h: the log of one instance of a container: <attempt>.log, and its older parts
//   <attempt>.log.<time> that were set aside when it had grown too long. Everything here blocks, shortly; nothing reads
//   more than it was asked for, however long a log is.
#pragma once
#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/file.h"

namespace workflow::engine {

// A line of a CRI log: "2026-01-02T03:04:05.000000006Z stdout F text".
struct LogLine {
  std::string_view time, stream, text;
  bool partial = false;  // the line goes on in the next record
};
std::optional<LogLine> parse_log_line(std::string_view line);

std::filesystem::path log_of_attempt(const std::filesystem::path& folder, int attempt);
// What a log that is set aside now is called; and when one was, by its name. Their order by name is that by age.
std::filesystem::path name_aside(const std::filesystem::path& log, Time now);
std::optional<Time> set_aside_at(const std::filesystem::path& part);

// The parts that there are, the oldest first. The one that is being written is the last, if it is there.
std::vector<std::filesystem::path> log_parts(const std::filesystem::path& log);

// Reads an instance's log through its parts, also while they are set aside and removed: those that there are at the
// first read are held open until they are read.
class LogReader {
 public:
  explicit LogReader(std::filesystem::path log) : log_(std::move(log)) {}

  void begin_at(Time since);               // parts that were set aside before then are left out
  void begin_at_last(std::int64_t lines);  // so many lines before the end
  // "" at the end of what there is now.
  std::string read(std::size_t limit);

 private:
  std::string read_some(std::size_t limit);
  bool open_later();

  std::filesystem::path log_;
  Time since_{};
  Fd file_;
  std::deque<Fd> later_;  // parts after it
};

struct LastLines {
  std::int64_t lines;
  std::size_t bytes;
};
// The text of the last lines of a log, cut to so many bytes.
std::string last_lines(const std::filesystem::path& log, LastLines wanted);

// Removes the files of attempts before `oldest`, older parts too.
void remove_old_logs(const std::filesystem::path& folder, int oldest);
// Removes the oldest parts; `keep` stay beside the one that is being written.
void remove_surplus_parts(const std::filesystem::path& log, std::size_t keep);

}  // namespace workflow::engine
