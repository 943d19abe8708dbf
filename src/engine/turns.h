// src/engine/turns.h: keeping the engine's one thread free for others.
//   A step that may be long either runs on the pool (what is pure, and about an object that may be large) or gives way
//   between its parts (what walks many objects).
#pragma once
#include <boost/asio/post.hpp>
#include <chrono>
#include <cstddef>
#include <type_traits>
#include <utility>

#include "lib/async/task.h"

namespace workflow::engine {

// Whatever else is ready runs first.
inline Task<> give_way() { co_await asio::post(co_await asio::this_coro::executor, asio::use_awaitable); }

// Where a walk over many objects gives way: after a few milliseconds, however many or large they are.
class Turn {
 public:
  static constexpr auto longest = std::chrono::milliseconds(5);

  bool is_long() const { return std::chrono::steady_clock::now() - begun_ >= longest; }
  Task<> end() {
    co_await give_way();
    begun_ = std::chrono::steady_clock::now();
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

constexpr std::size_t largest_at_once = 256u << 10;  // bytes of an object that are worked on within a few milliseconds

// `work` on objects of so many bytes: at once when they are few, so that nothing comes between; else on the pool.
template <typename F>
Task<std::invoke_result_t<F>> worked_on(std::size_t bytes, F work) {
  if (bytes <= largest_at_once) co_return work();
  co_return co_await offload(std::move(work));
}

}  // namespace workflow::engine
