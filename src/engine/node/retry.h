// src/engine/node/retry.h: when something that failed is tried again.
#pragma once
#include <algorithm>
#include <chrono>

#include "lib/base/clock.h"

namespace workflow::engine {

// After half a second, then twice as long each time, up to half a minute. What was only interrupted is tried again
// sooner, and is a failure when that has gone on for ten seconds.
class Retry {
 public:
  void failed(Time now) {
    pause_ = std::clamp(pause_ * 2, shortest, longest);
    not_before_ = now + pause_;
  }
  // False when it is to count as a failure by now.
  bool interrupted(Time now) {
    if (interrupted_since_ == Time{}) interrupted_since_ = now;
    if (now - interrupted_since_ > std::chrono::seconds(10)) return false;
    not_before_ = now + std::chrono::milliseconds(200);
    return true;
  }
  void worked() { *this = Retry(); }
  // The clock of the machine was set.
  void shift(std::chrono::nanoseconds jump) {
    for (auto* time : {&not_before_, &interrupted_since_}) {
      if (*time > Time{}) *time += jump;
    }
  }
  std::chrono::milliseconds pause() const { return pause_; }
  Time not_before() const { return not_before_; }
  bool has_failed() const { return not_before_ > Time{}; }

 private:
  static constexpr std::chrono::milliseconds shortest{500}, longest{30'000};
  std::chrono::milliseconds pause_{0};
  Time not_before_{}, interrupted_since_{};
};

}  // namespace workflow::engine
