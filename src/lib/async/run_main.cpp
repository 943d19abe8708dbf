#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <csignal>

#include "lib/async/task.h"
#include "lib/async/turn_times.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/settings.h"

namespace workflow {

int run_main(std::function<Task<>(Executor)> main_task) {
  std::signal(SIGPIPE, SIG_IGN);
  asio::io_context context(1);
  asio::signal_set signals(context, SIGTERM, SIGINT);
  asio::cancellation_signal cancel;
  bool asked_to_end = false;
  int status = 0;

  std::function<void()> listen = [&] {
    signals.async_wait([&](const boost::system::error_code& stopped, int number) {
      if (stopped) return;
      log::info("ending", kv("signal", number == SIGTERM ? "SIGTERM" : "SIGINT"));
      // Emitting twice would reach the clean-up that the first one began.
      if (!std::exchange(asked_to_end, true)) cancel.emit(asio::cancellation_type::terminal);
      listen();
    });
  };
  listen();

  auto ended = [&](const std::exception_ptr& error) {
    if (error && !(asked_to_end && is_cancelled(error))) {
      log::error("ended by an error", kv("error", describe(error)));
      status = 1;
    }
    context.stop();
  };
  asio::co_spawn(context.get_executor(), main_task(context.get_executor()),
                 asio::bind_cancellation_slot(cancel.slot(), ended));
  try {
    TurnTimes times;
    if (Env::from_process().flag("WORKFLOW_TURN_TIMES", false)) {
      run_measured(context, times);
    } else {
      context.run();
    }
  } catch (...) {
    log::error("ended by an error outside any task", kv("error", describe(std::current_exception())));
    status = 1;
  }
  return status;
}

}  // namespace workflow
