#include "engine/node/log_rotation.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <set>

#include "engine/node/attempt.h"
#include "engine/node/log_files.h"
#include "lib/base/log.h"

namespace workflow::engine {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

namespace {

constexpr auto look_every = 250ms;
constexpr int quiet_after = 8;  // looks in which it did not grow

}  // namespace

// Told by the kernel of the next write to each file. Without (too many users of inotify), every file is always looked
// at.
class LogRotation::Alarm {
 public:
  explicit Alarm(Executor executor) : events_(executor) {
    if (const int fd = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC); fd >= 0) events_.assign(fd);
  }
  bool arm(const std::string& id, const fs::path& file) {
    if (!events_.is_open()) return false;
    const int watch = ::inotify_add_watch(events_.native_handle(), file.c_str(), IN_MODIFY | IN_ONESHOT);
    if (watch < 0) return false;
    armed_[watch] = id;
    return true;
  }
  // The containers whose logs were written to.
  std::set<std::string> heard() {
    std::set<std::string> ids;
    alignas(inotify_event) char buffer[4096];
    while (events_.is_open()) {
      const auto got = ::read(events_.native_handle(), buffer, sizeof buffer);
      if (got <= 0) break;
      for (const char* at = buffer; at < buffer + got;) {
        const auto& event = *reinterpret_cast<const inotify_event*>(at);
        if (const auto found = armed_.find(event.wd); found != armed_.end() && (event.mask & IN_MODIFY) != 0)
          ids.insert(found->second);
        if ((event.mask & IN_IGNORED) != 0) armed_.erase(event.wd);
        at += sizeof event + event.len;
      }
    }
    return ids;
  }
  Task<> wait() {
    if (!events_.is_open()) co_return co_await sleep_for(look_every);
    co_await events_.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
  }

 private:
  asio::posix::stream_descriptor events_;
  std::map<int, std::string> armed_;
};

// Which logs there are now.
void LogRotation::take_over() {
  std::set<std::string> open;
  for (auto& log : parts_.logs()) {
    open.insert(log.container_id);
    auto& watched = watched_[log.container_id];
    if (watched.file != log.file) watched = {.file = std::move(log.file)};
  }
  std::erase_if(watched_, [&open](const auto& entry) { return !open.contains(entry.first); });
}

Task<> LogRotation::look(Alarm& alarm) {
  struct Look {
    std::string id;
    fs::path file;
    std::uint64_t size = 0;
  };
  std::vector<Look> looks;
  for (const auto& [id, watched] : watched_) {
    if (watched.is_active) looks.push_back({id, watched.file});
  }
  looks = co_await offload(
      [looks = std::move(looks), most = parts_.config.log_max_bytes, now = parts_.clock.now()]() mutable {
        for (auto& one : looks) {
          std::error_code absent;
          const auto size = fs::file_size(one.file, absent);
          one.size = absent ? 0 : size;
          if (one.size >= most) fs::rename(one.file, name_aside(one.file, now), absent);
        }
        return std::move(looks);
      });
  for (const auto& one : looks) {
    const auto found = watched_.find(one.id);
    if (found == watched_.end() || found->second.file != one.file) continue;
    auto& watched = found->second;
    watched.must_reopen = watched.must_reopen || one.size >= parts_.config.log_max_bytes;
    watched.quiet_looks = one.size == watched.size ? watched.quiet_looks + 1 : 0;
    watched.size = one.size;
    if (watched.must_reopen) {
      watched.must_reopen = (co_await attempt(parts_.runtime.reopen_log(one.id))).has_value();
      const auto keep = static_cast<std::size_t>(std::max(0, parts_.config.log_max_files - 1));
      co_await offload([file = one.file, keep] { remove_surplus_parts(file, keep); });
      const auto again = watched_.find(one.id);
      if (again == watched_.end()) continue;
      again->second.quiet_looks = 0;
    } else if (watched.quiet_looks >= quiet_after && alarm.arm(one.id, one.file)) {
      // What was written between the look and the alarm is seen at the next write: the limit bounds it.
      watched.is_active = false;
      watched.quiet_looks = 0;
    }
  }
}

Task<> LogRotation::run() {
  using namespace asio::experimental::awaitable_operators;
  Alarm alarm(co_await asio::this_coro::executor);
  std::optional<std::uint64_t> known;
  for (;;) {
    const auto seen = parts_.changes.version();
    if (std::exchange(known, seen) != seen) take_over();
    for (const auto& id : alarm.heard()) {
      if (const auto found = watched_.find(id); found != watched_.end()) found->second.is_active = true;
    }
    if (const auto trouble = co_await attempt(look(alarm)))
      log::warn("logs not rotated; trying again", kv("error", trouble->message()));
    const bool any_active = std::ranges::any_of(watched_, [](const auto& entry) { return entry.second.is_active; });
    if (any_active) {
      co_await sleep_for(look_every);
    } else {
      co_await (alarm.wait() || parts_.changes.wait(seen));
    }
  }
}

}  // namespace workflow::engine
