#include "engine/controllers/cron_schedule.h"

#include <algorithm>
#include <array>
#include <string>

#include "lib/base/text.h"

namespace workflow::engine {

namespace {

using namespace std::chrono_literals;

struct Field {
  int first, last;
  std::string_view names;  // of `first` and what follows, three letters each
};
constexpr Field fields[] = {{0, 59, ""},
                            {0, 23, ""},
                            {1, 31, ""},
                            {1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
                            {0, 6, "sunmontuewedthufrisat"}};

std::optional<int> number_in(std::string_view text, const Field& field) {
  const auto word = lower(text);
  for (std::size_t at = 0; at < field.names.size(); at += 3) {
    if (word == field.names.substr(at, 3)) return field.first + static_cast<int>(at / 3);
  }
  const auto number = parse_integer(text);
  if (!number || *number < field.first || *number > field.last) return std::nullopt;
  return static_cast<int>(*number);
}

// "*", "7", "1-5", "*/10", "10-40/5", "5/15" (from 5 on).
std::optional<std::uint64_t> bits_of_range(std::string_view text, const Field& field) {
  std::int64_t step = 1;
  const auto slash = text.find('/');
  if (slash != text.npos) {
    const auto number = parse_integer(text.substr(slash + 1));
    if (!number || *number < 1) return std::nullopt;
    step = *number;
    text = text.substr(0, slash);
  }
  int from = field.first, to = field.last;
  if (text != "*" && text != "?") {
    const auto dash = text.find('-');
    const auto low = number_in(text.substr(0, dash), field);
    const auto high = dash == text.npos ? low : number_in(text.substr(dash + 1), field);
    if (!low || !high || *high < *low) return std::nullopt;
    from = *low;
    to = dash == text.npos && slash != text.npos ? field.last : *high;
  }
  std::uint64_t bits = 0;
  for (std::int64_t value = from; value <= to; value += step) bits |= std::uint64_t{1} << value;
  return bits;
}

std::optional<std::uint64_t> bits_of(std::string_view text, const Field& field) {
  std::uint64_t bits = 0;
  for (const auto& part : split(text, ',')) {
    const auto range = bits_of_range(part, field);
    if (!range) return std::nullopt;
    bits |= *range;
  }
  return bits;
}

bool has(std::uint64_t bits, unsigned value) { return (bits >> value & 1) != 0; }

constexpr std::pair<std::string_view, std::string_view> macros[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};

}  // namespace

std::optional<CronSchedule> CronSchedule::parse(std::string_view text) {
  for (const auto& [name, meaning] : macros) {
    if (text == name) text = meaning;
  }
  std::vector<std::string> words;
  for (auto& word : split(text, ' ')) {
    if (!word.empty()) words.push_back(std::move(word));
  }
  if (words.size() != 5) return std::nullopt;
  std::array<std::uint64_t, 5> bits{};
  for (std::size_t i = 0; i < 5; ++i) {
    const auto parsed = bits_of(words[i], fields[i]);
    if (!parsed) return std::nullopt;
    bits[i] = *parsed;
  }
  CronSchedule schedule;
  schedule.minutes_ = bits[0];
  schedule.hours_ = bits[1];
  schedule.days_ = bits[2];
  schedule.months_ = bits[3];
  schedule.weekdays_ = bits[4];
  const auto begins_with_star = [](const std::string& word) { return word[0] == '*' || word[0] == '?'; };
  schedule.any_day_ = begins_with_star(words[2]);
  schedule.any_weekday_ = begins_with_star(words[4]);
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

std::optional<Time> CronSchedule::next_after(Time time) const {
  const auto start = std::chrono::floor<std::chrono::minutes>(time) + 1min;
  auto day = std::chrono::floor<std::chrono::days>(start);
  const auto last_day = day + std::chrono::days(5 * 366);  // a leap day is at most so far away, but for 1900 and 2100
  auto minute = std::chrono::duration_cast<std::chrono::minutes>(start - day).count();
  for (; day <= last_day; day += std::chrono::days(1), minute = 0) {
    if (!is_day(day)) continue;
    for (; minute < 24 * 60; ++minute) {
      if (!has(hours_, static_cast<unsigned>(minute / 60))) {
        minute += 59 - minute % 60;
      } else if (has(minutes_, static_cast<unsigned>(minute % 60))) {
        return Time(day + std::chrono::minutes(minute));
      }
    }
  }
  return std::nullopt;
}

std::optional<Time> CronSchedule::last_within(Time after, Time until) const {
  // Looks back further and further, so that a long gap costs no walk through all of it.
  for (const std::chrono::minutes back : {1min, 60min, 24h * 1 + 0min, 24h * 32 + 0min, 24h * 366 * 5 + 0min}) {
    const auto from = std::max(after, until - back - 1min);
    std::optional<Time> last;
    for (auto next = next_after(from); next && *next <= until; next = next_after(*next)) last = next;
    if (last || from == after) return last;
  }
  return std::nullopt;
}

}  // namespace workflow::engine
