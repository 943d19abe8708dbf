#include "engine/node/log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "lib/base/text.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t block = 64u << 10;

Fd open_part(const fs::path& part) { return Fd(::open(part.c_str(), O_RDONLY | O_CLOEXEC)); }

// As much of it as there is, from `offset`.
std::string read_at(const Fd& file, off_t offset, std::size_t count) {
  std::string bytes(count, '\0');
  std::size_t got = 0;
  while (got < count) {
    const auto n = ::pread(file.get(), bytes.data() + got, count - got, offset + static_cast<off_t>(got));
    if (n <= 0) break;
    got += static_cast<std::size_t>(n);
  }
  bytes.resize(got);
  return bytes;
}

off_t size_of(const Fd& file) {
  struct stat info{};
  return ::fstat(file.get(), &info) == 0 ? info.st_size : 0;
}

// Counts the lines of a log from its end. A long line is several records, of which the last alone is whole.
class LinesFromTheEnd {
 public:
  enum class Record { whole, partial };
  explicit LinesFromTheEnd(std::int64_t wanted) : wanted_(wanted) {}
  // Told the records from the last one on. True when this one belongs to a line that is not wanted any more.
  bool is_too_many(Record record) {
    const bool ends_a_line = record == Record::whole || std::exchange(nothing_yet_, false);
    nothing_yet_ = false;
    if (ends_a_line && found_ == wanted_) return true;
    if (ends_a_line) ++found_;
    return false;
  }

 private:
  std::int64_t wanted_, found_ = 0;
  bool nothing_yet_ = true;
};

LinesFromTheEnd::Record kind_of(std::string_view beginning_of_record) {
  const auto record = parse_log_line(beginning_of_record);
  return record && record->partial ? LinesFromTheEnd::Record::partial : LinesFromTheEnd::Record::whole;
}

// Where in this part the wanted lines begin; nullopt when all of it is wanted.
std::optional<off_t> find_beginning(const Fd& file, LinesFromTheEnd& lines) {
  constexpr off_t longest_head = 64;         // of a record: time, stream, tag
  constexpr off_t longest_record = 1 << 20;  // far more than the runtime makes them
  const auto size = size_of(file);
  off_t after = size;  // where the record begins that was told last
  for (off_t end = size; end > 0;) {
    const auto begin = std::max<off_t>(0, end - static_cast<off_t>(block));
    const auto bytes = read_at(file, begin, static_cast<std::size_t>(end - begin + longest_head));
    for (auto at = end; at > begin || (at == 0 && begin == 0); --at) {
      const bool begins = at == 0 || bytes[static_cast<std::size_t>(at - begin - 1)] == '\n';
      if (begins && at < size) {
        const auto head = std::string_view(bytes).substr(static_cast<std::size_t>(at - begin), longest_head);
        if (lines.is_too_many(kind_of(head))) return after;
        after = at;
      }
      if (at == 0) break;
    }
    if (after - begin > longest_record) {  // none of the runtime's: no reason to look for its beginning further
      if (lines.is_too_many(LinesFromTheEnd::Record::whole)) return after;
      after = begin;
    }
    end = begin;
  }
  return std::nullopt;
}

bool is_same(const fs::path& part, const Fd& file) {
  struct stat here{}, there{};
  return ::fstat(file.get(), &here) == 0 && ::stat(part.c_str(), &there) == 0 && here.st_ino == there.st_ino &&
         here.st_dev == there.st_dev;
}

}  // namespace

std::optional<LogLine> parse_log_line(std::string_view line) {
  const auto first = line.find(' ');
  const auto second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  const auto third = second == std::string_view::npos ? second : line.find(' ', second + 1);
  if (third == std::string_view::npos) return std::nullopt;
  LogLine out{line.substr(0, first), line.substr(first + 1, second - first - 1), line.substr(third + 1)};
  const auto tag = line.substr(second + 1, third - second - 1);
  if (out.stream != "stdout" && out.stream != "stderr") return std::nullopt;
  out.partial = tag.starts_with('P');
  return out;
}

fs::path log_of_attempt(const fs::path& folder, int attempt) { return folder / (std::to_string(attempt) + ".log"); }

