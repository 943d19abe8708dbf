#include "lib/http/transport.h"

#include <sys/sendfile.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/system/system_error.hpp>
#include <cerrno>

#include "lib/base/error.h"

namespace workflow::http {

namespace {

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t file_piece = 1u << 20;

class PlainTransport : public Transport {
 public:
  explicit PlainTransport(tcp::socket socket)
      : socket_(std::move(socket)),
        watchdog_(std::make_shared<Watchdog>(socket_.get_executor(), [this] { cancel(); })) {
    boost::system::error_code ignored;
    socket_.non_blocking(true, ignored);
  }
  ~PlainTransport() override { watchdog_->stop(); }

  Task<std::size_t> read_some(asio::mutable_buffer into) override {
    check_reading();
    if (ended_) co_return 0;
    const auto [error, size] = co_await socket_.async_read_some(into, quietly);
    if (error == asio::error::eof) {
      ended_ = true;
      co_return 0;
    }
    if (error) throw_failure(error, co_await asio::this_coro::cancellation_state, *watchdog_);
    co_return size;
  }

  Task<> write(Pieces pieces) override {
    std::size_t left = asio::buffer_size(pieces);
    while (left > 0) {
      watchdog_->writing_until(std::chrono::steady_clock::now() + write_timeout);
      const auto [error, size] = co_await socket_.async_write_some(pieces, quietly);
      if (error) throw_failure(error, co_await asio::this_coro::cancellation_state, *watchdog_);
      left -= size;
      std::size_t done = size;
      for (auto& piece : pieces) {
        const auto step = std::min(done, piece.size());
        piece += step;
        done -= step;
      }
    }
    watchdog_->writing_until(never);
  }

  Task<> write_file(int fd, std::uint64_t offset, std::uint64_t length) override {
    auto position = static_cast<off_t>(offset);
    while (length > 0) {
      const auto sent = ::sendfile(socket_.native_handle(), fd, &position, std::min<std::uint64_t>(length, file_piece));
      if (sent > 0) {
        length -= static_cast<std::uint64_t>(sent);
        continue;
      }
      if (sent == 0) throw Error{ErrorKind::internal, "the file is shorter than announced"};
      if (errno == EINTR) continue;
      if (errno != EAGAIN) {
        const boost::system::error_code code(errno, boost::system::system_category());
        throw_failure(code, co_await asio::this_coro::cancellation_state, *watchdog_);
      }
      watchdog_->writing_until(std::chrono::steady_clock::now() + write_timeout);
      const auto [error] = co_await socket_.async_wait(tcp::socket::wait_write, quietly);
      if (error) throw_failure(error, co_await asio::this_coro::cancellation_state, *watchdog_);
    }
    watchdog_->writing_until(never);
  }

  Task<> end_writing() override {
    boost::system::error_code ignored;
    socket_.shutdown(tcp::socket::shutdown_send, ignored);
    co_return;
  }

  tcp::socket& socket() override { return socket_; }
  Watchdog& watchdog() override { return *watchdog_; }

 private:
  tcp::socket socket_;
  std::shared_ptr<Watchdog> watchdog_;
  bool ended_ = false;  // asked again after its end, a socket would wait for an event that came already
};

}  // namespace

void Watchdog::reading_until(SteadyTime deadline) {
  reading_ = deadline;
  reading_expired_ = false;
  if (deadline < armed_) arm();
}

void Watchdog::writing_until(SteadyTime deadline) {
  writing_ = deadline;
  writing_expired_ = false;
  if (deadline < armed_) arm();
}

void Watchdog::stop() {
  cancel_ = nullptr;
  timer_.cancel();
}

void Watchdog::arm() {
  armed_ = std::min(reading_, writing_);
  if (armed_ == never) return;
  timer_.expires_at(armed_);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& stopped) {
    if (!stopped) self->ring();
  });
}

void Watchdog::ring() {
  if (!cancel_) return;
  const auto now = std::chrono::steady_clock::now();
  const bool reader = reading_ <= now, writer = writing_ <= now;
  if (reader) {
    reading_ = never;
    reading_expired_ = true;
  }
  if (writer) {
    writing_ = never;
    writing_expired_ = true;
  }
  arm();
  if (reader || writer) cancel_();
}

void Transport::cancel() {
  boost::system::error_code ignored;
  socket().cancel(ignored);
}

void Transport::abandon() {
  boost::system::error_code ignored;
  socket().shutdown(tcp::socket::shutdown_both, ignored);
  cancel();
}

void Transport::check_reading() {
  if (watchdog().reading_expired()) throw Error{ErrorKind::timeout, "the peer was silent for too long"};
}

std::unique_ptr<Transport> plain_transport(tcp::socket socket) {
  return std::make_unique<PlainTransport>(std::move(socket));
}

void throw_failure(const boost::system::error_code& code, asio::cancellation_state cancellation,
                   const Watchdog& watchdog) {
  if (cancellation.cancelled() != asio::cancellation_type::none) {
    throw boost::system::system_error(asio::error::operation_aborted);
  }
  if (watchdog.expired()) throw Error{ErrorKind::timeout, "the peer was silent for too long"};
  throw Error{ErrorKind::unavailable, "the connection broke"}.with_detail(code.message());
}

}  // namespace workflow::http
