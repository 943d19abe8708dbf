// src/lib/async/turn_times.h: how long the loop's turns are: what one handler does before others have theirs.
//   In processor time of the thread, so that a busy machine does not make them longer. Measured when
//   WORKFLOW_TURN_TIMES is set; else the loop runs as asio made it, and nothing is looked at.
#pragma once
#include <array>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace workflow {

namespace asio = boost::asio;

class TurnTimes {
 public:
  // From each on a turn is counted as longer than it.
  static constexpr std::array bounds{std::chrono::milliseconds(10), std::chrono::milliseconds(25),
                                     std::chrono::milliseconds(50), std::chrono::milliseconds(100)};

  void add(std::chrono::nanoseconds turn);
  std::uint64_t longer_than(std::size_t bound) const { return longer_[bound]; }
  std::chrono::nanoseconds take_longest();  // since it was asked for the last time

 private:
  std::array<std::uint64_t, bounds.size()> longer_{};
  std::chrono::nanoseconds longest_{};
};

// Of the loop that run_main() runs on this thread; null when it is not measured.
TurnTimes* turn_times();

// Runs `context` until it has nothing left to do.
void run_measured(asio::io_context& context, TurnTimes& times);

}  // namespace workflow
