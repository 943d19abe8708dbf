#include "engine/controllers/clock_watch.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <system_error>

namespace workflow::engine {

// A timer that never fires, which the kernel cancels when the clock is set (timerfd_create(2)).
Task<> watch_clock(std::function<void()> was_set) {
  constexpr std::time_t never = std::time_t{1} << 33;  // the year 2242
  const int fd = ::timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
  if (fd < 0) throw std::system_error(errno, std::generic_category(), "timerfd_create");
  asio::posix::stream_descriptor timer(co_await asio::this_coro::executor, fd);
  for (;;) {
    const itimerspec when{.it_interval = {}, .it_value = {.tv_sec = never, .tv_nsec = 0}};
    if (::timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, nullptr) != 0 && errno != ECANCELED) {
      throw std::system_error(errno, std::generic_category(), "timerfd_settime");
    }
    co_await timer.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
    std::uint64_t count = 0;
    if (::read(fd, &count, sizeof(count)) < 0 && errno == ECANCELED) was_set();
  }
}

}  // namespace workflow::engine
