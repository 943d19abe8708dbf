#include "engine/node/probes.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

TEST(Probes, may_be_asked_for_faster_than_kubernetes_can_say) {
  struct Case {
    const char* text;
    std::optional<std::chrono::milliseconds> interval;
  };
  const Case cases[] = {{"100ms", 100ms}, {"2s", 2s}, {"10ms", 10ms}, {"9ms", {}},  {"", {}},
                        {"ms", {}},       {"1m", {}}, {"-5s", {}},    {"601s", {}}, {"1.5s", {}}};
  for (const auto& [text, interval] : cases) EXPECT_EQ(parse_interval(text), interval) << text;
}

TEST(Probes, run_commands_as_kubernetes_reads_them) {
  const auto container =
      from_yaml("{env: [{name: FILE, value: /tmp/x}, {name: KEY, valueFrom: {secretKeyRef: {name: s, key: k}}}]}");
  const auto words = json::array{"test", "-e", "$(FILE)", "$$(FILE)", "$HOME", "$$HOME", "<$(KEY)>", "$(OTHER)"};
  EXPECT_EQ(exec_command(words, container),
            (std::vector<std::string>{"test", "-e", "/tmp/x", "$(FILE)", "$HOME", "$HOME", "<>", "$(OTHER)"}));
}

TEST(Probes, keep_time_as_they_are_told) {
  const auto timing = timing_of(
      from_yaml(
          "{initialDelaySeconds: 5, periodSeconds: 20, timeoutSeconds: 3, successThreshold: 2, failureThreshold: 4}"),
      "");
  EXPECT_EQ(timing.initial_delay, 5s);
  EXPECT_EQ(timing.period, 20s);
  EXPECT_EQ(timing.timeout, 3s);
  EXPECT_EQ(timing.successes, 2);
  EXPECT_EQ(timing.failures, 4);
  EXPECT_EQ(timing_of(json::object(), "").period, 10s);
  EXPECT_EQ(timing_of(json::object(), "").eager, 10s);
  EXPECT_EQ(timing_of(json::object(), "50ms").period, 10s);
  EXPECT_EQ(timing_of(json::object(), "50ms").eager, 50ms);
  EXPECT_EQ(timing_of(json::object(), "20s").eager, 10s);
}

TEST(Probes, change_their_mind_only_after_enough_answers) {
  struct Case {
    const char *what, *answers;  // w well, u unwell, ? unknown
    bool well;
    const char* told;  // + well, - unwell, . nothing
  };
  const Case cases[] = {{"well at once", "ww", false, ".+"},
                        {"stays well", "wwww", true, "...."},
                        {"unwell after three", "uuu", true, "..-"},
                        {"and told once", "uuuuuu", true, "..-..."},
                        {"a good one between", "uuwuu", true, "....."},
                        {"told even if never well", "uuu", false, "..-"},
                        {"back again", "uuuww", true, "..-.+"},
                        {"a runtime that is away says nothing", "uu??u", true, "....-"}};
  for (const auto& [what, answers, well, told] : cases) {
    ProbeCount count({.successes = 2, .failures = 3}, well);
    std::string said;
    for (const char answer : std::string_view(answers)) {
      using enum ProbeAnswer::Verdict;
      const bool news = count.note(answer == 'w' ? ProbeAnswer::Verdict::well : answer == 'u' ? unwell : unknown);
      said += !news ? '.' : count.is_well() ? '+' : '-';
    }
    EXPECT_EQ(said, told) << what;
  }
}

TEST(Probes, give_no_less_time_when_they_are_asked_more_often) {
  ProbeCount count({.period = 10s, .eager = 100ms, .failures = 3}, false);
  for (int i = 1; i < 300; ++i) EXPECT_FALSE(count.note(ProbeAnswer::Verdict::unwell)) << i;
  EXPECT_TRUE(count.note(ProbeAnswer::Verdict::unwell));
}

TEST(Probes, a_threshold_that_is_meant_never_to_be_reached_is_not) {
  ProbeCount count({.period = 1s, .eager = 100ms, .failures = std::numeric_limits<std::int32_t>::max()}, false);
  for (int i = 1; i < 100; ++i) EXPECT_FALSE(count.note(ProbeAnswer::Verdict::unwell)) << i;
}

}  // namespace
}  // namespace workflow::engine
