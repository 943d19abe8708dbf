// src/lib/http/transport.h: a connected socket, plain or TLS, with deadlines. Inside lib/http only.
//   Throws  Error: timeout when a deadline passed, unavailable when the connection broke.
#pragma once
#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/task.h"

namespace boost::asio::ssl {
class context;
}

namespace workflow::http {

using asio::ip::tcp;
using SteadyTime = std::chrono::steady_clock::time_point;
constexpr SteadyTime never = SteadyTime::max();

// Two deadlines of a socket, for its reader and its writer. When one passes, what is pending on the socket is
// cancelled, and whatever begins later fails, until the deadline is set anew. Moving a deadline costs a store: the
// timer behind it is only re-armed when it would ring too late.
class Watchdog : public std::enable_shared_from_this<Watchdog> {
 public:
  Watchdog(const Executor& executor, std::function<void()> cancel) : timer_(executor), cancel_(std::move(cancel)) {}
  void reading_until(SteadyTime deadline);
  void writing_until(SteadyTime deadline);
  bool reading_expired() const { return reading_expired_; }
  bool expired() const { return reading_expired_ || writing_expired_; }
  void stop();  // the owner goes

 private:
  void arm();
  void ring();
  asio::steady_timer timer_;
  std::function<void()> cancel_;
  SteadyTime reading_ = never, writing_ = never, armed_ = never;
  bool reading_expired_ = false, writing_expired_ = false;
};

struct PeerIdentity {  // of a verified client certificate
  std::optional<std::string> common_name;
  std::vector<std::string> organizations;
};

using Pieces = std::array<asio::const_buffer, 3>;

class Transport {
 public:
  virtual ~Transport() = default;
  virtual Task<std::size_t> read_some(asio::mutable_buffer into) = 0;  // 0: the peer ended its side
  virtual Task<> write(Pieces pieces) = 0;                             // all of them
  virtual Task<> write_file(int fd, std::uint64_t offset, std::uint64_t length) = 0;
  virtual Task<> end_writing() = 0;  // tells the peer that no more comes; errors are ignored
  virtual tcp::socket& socket() = 0;
  virtual Watchdog& watchdog() = 0;
  virtual PeerIdentity identity() { return {}; }

  void reading_within(std::chrono::milliseconds limit) {
    watchdog().reading_until(std::chrono::steady_clock::now() + limit);
  }
  Task<> write(std::string_view bytes) { return write(Pieces{asio::buffer(bytes)}); }
  std::chrono::milliseconds write_timeout{60'000};  // longest stall of the peer while we write
  void cancel();                                    // pending operations fail
  void abandon();                                   // later ones too
  void check_reading();                             // throws timeout when the reader's deadline has passed
};

std::unique_ptr<Transport> plain_transport(tcp::socket socket);
// Not usable before its handshake.
struct ClientName {
  std::string server_name;  // expected of the certificate; a DNS name is also sent as SNI
  bool verify = true;
};
Task<std::unique_ptr<Transport>> tls_server_transport(tcp::socket socket, std::shared_ptr<asio::ssl::context> context,
                                                      std::chrono::milliseconds limit);
Task<std::unique_ptr<Transport>> tls_client_transport(tcp::socket socket, std::shared_ptr<asio::ssl::context> context,
                                                      ClientName name, SteadyTime deadline);

// What to throw for `code` from an operation of a coroutine: its cancellation, its deadline, or a broken connection.
[[noreturn]] void throw_failure(const boost::system::error_code& code, asio::cancellation_state cancellation,
                                const Watchdog& watchdog);

}  // namespace workflow::http
