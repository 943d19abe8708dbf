#include "lib/async/task.h"

#include <boost/asio/multiple_exceptions.hpp>

#include <atomic>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>

#include "lib/async/request_executor.h"
#include "lib/base/error.h"
#include "lib/base/settings.h"

namespace workflow {

namespace {

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);

std::size_t pool_size() {
  auto env = Env::from_process();
  return static_cast<std::size_t>(env.integer("WORKFLOW_BLOCKING_THREADS", 16, 1, 1024));
}

// Posts the continuation to the awaiting coroutine's own executor once `work` ended on the pool.
template <typename CompletionToken>
auto async_run_on_pool(std::move_only_function<void()> work, CompletionToken&& token) {
  auto initiate = [](auto handler, std::move_only_function<void()> job) {
    Executor executor = asio::get_associated_executor(handler);
    Executor busy =
        asio::prefer(executor, asio::execution::outstanding_work.tracked);  // the loop does not end meanwhile
    auto work_and_resume = [handler = std::move(handler), job = std::move(job), executor,
                            busy = std::move(busy)]() mutable {
      std::exception_ptr error;
      try {
        job();
      } catch (...) {
        error = std::current_exception();
      }
      job = nullptr;  // its captures end here, before the caller goes on
      // Once resumed, the loop may run to its end and be gone before this thread takes its next step. So the
      // continuation takes `busy` along, and goes on only when this thread has let go of the loop: an instant later, as
      // a rule.
      auto let_go = std::make_shared<std::atomic<bool>>(false);
      auto resume = [handler = std::move(handler), error = std::move(error), busy = std::move(busy), let_go]() mutable {
        let_go->wait(false, std::memory_order_acquire);
        std::move(handler)(std::move(error));
      };
      asio::post(std::exchange(executor, Executor()), std::move(resume));
      let_go->store(true, std::memory_order_release);
      let_go->notify_one();
    };
    asio::post(blocking_pool(), std::move(work_and_resume));
  };
  return asio::async_initiate<CompletionToken, void(std::exception_ptr)>(initiate, token, std::move(work));
}

}  // namespace

Task<> sleep_for(std::chrono::nanoseconds time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::thread_pool& blocking_pool() {
  static asio::thread_pool pool(pool_size());
  return pool;
}

bool is_cancelled(const std::exception_ptr& error) {
  if (!error) return false;
  try {
    std::rethrow_exception(error);
  } catch (const boost::system::system_error& failure) {
    return failure.code() == asio::error::operation_aborted;
  } catch (const asio::multiple_exceptions& several) {
    return is_cancelled(several.first_exception());  // of tasks that were awaited together
  } catch (...) {
    return false;
  }
}

Task<> with_cleanup(Task<> task, std::function<Task<>()> cleanup) {
  std::exception_ptr error;
  try {
    co_await std::move(task);
  } catch (...) {
    error = std::current_exception();
  }
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await asio::this_coro::throw_if_cancelled(false);
  std::exception_ptr cleanup_error;
  try {
    co_await cleanup();
  } catch (...) {
    cleanup_error = std::current_exception();
  }
  co_await asio::this_coro::throw_if_cancelled(throws);
  if (error) std::rethrow_exception(error);
  if (cleanup_error) std::rethrow_exception(cleanup_error);
}

Task<> cancelled_by(std::shared_ptr<asio::cancellation_signal> source, Task<> task) {
  auto executor = co_await asio::this_coro::executor;
  auto outer = co_await asio::this_coro::cancellation_state;
  // The inner task listens to `source` alone, so our own cancellation goes through it.
  if (outer.slot().is_connected()) {
    outer.slot().assign([source](asio::cancellation_type type) { source->emit(type); });
  }
  std::exception_ptr error;
  try {
    co_await asio::co_spawn(executor, std::move(task),
                            asio::bind_cancellation_slot(source->slot(), asio::use_awaitable));
  } catch (...) {
    error = std::current_exception();
  }
  outer.slot().clear();
  if (error) std::rethrow_exception(error);
}

namespace detail {

Task<> run_on_pool(std::move_only_function<void()> work) {
  co_await async_run_on_pool(std::move(work), asio::use_awaitable);
}

Task<> run_with_deadline(std::chrono::nanoseconds limit, std::string message, Task<> task) {
  auto expired = std::make_shared<bool>(false);
  auto source = std::make_shared<asio::cancellation_signal>();
  asio::steady_timer timer(co_await asio::this_coro::executor, limit);
  timer.async_wait([source, expired](const boost::system::error_code& stopped) {
    if (stopped) return;
    *expired = true;
    source->emit(asio::cancellation_type::terminal);
  });
  std::exception_ptr error;
  try {
    co_await cancelled_by(source, std::move(task));
  } catch (...) {
    error = std::current_exception();
  }
  if (error && *expired) throw Error{ErrorKind::timeout, std::move(message)};
  if (error) std::rethrow_exception(error);
}

}  // namespace detail

Notifier::Notifier(Executor executor)
    : timer_(std::make_unique<asio::steady_timer>(std::move(executor), asio::steady_timer::time_point::max())) {}

Notifier::~Notifier() = default;

void Notifier::notify_all() {
  ++version_;
  timer_->cancel();
}

Task<> Notifier::wait(std::uint64_t seen) {
  while (version_ == seen) {
    co_await timer_->async_wait(quietly);
    if (version_ != seen) break;
    // Woken without a notification: our own cancellation, which clean-up (keep_waiting) sits through.
    const auto state = co_await asio::this_coro::cancellation_state;
    const bool throws = co_await asio::this_coro::throw_if_cancelled();
    if (throws && state.cancelled() != asio::cancellation_type::none) {
      throw boost::system::system_error(asio::error::operation_aborted);
    }
  }
}

Task<> with_request_id(std::string id, Task<> task) {
  Executor inner = co_await asio::this_coro::executor;
  Executor scoped = RequestExecutor(inner, std::make_shared<const std::string>(std::move(id)));
  co_await asio::co_spawn(scoped, std::move(task), asio::use_awaitable);
}

}  // namespace workflow
