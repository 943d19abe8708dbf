#include "lib/base/settings.h"

#include <unistd.h>

#include <algorithm>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow {

Env Env::from_process() {
  std::map<std::string, std::string> values;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) values.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return Env(std::move(values));
}

std::optional<std::string> Env::find(const std::string& name) const {
  const auto found = values_.find(name);
  return found == values_.end() ? std::nullopt : std::optional(found->second);
}

std::string Env::text(const std::string& name, std::string fallback) {
  auto value = find(name);
  return value && !value->empty() ? std::move(*value) : std::move(fallback);
}

std::string Env::required(const std::string& name) {
  auto value = find(name);
  if (!value || value->empty()) {
    problem(name, "is required");
    return {};
  }
  return std::move(*value);
}

std::int64_t Env::integer(const std::string& name, std::int64_t fallback, std::int64_t min, std::int64_t max) {
  const auto value = find(name);
  if (!value || value->empty()) return fallback;
  const auto number = parse_integer(trim(*value));
  if (!number || *number < min || *number > max) {
    problem(name, "must be a number from " + std::to_string(min) + " to " + std::to_string(max));
    return fallback;
  }
  return *number;
}

bool Env::flag(const std::string& name, bool fallback) {
  const auto value = find(name);
  if (!value || value->empty()) return fallback;
  const auto word = lower(trim(*value));
  if (word == "true" || word == "1" || word == "yes") return true;
  if (word == "false" || word == "0" || word == "no") return false;
  problem(name, "must be true or false");
  return fallback;
}

std::chrono::milliseconds Env::duration(const std::string& name, std::chrono::milliseconds fallback) {
  const auto value = find(name);
  if (!value || value->empty()) return fallback;
  struct Unit {
    std::string_view suffix;
    std::int64_t milliseconds;
  };
  static constexpr Unit units[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"", 1000}};
  const auto text = trim(*value);
  for (const auto& unit : units) {
    if (!text.ends_with(unit.suffix)) continue;
    const auto number = parse_integer(text.substr(0, text.size() - unit.suffix.size()));
    if (!number || *number < 0 || *number > 1'000'000'000) break;
    return std::chrono::milliseconds(*number * unit.milliseconds);
  }
  problem(name, "must be a duration such as 250ms, 30s, 5m or 2h");
  return fallback;
}

Secret Env::secret(const std::string& name) { return Secret(required(name)); }

Secret Env::secret_or_file(const std::string& name) {
  const std::string file_name = name + "_FILE";
  const auto path = find(file_name);
  if (!path || path->empty()) {
    auto value = find(name);
    if (!value || value->empty()) problem(file_name, "is required (or " + name + ")");
    return Secret(value.value_or(""));
  }
  try {
    std::string value = read_file(*path);
    while (value.ends_with('\n') || value.ends_with('\r')) value.pop_back();
    if (value.empty()) problem(file_name, "names an empty file: " + *path);
    return Secret(std::move(value));
  } catch (const Error& error) {
    problem(file_name, error.message());
    return {};
  }
}

void Env::problem(const std::string& name, std::string what) {
  auto& known = problems_[name];
  if (std::ranges::find(known, what) == known.end()) known.push_back(std::move(what));
}

void Env::done() const {
  if (!problems_.empty()) throw Error(problems_);
}

}  // namespace workflow
