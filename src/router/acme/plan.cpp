#include "router/acme/plan.h"

#include <algorithm>

#include "lib/base/encoding.h"

namespace workflow::router::acme {
namespace {

using namespace std::chrono_literals;

constexpr auto week = std::chrono::hours(7 * 24);
constexpr auto first_pause = 60s;
constexpr std::chrono::seconds longest_pause = 12h;

}  // namespace

std::string secret_name(const std::string& domain) { return "acme-" + to_hex(sha256(domain)).substr(0, 32); }

json::object to_json(const Attempts& attempts) {
  json::array begun;
  for (const auto time : attempts.begun) begun.emplace_back(rfc3339(time));
  return {{"order", attempts.order},
          {"key", attempts.key_pem},
          {"begun", std::move(begun)},
          {"failures", attempts.failures},
          {"notBefore", rfc3339(attempts.not_before)},
          {"problem", attempts.problem}};
}

Attempts attempts_from_json(const json::value& value) {
  Attempts out;
  out.order = find_string(value, {"order"}).value_or("");
  out.key_pem = find_string(value, {"key"}).value_or("");
  out.failures = static_cast<int>(std::clamp<std::int64_t>(find_integer(value, {"failures"}).value_or(0), 0, 1000));
  out.not_before = parse_rfc3339(find_string(value, {"notBefore"}).value_or("")).value_or(Time{});
  out.problem = find_string(value, {"problem"}).value_or("");
  const auto* begun = find_path(value, {"begun"});
  if (!begun || !begun->is_array()) return out;
  for (const auto& item : begun->get_array()) {
    const auto time = item.is_string() ? parse_rfc3339(std::string_view(item.get_string())) : std::nullopt;
    if (time) out.begun.push_back(*time);
  }
  return out;
}

Time next_attempt(const Attempts& attempts, const std::optional<Validity>& certificate, Time now) {
  Time due = certificate ? certificate->starts + (certificate->expires - certificate->starts) / 3 * 2 : now;
  due = std::max(due, attempts.not_before);
  // An order that is under way costs nothing more.
  if (!attempts.order.empty()) return due;
  auto recent = attempts.begun;
  std::erase_if(recent, [&](Time time) { return time + week <= now; });
  std::ranges::sort(recent);
  if (recent.size() < orders_a_week) return due;
  return std::max(due, recent[recent.size() - orders_a_week] + week);
}

Attempts begin_order(Attempts attempts, std::string key_pem, Time now) {
  std::erase_if(attempts.begun, [&](Time time) { return time + week <= now; });
  attempts.begun.push_back(now);
  attempts.order.clear();
  attempts.key_pem = std::move(key_pem);
  return attempts;
}

Attempts after_failure(Attempts attempts, Failure failure, Time now) {
  const auto doubled = first_pause * (std::int64_t{1} << std::min(attempts.failures, 20));
  const auto pause = std::min<std::chrono::seconds>(doubled, longest_pause);
  const auto by_chance = std::chrono::duration_cast<std::chrono::nanoseconds>(pause) / 4 * 1.0 * failure.chance;
  attempts.not_before = now + pause * 3 / 4 + std::chrono::duration_cast<std::chrono::nanoseconds>(by_chance);
  attempts.failures = std::min(attempts.failures + 1, 1000);
  attempts.problem = std::move(failure.problem);
  return attempts;
}

Attempts after_success(Attempts attempts) {
  attempts.order.clear();
  attempts.key_pem.clear();
  attempts.failures = 0;
  attempts.not_before = {};
  attempts.problem.clear();
  return attempts;
}

}  // namespace workflow::router::acme
