#include "lib/base/clock.h"

#include <array>
#include <cstdio>

#include "lib/base/text.h"

namespace workflow {

namespace {
using namespace std::chrono;

constexpr std::array<std::string_view, 12> months{"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                  "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> weekdays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};

struct Parts {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  std::int64_t nanos = 0;
};

Parts parts_of(Time time) {
  const auto date = floor<days>(time);
  const year_month_day ymd{date};
  const hh_mm_ss<nanoseconds> clock{time - date};
  return {static_cast<int>(ymd.year()),
          static_cast<int>(static_cast<unsigned>(ymd.month())),
          static_cast<int>(static_cast<unsigned>(ymd.day())),
          static_cast<int>(clock.hours().count()),
          static_cast<int>(clock.minutes().count()),
          static_cast<int>(clock.seconds().count()),
          clock.subseconds().count()};
}

// nullopt for what is no date, and for years that 64 bits of nanoseconds cannot hold.
std::optional<Time> time_of(const Parts& p) {
  if (p.year < 1678 || p.year > 2261 || p.hour > 23 || p.minute > 59 || p.second > 60) return std::nullopt;
  const year_month_day date{year{p.year}, month{static_cast<unsigned>(p.month)}, day{static_cast<unsigned>(p.day)}};
  if (!date.ok()) return std::nullopt;
  return Time(sys_days(date)) + hours(p.hour) + minutes(p.minute) + seconds(p.second) + nanoseconds(p.nanos);
}

// Reads text from left to right; after the first mismatch everything fails.
class Cursor {
 public:
  explicit Cursor(std::string_view text) : rest_(text) {}
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && rest_.empty(); }
  char peek() const { return rest_.empty() ? '\0' : rest_.front(); }

  int digits(std::size_t count) {
    int value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const char c = peek();
      if (c < '0' || c > '9') return fail();
      value = value * 10 + (c - '0');
      rest_.remove_prefix(1);
    }
    return value;
  }
  void literal(std::string_view expected) {
    if (!rest_.starts_with(expected)) {
      fail();
      return;
    }
    rest_.remove_prefix(expected.size());
  }
  // One of the characters of `set`.
  char any_of(std::string_view set) {
    const char c = peek();
    if (c == '\0' || set.find(c) == std::string_view::npos) {
      fail();
      return '\0';
    }
    rest_.remove_prefix(1);
    return c;
  }
  template <std::size_t N>
  int one_of(const std::array<std::string_view, N>& words) {
    for (std::size_t i = 0; i < N; ++i) {
      if (rest_.starts_with(words[i])) {
        rest_.remove_prefix(words[i].size());
        return static_cast<int>(i);
      }
    }
    return fail();
  }

 private:
  int fail() {
    ok_ = false;
    rest_ = {};
    return 0;
  }
  std::string_view rest_;
  bool ok_ = true;
};

template <typename... Args>
std::string format(const char* pattern, Args... args) {
  std::array<char, 96> buffer;
  const int length = std::snprintf(buffer.data(), buffer.size(), pattern, args...);
  return {buffer.data(), static_cast<std::size_t>(length)};
}

void read_clock(Cursor& in, Parts& p) {
  p.hour = in.digits(2);
  in.literal(":");
  p.minute = in.digits(2);
  in.literal(":");
  p.second = in.digits(2);
}

// RFC 9110, section 5.6.7 has three forms: IMF-fixdate, RFC 850 and asctime.
std::optional<Time> parse_imf(std::string_view text) {
  Cursor in(text);
  Parts p;
  in.one_of(weekdays);
  in.literal(", ");
  p.day = in.digits(2);
  in.literal(" ");
  p.month = in.one_of(months) + 1;
  in.literal(" ");
  p.year = in.digits(4);
  in.literal(" ");
  read_clock(in, p);
  in.literal(" GMT");
  return in.at_end() ? time_of(p) : std::nullopt;
}

