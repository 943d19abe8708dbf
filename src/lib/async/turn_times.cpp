#include "lib/async/turn_times.h"

#include <algorithm>
#include <ctime>
#include <utility>

namespace workflow {

namespace {

thread_local TurnTimes* times_of_thread = nullptr;

std::chrono::nanoseconds processor_time() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

void TurnTimes::add(std::chrono::nanoseconds turn) {
  longest_ = std::max(longest_, turn);
  for (std::size_t i = 0; i < bounds.size() && turn > bounds[i]; ++i) ++longer_[i];
}

std::chrono::nanoseconds TurnTimes::take_longest() { return std::exchange(longest_, {}); }

TurnTimes* turn_times() { return times_of_thread; }

void run_measured(asio::io_context& context, TurnTimes& times) {
  times_of_thread = &times;
  auto before = processor_time();
  while (context.run_one() > 0) {
    const auto after = processor_time();
    times.add(after - before);
    before = after;
  }
  times_of_thread = nullptr;
}

}  // namespace workflow
