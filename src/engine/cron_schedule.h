// src/engine/cron_schedule.h: when a CronJob is due, as github.com/robfig/cron/v3 tells Kubernetes. Pure.
#pragma once
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/clock.h"
#include "lib/base/time_zone.h"

namespace workflow::engine {

class CronSchedule {
 public:
  // "*/5 0-8 1,15 * mon-fri", "@hourly", "@every 1h30m"; or what is wrong with it, in words for the user.
  static std::expected<CronSchedule, std::string> parse(std::string_view text);

  // In the zone's local time: one that is skipped never comes, one that repeats comes twice. nullopt: never again
  // ("0 0 30 2 *"). "@every 5m" counts from `time`.
  std::optional<Time> next_after(Time time, const TimeZone& zone) const;
  // The last one in (after, until].
  std::optional<Time> last_within(Time after, Time until, const TimeZone& zone) const;

 private:
  bool is_day(std::chrono::sys_days day) const;
  std::optional<std::chrono::sys_seconds> first_within(std::chrono::sys_seconds from,
                                                       std::chrono::sys_seconds end) const;

  std::uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;  // a bit for each value
  bool any_day_ = false, any_weekday_ = false;                                    // there was a star without a step
  std::chrono::seconds every_{0};                                                 // and nothing else, if not zero
};

}  // namespace workflow::engine