std::optional<Time> parse_rfc850(std::string_view text) {
  static constexpr std::array<std::string_view, 7> long_days{"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                             "Thursday", "Friday", "Saturday"};
  Cursor in(text);
  Parts p;
  in.one_of(long_days);
  in.literal(", ");
  p.day = in.digits(2);
  in.literal("-");
  p.month = in.one_of(months) + 1;
  in.literal("-");
  const int two_digits = in.digits(2);
  p.year = two_digits >= 70 ? 1900 + two_digits : 2000 + two_digits;
  in.literal(" ");
  read_clock(in, p);
  in.literal(" GMT");
  return in.at_end() ? time_of(p) : std::nullopt;
}

std::optional<Time> parse_asctime(std::string_view text) {
  Cursor in(text);
  Parts p;
  in.one_of(weekdays);
  in.literal(" ");
  p.month = in.one_of(months) + 1;
  in.literal(" ");
  if (in.peek() == ' ') {
    in.literal(" ");
    p.day = in.digits(1);
  } else {
    p.day = in.digits(2);
  }
  in.literal(" ");
  read_clock(in, p);
  in.literal(" ");
  p.year = in.digits(4);
  return in.at_end() ? time_of(p) : std::nullopt;
}
}  // namespace

Time SystemClock::now() const { return time_point_cast<nanoseconds>(system_clock::now()); }

std::string rfc3339(Time time) {
  const auto p = parts_of(time);
  return format("%04d-%02d-%02dT%02d:%02d:%02dZ", p.year, p.month, p.day, p.hour, p.minute, p.second);
}

std::string rfc3339_micros(Time time) {
  const auto p = parts_of(time);
  return format("%04d-%02d-%02dT%02d:%02d:%02d.%06dZ", p.year, p.month, p.day, p.hour, p.minute, p.second,
                static_cast<int>(p.nanos / 1000));
}

std::string http_date(Time time) {
  const auto p = parts_of(time);
  const weekday day{floor<days>(time)};
  return format("%s, %02d %s %04d %02d:%02d:%02d GMT", weekdays[day.c_encoding()].data(), p.day,
                months[static_cast<std::size_t>(p.month - 1)].data(), p.year, p.hour, p.minute, p.second);
}

std::string basic_iso8601(Time time) {
  const auto p = parts_of(time);
  return format("%04d%02d%02dT%02d%02d%02dZ", p.year, p.month, p.day, p.hour, p.minute, p.second);
}

std::optional<Time> parse_rfc3339(std::string_view text) {
  Cursor in(text);
  Parts p;
  p.year = in.digits(4);
  in.literal("-");
  p.month = in.digits(2);
  in.literal("-");
  p.day = in.digits(2);
  in.any_of("Tt ");
  read_clock(in, p);
  if (in.peek() == '.') {
    in.literal(".");
    std::int64_t unit = 100'000'000;
    std::size_t count = 0;
    for (; in.peek() >= '0' && in.peek() <= '9'; ++count, unit /= 10) p.nanos += in.digits(1) * unit;
    if (count == 0) return std::nullopt;
  }
  minutes offset{0};
  const char zone = in.any_of("Zz+-");
  if (zone == '+' || zone == '-') {
    const int hour = in.digits(2);
    in.literal(":");
    const int minute = in.digits(2);
    if (hour > 23 || minute > 59) return std::nullopt;
    offset = minutes(hour * 60 + minute) * (zone == '+' ? 1 : -1);
  }
  if (!in.at_end()) return std::nullopt;
  const auto local = time_of(p);
  return local ? std::optional(*local - offset) : std::nullopt;
}

std::optional<Time> parse_http_date(std::string_view text) {
  if (auto time = parse_imf(text)) return time;
  if (auto time = parse_rfc850(text)) return time;
  return parse_asctime(text);
}

std::optional<Time> parse_basic_iso8601(std::string_view text) {
  Cursor in(text);
  Parts p;
  p.year = in.digits(4);
  p.month = in.digits(2);
  p.day = in.digits(2);
  in.literal("T");
  p.hour = in.digits(2);
  p.minute = in.digits(2);
  p.second = in.digits(2);
  in.literal("Z");
  return in.at_end() ? time_of(p) : std::nullopt;
}

}  // namespace workflow
