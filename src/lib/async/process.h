// src/lib/async/process.h: waiting for subprocesses without blocking the loop.
#pragma once
#include <chrono>
#include <string>

#include "lib/async/task.h"
#include "lib/base/process.h"

namespace workflow {

// Waits for the child to exit; returns its status as a shell would say it. The child outlives this call.
Task<int> exited(ChildProcess& child);
// SIGTERM, then SIGKILL after `grace`; returns when it is gone.
Task<int> stop_process(ChildProcess& child, std::chrono::milliseconds grace);
// run_process for coroutines; cancellation kills the child.
Task<ProcessResult> run(ProcessSpec spec, std::chrono::milliseconds limit, std::string input = "");

}  // namespace workflow
