// src/controller/turns.h: work that people who are not known yet may cause: few at a time, on threads of its own, and
// whoever asks for much waits for himself, not for others: addresses take turns.
//   Throws  unavailable when very many wait, altogether or from one address.
#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <deque>
#include <map>
#include <string>
#include <type_traits>

#include "lib/async/task.h"

namespace workflow::controller {

class Turns {
 public:
  Turns(Executor executor, std::size_t places) : places_(places), changed_(std::move(executor)), threads_(places) {}
  // It waits for nothing: what is begun is finished, also when whoever asked has gone.
  template <typename F>
  auto run(std::string address, F work) -> Task<std::invoke_result_t<F>>;

 private:
  // Somebody who waits, then works.
  class Turn {
   public:
    Turn(Turns& turns, std::string address);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    bool has_come = false;

   private:
    Turns& turns_;
    std::string address_;
  };
  struct Address {
    std::size_t count = 0;  // those who wait and those who work
    std::deque<Turn*> waiting;
  };
  void give();

  std::size_t places_, count_ = 0;
  std::map<std::string, Address> addresses_;
  std::string last_;  // who had a turn
  Notifier changed_;
  asio::thread_pool threads_;
};

void be_nice();  // everything else of the process goes before this thread

template <typename F>
auto Turns::run(std::string address, F work) -> Task<std::invoke_result_t<F>> {
  const Turn turn(*this, std::move(address));
  while (!turn.has_come) co_await changed_.wait(changed_.version());
  auto nicely = [](F its_work) -> Task<std::invoke_result_t<F>> {
    be_nice();
    co_return its_work();
  };
  co_return co_await asio::co_spawn(Executor(threads_.get_executor()), nicely(std::move(work)), asio::use_awaitable);
}

}  // namespace workflow::controller
