// src/lib/async/test_support.h: for the tests of this library and of those above it.
#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <functional>
#include <utility>

#include "lib/async/task.h"

namespace workflow {

// Runs `task` to its end on a loop of its own; rethrows what left it. A test that hangs fails in the end.
inline void run_task(std::function<Task<>()> task) {
  asio::io_context context(1);
  std::exception_ptr error;
  auto limited = with_deadline(std::chrono::minutes(2), "the test hangs", task());
  asio::co_spawn(context.get_executor(), std::move(limited), [&error](const std::exception_ptr& e) { error = e; });
  context.run();
  if (error) std::rethrow_exception(error);
}

}  // namespace workflow
