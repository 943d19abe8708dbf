// src/lib/async/together.h: several tasks as one.
#pragma once
#include <exception>
#include <utility>

#include "lib/async/task.h"

namespace workflow {

// Runs all at the same time. The first failure cancels the others, and is what is thrown.
template <typename... Tasks>
Task<> together(Executor executor, Tasks... tasks) {
  TaskGroup group(executor);
  std::exception_ptr failure;
  auto watched = [&](Task<> task) -> Task<> {
    try {
      co_await std::move(task);
    } catch (...) {
      if (failure) co_return;
      failure = std::current_exception();
      group.cancel();
    }
  };
  (group.spawn("part of a whole", watched(std::move(tasks))), ...);
  co_await with_cleanup(group.join(), [&group] { return group.stop(); });
  if (failure) std::rethrow_exception(failure);
}

}  // namespace workflow
