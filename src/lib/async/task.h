// src/lib/async/task.h: coroutines that wait for the outside world.
//   A function that waits returns Task<T>. Coroutine parameters are values, or references to what outlives the
//   component.
#pragma once
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace workflow {

namespace asio = boost::asio;
template <typename T = void>
using Task = asio::awaitable<T>;
using Executor = asio::any_io_executor;

// Suspends for `time`. Cancelled with its coroutine.
Task<> sleep_for(std::chrono::nanoseconds time);

// Runs `work` on the blocking pool of the process and resumes on the caller's executor with its result or exception.
// Once begun, `work` runs to its end even when the awaiting coroutine is cancelled.
asio::thread_pool& blocking_pool();  // its size: WORKFLOW_BLOCKING_THREADS, default 16; started on first use
template <typename F>
auto offload(F work) -> Task<std::invoke_result_t<F>>;

// Runs `task` and throws Error{timeout, message} when it has not finished in `limit`; the task is then cancelled.
template <typename T>
Task<T> with_deadline(std::chrono::nanoseconds limit, std::string message, Task<T> task);

// Runs `task` so that `source` cancels it alone; the caller's own cancellation reaches it as well.
Task<> cancelled_by(std::shared_ptr<asio::cancellation_signal> source, Task<> task);

// Background work with an owner. The first exception (other than cancellation) that leaves a task is logged with `name`
// as an error. `stop()` cancels all and returns when all have ended; the destructor requires that nothing runs.
class TaskGroup {
 public:
  explicit TaskGroup(Executor executor);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  void spawn(std::string name, Task<> task);
  void cancel();  // asks all to end
  Task<> join();  // waits until none runs
  Task<> stop();  // cancel, then join; finishes even when its caller is cancelled meanwhile
  std::size_t size() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Wakes waiters on one executor. `notify_all` wakes everyone who waits now; a wait that begins later waits for the
// next. `version()` lets a waiter miss nothing: auto v = n.version(); …; co_await n.wait(v) returns at once if it
// changed since.
class Notifier {
 public:
  explicit Notifier(Executor executor);
  ~Notifier();
  std::uint64_t version() const { return version_; }
  void notify_all();
  Task<> wait(std::uint64_t seen);

 private:
  std::uint64_t version_ = 0;
  std::unique_ptr<asio::steady_timer> timer_;
};

// A bounded queue between coroutines of one executor: push(value) waits while it is full and returns false once it is
// closed; pop() waits while it is empty and returns nullopt once it is closed and empty. See task_inl.h.
template <typename T>
class Channel;

// True for the exception that cancellation throws: rethrow it, never log it.
bool is_cancelled(const std::exception_ptr& error);

// Once cancelled, a coroutine throws at each further co_await. Clean-up that waits (`co_await group.stop()`) therefore
// runs through `with_cleanup`: whether `task` returned, threw or was cancelled, `cleanup` runs to its end, and then the
// outcome of `task` goes on. Inside one coroutine, `co_await keep_waiting();` first does the same for what follows.
Task<> with_cleanup(Task<> task, std::function<Task<>()> cleanup);
inline auto keep_waiting() { return asio::this_coro::throw_if_cancelled(false); }

// Runs `main_task` on this thread's new io_context until it returns, or cancels it on SIGTERM and SIGINT and waits for
// its clean end. Returns the process's exit status; an exception is logged and gives 1.
int run_main(std::function<Task<>(Executor)> main_task);

// Like co_spawn on the same thread, with log::current_request() == id whenever the task runs.
Task<> with_request_id(std::string id, Task<> task);

}  // namespace workflow

#include "lib/async/task_inl.h"
