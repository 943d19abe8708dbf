#include "engine/controllers/loop.h"

#include <boost/asio/as_tuple.hpp>

#include "engine/apiserver/api_error.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

namespace workflow::engine {

using namespace std::chrono_literals;

struct Loop::State {
  State(Executor e, std::string n, const Clock& c, Reconcile r)
      : name(std::move(n)), clock(c), reconcile(std::move(r)), wakeup(e), group(e) {}

  void add(const std::string& key) {
    due.erase(key);
    dirty.insert(key);
    wakeup.cancel();
  }

  // Starts what may start now; returns when the next key is due.
  std::optional<Time> start_ready() {
    const auto now = clock.now();
    std::optional<Time> next;
    for (auto at = due.begin(); at != due.end();) {
      if (at->second <= now) {
        dirty.insert(at->first);
        at = due.erase(at);
      } else {
        if (!next || at->second < *next) next = at->second;
        ++at;
      }
    }
    for (auto at = dirty.begin(); at != dirty.end();) {
      if (busy.contains(*at)) {
        ++at;
        continue;
      }
      busy.insert(*at);
      group.spawn(name, one(*at));
      at = dirty.erase(at);
    }
    return next;
  }

  Task<> one(std::string key) {
    struct Done {
      ~Done() {
        state.busy.erase(key);
        state.wakeup.cancel();
      }
      State& state;
      const std::string& key;
    } done{*this, key};
    std::string failure;
    try {
      const auto again = co_await reconcile(key);
      failures.erase(key);
      if (again && !dirty.contains(key)) due[key] = *again;
      co_return;
    } catch (const ApiError& error) {
      failure = error.what();
    } catch (const Error& error) {
      failure = error.message();
    }
    const auto count = ++failures[key];
    const auto delay = std::min<std::chrono::nanoseconds>(20ms * (1 << std::min(count, 10)), 15s);
    log::warn("will try again", kv("controller", name), kv("key", key), kv("error", failure));
    if (!dirty.contains(key)) due[key] = clock.now() + delay;
  }

  Task<> run() {
    for (;;) {
      const auto next = start_ready();
      if (next) {
        wakeup.expires_after(std::max<std::chrono::nanoseconds>(*next - clock.now(), 0ns));
      } else {
        wakeup.expires_at(asio::steady_timer::time_point::max());
      }
      co_await wakeup.async_wait(asio::as_tuple(asio::use_awaitable));
    }
  }

  std::string name;
  const Clock& clock;
  Reconcile reconcile;
  asio::steady_timer wakeup;
  TaskGroup group;
  std::set<std::string> dirty, busy;
  std::map<std::string, Time> due;
  std::map<std::string, int> failures;
};

Loop::Loop(Executor executor, std::string name, const Clock& clock, Reconcile reconcile)
    : state_(std::make_shared<State>(std::move(executor), std::move(name), clock, std::move(reconcile))) {}
Loop::~Loop() = default;
void Loop::add(const std::string& key) { state_->add(key); }
Task<> Loop::run() {
  auto state = state_;
  co_await with_cleanup(state->run(), [state] { return state->group.stop(); });
}

}  // namespace workflow::engine
