// src/lib/async/accept.h: the one accept loop. Whatever happens to a connection, or to all of them, it goes on.
//   No descriptor left, no memory: told once, tried again after a pause (lib/async/supervisor.h). Connections are
//   bounded: when there is no room, new ones wait in the kernel's queue, or take the place of the oldest (for protocols
//   whose clients reconnect, so that idle ones keep nobody out).
//
//     Connections connections(executor, {.most = 500, .when_full = Connections::WhenFull::close_oldest});
//     auto talk = [&](tcp::socket socket) { return answer(zone, std::move(socket)); };
//     supervisor.keep("dns over tcp", [&] { return accept_all(acceptor, connections, talk); }, accept_pauses());
//     …
//     co_await supervisor.stop();
//     co_await connections.stop();
#pragma once
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/system/error_code.hpp>
#include <functional>
#include <memory>

#include "lib/async/supervisor.h"
#include "lib/async/task.h"

namespace workflow {

// What an accept loop has accepted and still serves.
class Connections {
 public:
  enum class WhenFull { wait, close_oldest };
  struct Options {
    std::size_t most = 1000;
    WhenFull when_full = WhenFull::wait;
  };
  Connections(Executor executor, Options options);
  ~Connections();  // requires that none is left: stop() or join()

  Task<> room();  // returns when one more may come
  void serve(Task<> task);
  std::size_t size() const;
  Task<> join();
  Task<> stop();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// An accept loop is tried again every second at the latest.
Supervisor::Options accept_pauses();
// Throws what a supervisor is to know; a connection that is gone before it was accepted is nobody's trouble.
void check_accepted(const boost::system::error_code& error);

// Accepts until it is cancelled or cannot go on; run it through a Supervisor. Its arguments outlive it.
template <typename Protocol, typename Serve>
Task<> accept_all(asio::basic_socket_acceptor<Protocol>& acceptor, Connections& connections, Serve& serve) {
  for (;;) {
    co_await connections.room();
    boost::system::error_code error;
    auto socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    check_accepted(error);
    if (!error) connections.serve(serve(std::move(socket)));
  }
}

}  // namespace workflow
