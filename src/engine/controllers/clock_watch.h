// src/engine/controllers/clock_watch.h: tells when somebody sets the machine's clock, so that what waits for a time of
// day looks at it again. Timers count seconds that pass; they do not notice.
#pragma once
#include <functional>

#include "lib/async/task.h"

namespace workflow::engine {

Task<> watch_clock(std::function<void()> was_set);  // until cancelled

}  // namespace workflow::engine
