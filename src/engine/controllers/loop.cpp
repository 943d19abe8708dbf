#include "engine/controllers/loop.h"

#include <boost/asio/as_tuple.hpp>

#include "engine/apiserver/api_error.h"
#include "engine/turns.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

namespace workflow::engine {

using namespace std::chrono_literals;

struct Loop::State {
  State(Executor e, std::string n, const Clock& c, Reconcile r)
      : name(std::move(n)), clock(c), reconcile(std::move(r)), wakeup(e), group(e) {}

  void add(const std::string& key) {
    mark(key);
    ++added;
    wakeup.cancel();
  }

  // Starts what may start now; returns when the next key is due. A step that has nothing to wait for ends within its
  // start: of ten thousand keys some start in each turn.
  Task<std::optional<Time>> start_ready() {
    Turn turn;
    const auto now = clock.now();
    while (!order.empty() && order.begin()->first <= now) {
      mark(std::string(order.begin()->second));
      if (turn.is_long()) co_await turn.end();
    }
    for (auto at = dirty.begin(); at != dirty.end();) {
      if (turn.is_long()) {
        const auto next = *at;
        co_await turn.end();
        at = dirty.lower_bound(next);
        continue;
      }
      if (busy.contains(*at)) {
        ++at;
        continue;
      }
      // Not dirty any more before it runs.
      const auto key = *at;
      at = dirty.erase(at);
      busy.insert(key);
      group.spawn(name, one(key));
    }
    co_return order.empty() ? std::nullopt : std::optional(order.begin()->first);
  }

  void mark(const std::string& key) {
    forget(key);
    dirty.insert(key);
  }
  void look_again(const std::string& key, Time time) {
    forget(key);
    due[key] = time;
    order.emplace(time, key);
  }
  void forget(const std::string& key) {
    const auto found = due.find(key);
    if (found == due.end()) return;
    order.erase({found->second, key});
    due.erase(found);
  }

  Task<> one(std::string key) {
    struct Done {
      ~Done() {
        state.busy.erase(key);
        ++state.added;
        state.wakeup.cancel();
      }
      State& state;
      const std::string& key;
    } done{*this, key};
    std::string failure;
    try {
      const auto again = co_await reconcile(key);
      failures.erase(key);
      if (again && !dirty.contains(key)) look_again(key, *again);
      co_return;
    } catch (const ApiError& error) {
      failure = error.what();
    } catch (const Error& error) {
      failure = error.message();
    } catch (...) {  // whatever it is: the key is not forgotten
      if (is_cancelled(std::current_exception())) throw;
      failure = describe(std::current_exception());
    }
    const auto count = ++failures[key];
    const auto delay = std::min<std::chrono::nanoseconds>(20ms * (1 << std::min(count, 10)), 15s);
    log::warn("will try again", kv("controller", name), kv("key", key), kv("error", failure));
    if (!dirty.contains(key)) look_again(key, clock.now() + delay);
  }

  Task<> run() {
    for (;;) {
      const auto seen = added;
      const auto next = co_await start_ready();
      if (added != seen) continue;  // while others had their turn
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
  std::set<std::pair<Time, std::string>> order;  // the same by time: thousands of events wait to expire
  std::map<std::string, int> failures;
  std::uint64_t added = 0;  // how often there was something new to start
};

Loop::Loop(Executor executor, std::string name, const Clock& clock, Reconcile reconcile)
    : state_(std::make_shared<State>(std::move(executor), std::move(name), clock, std::move(reconcile))) {}
Loop::~Loop() = default;
void Loop::add(const std::string& key) { state_->add(key); }
void Loop::look_at_clock() {
  ++state_->added;
  state_->wakeup.cancel();
}
Task<> Loop::run() {
  auto state = state_;
  co_await with_cleanup(state->run(), [state] { return state->group.stop(); });
}

}  // namespace workflow::engine