// 20260301T100000.000000001Z; later than the part before it, even if the clock was set back.
fs::path name_aside(const fs::path& log, Time now) {
  for (const auto& part : log_parts(log)) {
    if (const auto before = set_aside_at(part); before && *before >= now) now = *before + std::chrono::nanoseconds(1);
  }
  const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(now.time_since_epoch()).count();
  auto fraction = std::to_string(nanoseconds % 1'000'000'000);
  fraction.insert(0, 9 - fraction.size(), '0');
  auto time = basic_iso8601(now);
  time.pop_back();
  return log.string() + "." + time + "." + fraction + "Z";
}

std::optional<Time> set_aside_at(const fs::path& part) {
  const auto name = part.filename().string();
  const auto mark = name.find(".log.");
  if (mark == std::string::npos) return std::nullopt;
  auto time = name.substr(mark + 5);
  if (time.size() < 16) return std::nullopt;
  for (const std::size_t at : {13, 11}) time.insert(at, ":");
  for (const std::size_t at : {6, 4}) time.insert(at, "-");
  return parse_rfc3339(time);
}

std::vector<fs::path> log_parts(const fs::path& log) {
  std::vector<fs::path> parts;
  std::error_code absent;
  const auto beginning = log.filename().string() + ".";
  for (const auto& entry : fs::directory_iterator(log.parent_path(), absent)) {
    if (entry.path().filename().string().starts_with(beginning)) parts.push_back(entry.path());
  }
  std::ranges::sort(parts);
  if (fs::exists(log, absent)) parts.push_back(log);
  return parts;
}

void LogReader::begin_at(Time since) { since_ = since; }

void LogReader::begin_at_last(std::int64_t lines) {
  const auto parts = log_parts(log_);
  if (lines <= 0) {
    if (parts.empty()) return;
    file_ = open_part(parts.back());
    ::lseek(file_.get(), 0, SEEK_END);
    return;
  }
  LinesFromTheEnd counted(lines);
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    auto file = open_part(*part);
    if (!file) continue;
    const auto beginning = find_beginning(file, counted);
    ::lseek(file.get(), beginning.value_or(0), SEEK_SET);
    if (file_) later_.push_front(std::move(file_));
    file_ = std::move(file);
    if (beginning) return;
  }
}

std::string LogReader::read_some(std::size_t limit) {
  if (!file_) return "";
  std::string bytes(limit, '\0');
  const auto got = ::read(file_.get(), bytes.data(), bytes.size());
  bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return bytes;
}

// The parts after the one that is open. The runtime may still write to that one until the next has come to be.
bool LogReader::open_later() {
  const auto parts = log_parts(log_);
  auto next = std::ranges::find_if(parts, [this](const fs::path& part) { return file_ && is_same(part, file_); });
  if (next != parts.end()) {
    ++next;
  } else {  // none is open yet, or ours was removed while we read it
    next = std::ranges::find_if(parts, [this](const fs::path& part) {
      const auto aside = set_aside_at(part);
      return !aside || *aside >= since_;
    });
  }
  for (; next != parts.end(); ++next) {
    if (auto file = open_part(*next)) later_.push_back(std::move(file));
  }
  return !later_.empty();
}

std::string LogReader::read(std::size_t limit) {
  for (;;) {
    if (auto bytes = read_some(limit); !bytes.empty()) return bytes;
    if (!later_.empty()) {
      file_ = std::move(later_.front());
      later_.pop_front();
    } else if (!open_later()) {
      return "";
    }
  }
}

std::string last_lines(const fs::path& log, LastLines wanted) {
  LogReader reader(log);
  reader.begin_at_last(wanted.lines);
  std::string raw;
  // Each record is far shorter than a block: more than the last two hold no text that is asked for.
  for (auto bytes = reader.read(block); !bytes.empty(); bytes = reader.read(block)) {
    raw += bytes;
    if (raw.size() > 2 * block + wanted.bytes) raw.erase(0, raw.size() - 2 * block - wanted.bytes);
  }
  std::string out;
  for (const auto& line : split(raw, '\n')) {
    if (const auto record = parse_log_line(line)) out += std::string(record->text) + (record->partial ? "" : "\n");
  }
  return out.size() > wanted.bytes ? out.substr(out.size() - wanted.bytes) : out;
}

void remove_old_logs(const fs::path& folder, int oldest) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto name = entry.path().filename().string();
    const auto attempt = parse_integer(name.substr(0, name.find('.')));
    if (attempt && *attempt < oldest) fs::remove(entry.path(), ignored);
  }
}

void remove_surplus_parts(const fs::path& log, std::size_t keep) {
  auto parts = log_parts(log);
  if (!parts.empty() && parts.back() == log) parts.pop_back();
  std::error_code ignored;
  for (std::size_t i = 0; i + keep < parts.size(); ++i) fs::remove(parts[i], ignored);
}

}  // namespace workflow::engine
