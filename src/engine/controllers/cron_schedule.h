// src/engine/controllers/cron_schedule.h: when a CronJob is due: the five fields of crontab(5), in UTC. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

#include "lib/base/clock.h"

namespace workflow::engine {

class CronSchedule {
 public:
  // "*/5 0-8 1,15 * mon-fri", "@hourly"; nullopt when malformed.
  static std::optional<CronSchedule> parse(std::string_view text);

  // nullopt: never again ("0 0 30 2 *").
  std::optional<Time> next_after(Time time) const;
  // The last one in (after, until].
  std::optional<Time> last_within(Time after, Time until) const;

 private:
  bool is_day(std::chrono::sys_days day) const;

  std::uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;  // a bit for each value
  bool any_day_ = false, any_weekday_ = false;                                    // the field began with a star
};

}  // namespace workflow::engine
