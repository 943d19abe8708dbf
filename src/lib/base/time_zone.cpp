#include "lib/base/time_zone.h"

#include <algorithm>
#include <filesystem>
#include <string>

#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow {

namespace {

using namespace std::chrono_literals;
using std::chrono::seconds;
using std::chrono::sys_days;
using std::chrono::sys_seconds;

// --- bytes

class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  std::optional<std::string_view> take(std::uint64_t count) {
    if (count > left_.size()) return std::nullopt;
    const auto taken = left_.substr(0, count);
    left_.remove_prefix(count);
    return taken;
  }
  std::string_view rest() const { return left_; }

 private:
  std::string_view left_;
};

template <typename Number>
Number big_endian(std::string_view bytes) {
  std::make_unsigned_t<Number> number = 0;
  for (const char c : bytes.substr(0, sizeof(Number))) {
    number = static_cast<decltype(number)>(number << 8) | static_cast<unsigned char>(c);
  }
  return static_cast<Number>(number);
}

// RFC 8536, section 3.1.
struct Header {
  char version;
  std::uint64_t utc_flags, standard_flags, leaps, times, types, characters;
  std::uint64_t size_of_data(std::uint64_t size_of_time) const {
    return times * (size_of_time + 1) + types * 6 + characters + leaps * (size_of_time + 4) + standard_flags +
           utc_flags;
  }
};
std::optional<Header> header_of(Reader& in) {
  const auto bytes = in.take(44);
  if (!bytes || !bytes->starts_with("TZif")) return std::nullopt;
  const auto count = [&](std::size_t i) { return big_endian<std::uint32_t>(bytes->substr(20 + 4 * i)); };
  return Header{(*bytes)[4], count(0), count(1), count(2), count(3), count(4), count(5)};
}

// RFC 8536, section 3.2: what a reader may rely on. A footer cannot even say more.
bool is_offset(seconds offset) { return offset > -25h && offset < 26h; }

// --- the footer

class RuleReader {
 public:
  explicit RuleReader(std::string_view text) : left_(text) {}
  bool done() const { return left_.empty(); }
  bool skip(char c) {
    if (left_.empty() || left_[0] != c) return false;
    left_.remove_prefix(1);
    return true;
  }
  // "CET" or "<+0530>".
  bool name() {
    const bool quoted = skip('<');
    std::size_t length = 0;
    const auto belongs = [&](char c) {
      const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
      return letter || (quoted && ((c >= '0' && c <= '9') || c == '+' || c == '-'));
    };
    while (length < left_.size() && belongs(left_[length])) ++length;
    left_.remove_prefix(length);
    return length >= 3 && (!quoted || skip('>'));
  }
  std::optional<int> number(int least, int most) {
    std::size_t length = 0;
    int value = 0;
    for (; length < left_.size() && length < 3 && left_[length] >= '0' && left_[length] <= '9'; ++length) {
      value = value * 10 + (left_[length] - '0');
    }
    if (length == 0 || value < least || value > most) return std::nullopt;
    left_.remove_prefix(length);
    return value;
  }
  // [+-]hh[:mm[:ss]]
  std::optional<seconds> time(int most_hours) {
    const bool negative = skip('-');
    if (!negative) skip('+');
    const auto hours = number(0, most_hours);
    if (!hours) return std::nullopt;
    seconds result = std::chrono::hours(*hours);
    for (const seconds unit : {60s, 1s}) {
      if (!skip(':')) break;
      const auto part = number(0, 59);
      if (!part) return std::nullopt;
      result += *part * unit;
    }
    return negative ? -result : result;
  }
  std::optional<TimeZone::YearDay> year_day() {
    using Kind = TimeZone::YearDay::Kind;
    TimeZone::YearDay result;
    std::optional<int> month, week, day;
    if (skip('M')) {
      result.kind = Kind::weekday;
      if (!(month = number(1, 12)) || !skip('.') || !(week = number(1, 5)) || !skip('.')) return std::nullopt;
      result.month = *month;
      result.week = *week;
      day = number(0, 6);
    } else if (skip('J')) {
      result.kind = Kind::day_without_leap;
      day = number(1, 365);
    } else {
      day = number(0, 365);
    }
    const auto hour = skip('/') ? time(167) : std::optional<seconds>(2h);  // RFC 8536, section 3.3.1: up to a week
    if (!day || !hour) return std::nullopt;
    result.day = *day;
    result.time = *hour;
    return result;
  }

 private:
  std::string_view left_;
};

// In local time, as if that were UTC.
sys_seconds in_year(const TimeZone::YearDay& d, std::chrono::year year) {
  using Kind = TimeZone::YearDay::Kind;
  const auto first = sys_days(year / 1 / 1);
  switch (d.kind) {
    case Kind::weekday: {
      const auto month = year / std::chrono::month(static_cast<unsigned>(d.month));
      const std::chrono::weekday weekday(static_cast<unsigned>(d.day));
      return (d.week == 5 ? sys_days(month / weekday[std::chrono::last])
                          : sys_days(month / weekday[static_cast<unsigned>(d.week)])) +
             d.time;
    }
    case Kind::day_without_leap:
      return first + std::chrono::days(d.day - 1 + (year.is_leap() && d.day > 59 ? 1 : 0)) + d.time;
    case Kind::day: break;
  }
  return first + std::chrono::days(d.day) + d.time;
}

}  // namespace

