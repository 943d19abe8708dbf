// src/lib/async/test_support.h: for this library's tests.
#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>
#include <functional>

#include "lib/async/task.h"

namespace workflow {

// Runs `task` to its end on a loop of its own; rethrows what left it.
inline void run_task(std::function<Task<>()> task) {
  asio::io_context context(1);
  std::exception_ptr error;
  asio::co_spawn(context.get_executor(), task(), [&error](const std::exception_ptr& e) { error = e; });
  context.run();
  if (error) std::rethrow_exception(error);
}

}  // namespace workflow
