#include "lib/http/resolve.h"

#include <ares.h>
#include <netdb.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <map>
#include <mutex>

#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::http {

namespace {

using asio::ip::tcp;
using asio::posix::stream_descriptor;

// A second name server is asked while the caller still waits.
constexpr int answer_within_ms = 1500, tries = 3;
constexpr int most_at_once = 500;
thread_local int under_way = 0;

bool is_this_machine(std::string_view host) {
  if (host.ends_with('.')) host.remove_suffix(1);
  const auto name = lower(host);
  return name == "localhost" || name.ends_with(".localhost");
}

// One name, with a channel of c-ares for it alone. Callbacks reach it only as long as it is there.
class Lookup : public std::enable_shared_from_this<Lookup> {
 public:
  explicit Lookup(const Executor& executor) : executor_(executor), timer_(executor), answered_(executor) {
    if (under_way >= most_at_once) throw Error{ErrorKind::unavailable, "too many names are being looked up at once"};
    static std::once_flag once;
    std::call_once(once, [] { ares_library_init(ARES_LIB_INIT_ALL); });
    ares_options options{};
    options.timeout = answer_within_ms;
    options.tries = tries;
    options.sock_state_cb = [](void* self, ares_socket_t socket, int readable, int writable) {
      static_cast<Lookup*>(self)->watch(socket, {.read = readable != 0, .write = writable != 0});
    };
    options.sock_state_cb_data = this;
    const int status =
        ares_init_options(&channel_, &options, ARES_OPT_SOCK_STATE_CB | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES);
    if (status != ARES_SUCCESS) {
      throw Error{ErrorKind::unavailable, std::string("names cannot be looked up: ") + ares_strerror(status)};
    }
    ++under_way;
  }
  ~Lookup() {
    ares_destroy(channel_);
    --under_way;
  }
  Lookup(const Lookup&) = delete;
  Lookup& operator=(const Lookup&) = delete;

  Task<std::vector<tcp::endpoint>> run(const std::string& host, std::uint16_t port) {
    ares_addrinfo_hints hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    auto answered = [](void* self, int status, int, ares_addrinfo* found) {
      static_cast<Lookup*>(self)->take(status, found);
    };
    ares_getaddrinfo(channel_, host.c_str(), nullptr, &hints, answered, this);
    set_timer();
    while (!status_) co_await answered_.wait(answered_.version());
    if (*status_ != ARES_SUCCESS || addresses_.empty()) {
      throw Error{ErrorKind::unavailable, "cannot resolve the name " + host + ": " +
                                              ares_strerror(*status_ == ARES_SUCCESS ? ARES_ENODATA : *status_)};
    }
    std::vector<tcp::endpoint> endpoints;
    for (const auto& address : addresses_) endpoints.emplace_back(address, port);
    co_return endpoints;
  }

 private:
  struct Wants {
    bool read = false, write = false;
  };
  struct Socket {
    explicit Socket(const Executor& executor, int fd) : descriptor(executor, fd) {}
    ~Socket() { release(); }
    void release() {  // c-ares closes it
      if (descriptor.is_open()) descriptor.release();
    }
    stream_descriptor descriptor;
    Wants wants;
    bool waits_read = false, waits_write = false;
  };

  void take(int status, ares_addrinfo* found) {
    for (auto* node = found ? found->nodes : nullptr; node != nullptr; node = node->ai_next) {
      if (node->ai_family == AF_INET) {
        const auto* in = reinterpret_cast<const sockaddr_in*>(node->ai_addr);
        addresses_.push_back(asio::ip::address_v4(ntohl(in->sin_addr.s_addr)));
      } else if (node->ai_family == AF_INET6) {
        const auto* in = reinterpret_cast<const sockaddr_in6*>(node->ai_addr);
        asio::ip::address_v6::bytes_type bytes;
        std::copy(std::begin(in->sin6_addr.s6_addr), std::end(in->sin6_addr.s6_addr), bytes.begin());
        addresses_.push_back(asio::ip::address_v6(bytes, in->sin6_scope_id));
      }
    }
    if (found) ares_freeaddrinfo(found);
    status_ = status;
    answered_.notify_all();
  }

  void watch(int fd, Wants wants) {
    if (!wants.read && !wants.write) {
      if (const auto done = sockets_.extract(fd)) done.mapped()->release();  // now: the number may come again at once
      return;
    }
    auto& socket = sockets_[fd];
    if (!socket) socket = std::make_shared<Socket>(executor_, fd);
    socket->wants = wants;
    wait_for(fd, socket);
  }

  void wait_for(int fd, const std::shared_ptr<Socket>& socket) {
    auto wait = [&](stream_descriptor::wait_type type, bool& waits) {
      waits = true;
      auto ready = [its = weak_from_this(), here = std::weak_ptr(socket), fd, &waits,
                    type](const boost::system::error_code&) {
        const auto self = its.lock();
        const auto same = here.lock();
        if (!self || !same) return;
        waits = false;
        const bool reads = type == stream_descriptor::wait_read;
        ares_process_fd(self->channel_, reads ? fd : ARES_SOCKET_BAD, reads ? ARES_SOCKET_BAD : fd);
        const auto still = self->sockets_.find(fd);
        if (still != self->sockets_.end() && still->second == same) self->wait_for(fd, same);
        self->set_timer();
      };
      socket->descriptor.async_wait(type, std::move(ready));
    };
    if (socket->wants.read && !socket->waits_read) wait(stream_descriptor::wait_read, socket->waits_read);
    if (socket->wants.write && !socket->waits_write) wait(stream_descriptor::wait_write, socket->waits_write);
  }

  void set_timer() {
    timeval left{};
    if (status_ || ares_timeout(channel_, nullptr, &left) == nullptr) return;
    timer_.expires_after(std::chrono::seconds(left.tv_sec) + std::chrono::microseconds(left.tv_usec));
    timer_.async_wait([its = weak_from_this()](const boost::system::error_code& stopped) {
      const auto self = its.lock();
      if (stopped || !self) return;
      ares_process_fd(self->channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      self->set_timer();
    });
  }

  Executor executor_;
  asio::steady_timer timer_;
  Notifier answered_;
  ares_channel channel_ = nullptr;
  std::map<int, std::shared_ptr<Socket>> sockets_;
  std::vector<asio::ip::address> addresses_;
  std::optional<int> status_;
};

}  // namespace

Task<std::vector<tcp::endpoint>> resolve(std::string host, std::uint16_t port) {
  boost::system::error_code not_an_address;
  const auto address = asio::ip::make_address(host, not_an_address);
  if (!not_an_address) co_return std::vector{tcp::endpoint(address, port)};
  if (is_this_machine(host)) {
    // IPv4 first: what the platform serves on [::1] the engine's own process forwards, and an upgrade of it ends that.
    co_return std::vector{tcp::endpoint(asio::ip::address_v4::loopback(), port),
                          tcp::endpoint(asio::ip::address_v6::loopback(), port)};
  }
  const auto lookup = std::make_shared<Lookup>(co_await asio::this_coro::executor);
  co_return co_await lookup->run(host, port);
}

}  // namespace workflow::http