std::optional<TimeZone::Rule> TimeZone::parse_rule(std::string_view text) {
  RuleReader in(text);
  Rule rule;
  if (!in.name()) return std::nullopt;
  const auto west = in.time(24);  // POSIX counts westwards
  if (!west) return std::nullopt;
  rule.standard = rule.summer = -*west;
  if (in.done()) return rule;
  if (!in.name()) return std::nullopt;
  rule.summer += 1h;
  if (!in.skip(',')) {
    const auto summer_west = in.time(24);
    if (!summer_west || !in.skip(',')) return std::nullopt;
    rule.summer = -*summer_west;
  }
  const auto from = in.year_day();
  if (!from || !in.skip(',')) return std::nullopt;
  const auto to = in.year_day();
  if (!to || !in.done()) return std::nullopt;
  rule.summer_from_to = {*from, *to};
  return rule;
}

TimeZone::Span TimeZone::Rule::span_at(sys_seconds time) const {
  if (!summer_from_to) return {standard, sys_seconds::max()};
  const auto year = std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(time)).year();
  std::vector<std::pair<sys_seconds, bool>> changes;  // when, and whether to summer: at one moment, summer is last
  // A change's local time may lie a week outside its year, so the years next to this one are not quite enough.
  for (int i = -2; i <= 2; ++i) {
    const auto near = year + std::chrono::years(i);
    changes.emplace_back(in_year(summer_from_to->first, near) - standard, true);
    changes.emplace_back(in_year(summer_from_to->second, near) - summer, false);
  }
  std::sort(changes.begin(), changes.end());
  const auto next = std::ranges::upper_bound(changes, time, {}, &std::pair<sys_seconds, bool>::first);
  return {std::prev(next)->second ? summer : standard, next->first};
}

std::optional<TimeZone> TimeZone::parse(std::string_view bytes) {
  Reader in(bytes);
  const auto old = header_of(in);  // for readers of 32-bit times
  if (!old || old->version < '2' || !in.take(old->size_of_data(4))) return std::nullopt;
  const auto header = header_of(in);
  if (!header || header->types == 0 || header->leaps != 0) return std::nullopt;
  const auto times = in.take(header->times * 8), indices = in.take(header->times), types = in.take(header->types * 6);
  if (!times || !indices || !types || !in.take(header->characters + header->standard_flags + header->utc_flags)) {
    return std::nullopt;
  }
  const auto offset_of = [&](std::size_t type) { return seconds(big_endian<std::int32_t>(types->substr(type * 6))); };
  for (std::size_t i = 0; i < header->types; ++i) {
    if (!is_offset(offset_of(i))) return std::nullopt;
  }
  TimeZone zone;
  zone.first_ = offset_of(0);
  for (std::size_t i = 0; i < header->times; ++i) {
    const sys_seconds when(seconds(big_endian<std::int64_t>(times->substr(i * 8))));
    const auto type = static_cast<unsigned char>((*indices)[i]);
    if (type >= header->types || (i > 0 && when <= zone.changes_.back().first)) return std::nullopt;
    zone.changes_.emplace_back(when, offset_of(type));
  }
  const auto footer = in.rest();
  if (footer.size() < 2 || footer.front() != '\n' || footer.back() != '\n') return std::nullopt;
  if (footer.size() > 2) {
    zone.rule_ = parse_rule(footer.substr(1, footer.size() - 2));
    if (!zone.rule_) return std::nullopt;
  }
  return zone;
}

TimeZone::Span TimeZone::span_at(sys_seconds time) const {
  const auto next = std::ranges::upper_bound(changes_, time, {}, &std::pair<sys_seconds, seconds>::first);
  if (next == changes_.end() && rule_) return rule_->span_at(time);
  return {next == changes_.begin() ? first_ : std::prev(next)->second,
          next == changes_.end() ? sys_seconds::max() : next->first};
}

std::optional<TimeZone> find_time_zone(std::string_view name) {
  if (name == "UTC" || name == "Etc/UTC") return TimeZone();  // also where tzdata is missing
  // https://data.iana.org/time-zones/theory.html#naming, and the digits and plus signs of older names.
  const auto parts = split(name, '/');
  const auto is_part = [](const std::string& part) {
    return !part.empty() && part.size() <= 14 && part != "." && part != ".." && part[0] != '-' &&
           part.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-+") == part.npos;
  };
  if (parts.empty() || !std::ranges::all_of(parts, is_part)) return std::nullopt;
  const auto path = std::filesystem::path("/usr/share/zoneinfo") / name;
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::nullopt;
  const auto bytes = find_file(path);
  return bytes ? TimeZone::parse(*bytes) : std::nullopt;
}

}  // namespace workflow
