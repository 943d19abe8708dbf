// src/engine/controllers/cron_job.h: Jobs by the clock.
#pragma once
#include <optional>

#include "engine/controllers/action.h"
#include "engine/controllers/workload.h"
#include "lib/base/time_zone.h"

namespace workflow::engine {

struct CronJobPlan {
  Actions actions;
  std::optional<Time> again;
};
// `jobs`: those of the namespace. `zone`: that of spec.timeZone, nullopt if there is no such zone. What runs and when
// it was last due is read from the Jobs themselves, so that a plan that was carried out by half is finished by the next
// one, and nothing is started twice.
CronJobPlan plan_cron_job(const ObjectPtr& cron_job, const Objects& jobs, const std::optional<TimeZone>& zone,
                          Time now);

}  // namespace workflow::engine
