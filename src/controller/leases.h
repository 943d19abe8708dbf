// src/controller/leases.h: who works on which job. Whoever holds a job's lease does; one that nobody holds any more is
// adopted by whichever controller is alive.
#pragma once
#include <functional>
#include <string>

#include "controller/api.h"

namespace workflow::controller {

// How long a lease lasts without being renewed, as PostgreSQL reads it.
inline constexpr auto lease = "10 seconds";

class Leases {
 public:
  using Adopted = std::function<void(std::int64_t job, std::string app_uuid)>;
  Leases(Executor executor, Parts& parts, Adopted adopted);
  Task<> keep();       // renews ours, and adopts what nobody works on; until cancelled
  Task<> give_back();  // what was under way goes on elsewhere, or here after a restart, at once

 private:
  Task<bool> renew();
  Task<> adopt();
  Parts& parts_;
  Adopted adopted_;
  Notifier orphans_;  // there may be jobs to adopt
};

}  // namespace workflow::controller
