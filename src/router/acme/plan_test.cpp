#include "router/acme/plan.h"

#include <gtest/gtest.h>

namespace workflow::router::acme {
namespace {

using namespace std::chrono_literals;

const Time noon = *parse_rfc3339("2026-06-01T12:00:00Z");
constexpr auto day = 24h;

TEST(AcmePlan, a_name_without_a_certificate_is_due_at_once_and_another_at_two_thirds) {
  EXPECT_EQ(next_attempt({}, std::nullopt, noon), noon);
  const Validity fresh{noon, noon + 90 * day};
  EXPECT_EQ(next_attempt({}, fresh, noon), noon + 60 * day);
  EXPECT_LE(next_attempt({}, Validity{noon - 70 * day, noon + 20 * day}, noon), noon);
}

TEST(AcmePlan, a_failure_is_followed_by_a_longer_pause_each_time) {
  Attempts attempts;
  auto last = 0ns;
  for (int i = 0; i < 30; ++i) {
    attempts = after_failure(std::move(attempts), {"no such host", 0.5}, noon);
    const auto pause = next_attempt(attempts, std::nullopt, noon) - noon;
    EXPECT_GE(pause, last);
    EXPECT_GE(pause, 45s);
    EXPECT_LE(pause, 12h);
    last = pause;
  }
  EXPECT_GT(last, 9h);
  EXPECT_EQ(attempts.problem, "no such host");
  EXPECT_EQ(after_success(attempts).failures, 0);
}

TEST(AcmePlan, chance_moves_the_next_attempt) {
  const auto early = after_failure({}, {"", 0.0}, noon), late = after_failure({}, {"", 1.0}, noon);
  EXPECT_EQ(early.not_before - noon, 45s);
  EXPECT_EQ(late.not_before - noon, 60s);
}

TEST(AcmePlan, a_name_has_a_budget_for_each_week) {
  Attempts attempts;
  for (std::size_t i = 0; i < orders_a_week; ++i) {
    const auto begun = noon + i * 1h;
    EXPECT_LE(next_attempt(attempts, std::nullopt, begun), begun);
    attempts = begin_order(std::move(attempts), "key", begun);
  }
  const auto now = noon + 6h;
  EXPECT_EQ(next_attempt(attempts, std::nullopt, now), noon + 7 * day);
  attempts.order = "https://ca/order/5";
  EXPECT_EQ(next_attempt(attempts, std::nullopt, now), now) << "an order that is under way costs nothing more";
  attempts.order.clear();
  EXPECT_LE(next_attempt(attempts, std::nullopt, noon + 7 * day), noon + 7 * day);
  EXPECT_EQ(begin_order(attempts, "key", noon + 8 * day).begun.size(), 1u) << "old ones are forgotten";
}

TEST(AcmePlan, what_was_tried_can_be_written_down) {
  Attempts attempts = begin_order({}, "a key", noon);
  attempts.order = "https://ca/order/1";
  attempts = after_failure(std::move(attempts), {"why", 1.0}, noon);
  EXPECT_EQ(attempts_from_json(to_json(attempts)), attempts);
  EXPECT_EQ(attempts_from_json(*parse_json(R"({"order":7,"begun":["yesterday",3],"failures":-4})")), Attempts{});
}

TEST(AcmePlan, a_name_of_any_length_gives_a_name_of_a_secret) {
  EXPECT_EQ(secret_name(std::string(253, 'a')).size(), secret_name("*.b").size());
  EXPECT_NE(secret_name("*.b"), secret_name("b"));
}

}  // namespace
}  // namespace workflow::router::acme
