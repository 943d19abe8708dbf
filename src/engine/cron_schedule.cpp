#include "engine/cron_schedule.h"

#include <algorithm>
#include <array>

#include "lib/base/text.h"

namespace workflow::engine {

namespace {

using namespace std::chrono_literals;
using std::chrono::seconds;
using std::chrono::sys_seconds;
template <typename T>
using Parsed = std::expected<T, std::string>;
std::unexpected<std::string> wrong(std::string why) { return std::unexpected(std::move(why)); }

struct Field {
  int first, last;
  std::string_view names;  // of `first` and what follows, three letters each
};
constexpr Field fields[] = {{0, 59, ""},
                            {0, 23, ""},
                            {1, 31, ""},
                            {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                            {0, 6, "sunmontuewedthufrisat"}};

Parsed<std::int64_t> number_in(const std::string& text, std::string_view names) {
  const auto word = lower(text);
  const bool is_name = word.size() == 3;
  for (std::size_t at = 0; is_name && at < names.size(); at += 3) {
    if (word == names.substr(at, 3)) return static_cast<std::int64_t>(at / 3) + (names.starts_with("jan") ? 1 : 0);
  }
  const auto number = parse_integer(text);
  if (!number) return wrong("failed to parse int from " + text);
  if (*number < 0) return wrong("negative number (" + text + ") not allowed: " + text);
  return *number;
}

struct Values {
  std::uint64_t bits = 0;
  bool star = false;  // a star with a step, "*/2", is like a list of numbers
};

// "*", "7", "1-5", "*/10", "10-40/5", "5/15" (from 5 on).
Parsed<Values> values_of_range(const std::string& text, const Field& field) {
  const auto slash = std::min(text.find('/'), text.size());
  const auto range = text.substr(0, slash);
  const auto dash = std::min(range.find('-'), range.size());
  const auto low_text = range.substr(0, dash);
  std::int64_t step = 1;
  if (slash < text.size()) {
    const auto step_text = text.substr(slash + 1);
    if (step_text.contains('/')) return wrong("too many slashes: " + text);
    const auto number = number_in(step_text, "");
    if (!number) return wrong(number.error());
    if (*number == 0) return wrong("step of range should be a positive number: " + text);
    step = *number;
  }
  Values values;
  std::int64_t low = field.first, high = field.last;
  if (low_text == "*" || low_text == "?") {
    values.star = step == 1;
  } else {
    const auto from = number_in(low_text, field.names);
    if (!from) return wrong(from.error());
    low = high = *from;
    if (dash < range.size()) {
      const auto high_text = range.substr(dash + 1);
      if (high_text.contains('-')) return wrong("too many hyphens: " + text);
      const auto to = number_in(high_text, field.names);
      if (!to) return wrong(to.error());
      high = *to;
    } else if (slash < text.size()) {
      high = field.last;
    }
  }
  const auto shown = [](std::int64_t number) { return std::to_string(number); };
  if (low < field.first)
    return wrong("beginning of range (" + shown(low) + ") below minimum (" + shown(field.first) + "): " + text);
  if (high > field.last)
    return wrong("end of range (" + shown(high) + ") above maximum (" + shown(field.last) + "): " + text);
  if (low > high)
    return wrong("beginning of range (" + shown(low) + ") beyond end of range (" + shown(high) + "): " + text);
  for (auto value = low; value <= high; value += std::min<std::int64_t>(step, 64)) {
    values.bits |= std::uint64_t{1} << value;
  }
  return values;
}

Parsed<Values> values_of(const std::string& text, const Field& field) {
  Values all;
  for (const auto& part : split(text, ',')) {
    if (part.empty()) continue;  // "1,,2," is fine
    const auto values = values_of_range(part, field);
    if (!values) return values;
    all.bits |= values->bits;
    all.star = all.star || values->star;
  }
  if (all.bits == 0) return wrong("a field without any value: " + text);
  return all;
}

// "1h30m", "90s", "1.5h", as Go writes durations; whole seconds, one at least.
std::optional<seconds> duration_of(std::string_view text) {
  static constexpr std::pair<std::string_view, double> units[] = {
      {"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"ms", 1e-3}, {"s", 1}, {"m", 60}, {"h", 3600}};
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    double amount = 0, place = 1;
    bool digits = false, fraction = false;
    for (; !text.empty() && ((text[0] >= '0' && text[0] <= '9') || (text[0] == '.' && !fraction));
         text.remove_prefix(1)) {
      if (text[0] == '.') {
        fraction = true;
        continue;
      }
      digits = true;
      if (fraction) place /= 10;
      amount = fraction ? amount + (text[0] - '0') * place : amount * 10 + (text[0] - '0');
    }
    const auto word = text.substr(0, text.find_first_of("0123456789."));
    const auto unit = std::ranges::find(units, word, [](const auto& u) { return u.first; });
    if (!digits || unit == std::end(units)) return std::nullopt;
    total += amount * unit->second;
    text.remove_prefix(word.size());
  }
  constexpr double longest = 9'223'372'036;  // what Go's nanoseconds can count: 292 years
  if (!(total <= longest)) return std::nullopt;
  return std::max(seconds(static_cast<std::int64_t>(total)), 1s);
}

bool has(std::uint64_t bits, unsigned value) { return (bits >> value & 1) != 0; }

constexpr std::pair<std::string_view, std::string_view> macros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string spaced(text);
  for (auto& c : spaced) {
    if (c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f') c = ' ';
  }
  for (auto& word : split(spaced, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace

std::expected<CronSchedule, std::string> CronSchedule::parse(std::string_view text) {
  CronSchedule schedule;
  if (text.starts_with("@every ")) {
    const auto every = duration_of(text.substr(7));
    if (!every)
      return wrong("failed to parse duration " + std::string(text) + ": give hours, minutes and seconds, as in 1h30m");
    schedule.every_ = *every;
    return schedule;
  }
  if (text.starts_with("@")) {
    const auto macro = std::ranges::find(macros, text, [](const auto& m) { return m.first; });
    if (macro == std::end(macros)) return wrong("unrecognized descriptor: " + std::string(text));
    text = macro->second;
  }
  const auto words = words_of(text);
  if (words.size() != 5)
    return wrong("expected exactly 5 fields, found " + std::to_string(words.size()) + ": [" + join(words, " ") + "]");
  std::array<Values, 5> values;
  for (std::size_t i = 0; i < 5; ++i) {
    auto parsed = values_of(words[i], fields[i]);
    if (!parsed) return wrong(std::move(parsed.error()));
    values[i] = *parsed;
  }
  schedule.minutes_ = values[0].bits;
  schedule.hours_ = values[1].bits;
  schedule.days_ = values[2].bits;
  schedule.months_ = values[3].bits;
  schedule.weekdays_ = values[4].bits;
  schedule.any_day_ = values[2].star;
  schedule.any_weekday_ = values[4].star;
  return schedule;
}

// Both day fields restricted: either will do. One of them free: the other one decides.
bool CronSchedule::is_day(std::chrono::sys_days day) const {
  const std::chrono::year_month_day date(day);
  if (!has(months_, static_cast<unsigned>(date.month()))) return false;
  const bool by_date = has(days_, static_cast<unsigned>(date.day()));
  const bool by_weekday = has(weekdays_, std::chrono::weekday(day).c_encoding());
  return any_day_ || any_weekday_ ? by_date && by_weekday : by_date || by_weekday;
}

// The first in [from, end), both in local time, written as if that were UTC.
std::optional<sys_seconds> CronSchedule::first_within(sys_seconds from, sys_seconds end) const {
  const auto start = std::chrono::ceil<std::chrono::minutes>(from);
  auto day = std::chrono::floor<std::chrono::days>(start);
  auto minute = std::chrono::duration_cast<std::chrono::minutes>(start - day).count();
  for (; day < end; day += std::chrono::days(1), minute = 0) {
    if (!is_day(day)) continue;
    for (; minute < 24 * 60; ++minute) {
      if (!has(hours_, static_cast<unsigned>(minute / 60))) {
        minute += 59 - minute % 60;
      } else if (has(minutes_, static_cast<unsigned>(minute % 60))) {
        const sys_seconds found = day + std::chrono::minutes(minute);
        return found < end ? std::optional(found) : std::nullopt;
      }
    }
  }
  return std::nullopt;
}

std::optional<Time> CronSchedule::next_after(Time time, const TimeZone& zone) const {
  const auto whole = std::chrono::floor<seconds>(time);
  // A leap day is at most so far away, but for 1900 and 2100.
  const auto last = std::min<sys_seconds>(whole + std::chrono::days(5 * 366), std::chrono::floor<seconds>(Time::max()));
  if (every_ > 0s) {
    if (every_ > std::chrono::floor<seconds>(Time::max()) - whole) return std::nullopt;
    return whole + every_;
  }
  // One stretch of the same offset after another.
  for (auto from = whole + 1s; from < last;) {
    const auto span = zone.span_at(from);
    const auto end = std::min(span.end, last);
    if (const auto local = first_within(from + span.offset, end + span.offset)) return *local - span.offset;
    from = end;
  }
  return std::nullopt;
}

std::optional<Time> CronSchedule::last_within(Time after, Time until, const TimeZone& zone) const {
  if (every_ > 0s) {
    const auto start = std::chrono::floor<seconds>(after);
    const auto times = (std::chrono::floor<seconds>(until) - start) / every_;
    return times > 0 ? std::optional<Time>(start + times * every_) : std::nullopt;
  }
  // Looks back further and further, so that a long gap costs no walk through all of it.
  for (const std::chrono::minutes back : {1min, 60min, 24h * 1 + 0min, 24h * 32 + 0min, 24h * 366 * 5 + 0min}) {
    const auto from = std::max(after, until - back - 1min);
    std::optional<Time> last;
    for (auto next = next_after(from, zone); next && *next <= until; next = next_after(*next, zone)) last = next;
    if (last || from == after) return last;
  }
  return std::nullopt;
}

}  // namespace workflow::engine
