// src/engine/node/attempt.h: a failure as a value, for code that goes on whatever happens.
#pragma once
#include <optional>

#include "lib/async/task.h"
#include "lib/base/error.h"

namespace workflow::engine {

// Runs `task` and returns what it threw, of whatever type. Only the cancellation of the caller itself goes through:
// a runtime that ends may "cancel" a call of ours as well, and that is a failure like others.
Task<std::optional<Error>> attempt(Task<> task);

}  // namespace workflow::engine
