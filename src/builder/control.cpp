#include "builder/control.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "builder/client.h"
#include "lib/async/accept.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

namespace workflow::builder {
namespace {

using asio::posix::stream_descriptor;
using namespace std::chrono_literals;

Fd listen_at(const std::string& path, int uid) {
  auto fail = [&path](const char* what) {
    throw Error(ErrorKind::unavailable, std::string(what) + " " + path + ": " + std::generic_category().message(errno));
  };
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw Error(ErrorKind::invalid, "the path " + path + " is too long for a socket");
  path.copy(address.sun_path, path.size());
  ::unlink(path.c_str());
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const auto mask = ::umask(0177);
  const bool bound = fd && ::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  ::umask(mask);
  if (!bound) fail("cannot make the socket");
  if (::chown(path.c_str(), static_cast<uid_t>(uid), static_cast<gid_t>(-1)) != 0) fail("cannot give away the socket");
  if (::listen(fd.get(), 128) != 0) fail("cannot listen at");
  return fd;
}

// The one message of a connection. Fields are empty when it is not what client.cpp sends.
Call receive_call(int connection) {
  std::string bytes(longest_call, '\0');
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int[3]))> control{};
  iovec into{bytes.data(), bytes.size()};
  msghdr header{};
  header.msg_iov = &into;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  const auto size = ::recvmsg(connection, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  Call call;
  if (size <= 0) return call;
  Fd* const places[] = {&call.in, &call.out, &call.err};
  std::size_t count = 0;
  for (auto* rights = CMSG_FIRSTHDR(&header); rights; rights = CMSG_NXTHDR(&header, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = 0; at + sizeof(int) <= rights->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(rights) + at, sizeof fd);
      Fd owned(fd);
      if (count < std::size(places)) *places[count] = std::move(owned);
      ++count;
    }
  }
  const bool whole = !(header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && count == 3;
  if (whole) call.fields = parse_call({bytes.data(), static_cast<std::size_t>(size)});
  return call;
}

}  // namespace

ControlSocket::ControlSocket(Executor executor, std::string path, int uid, TaskGroup& calls, Handler handler)
    : executor_(executor),
      path_(std::move(path)),
      listener_(executor, listen_at(path_, uid).release()),
      calls_(calls),
      handler_(std::move(handler)) {}

ControlSocket::~ControlSocket() { ::unlink(path_.c_str()); }

Task<> ControlSocket::serve() {
  for (;;) {
    co_await listener_.async_wait(stream_descriptor::wait_read, asio::use_awaitable);
    Fd connection(::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection)
      calls_.spawn("call", with_request_id(random_hex(8), answer(std::move(connection))));
    else
      check_accepted({errno, boost::system::system_category()});
  }
}

Task<> ControlSocket::answer(Fd connection) {
  stream_descriptor peer(executor_, connection.release());
  auto asked = peer.async_wait(stream_descriptor::wait_read, asio::use_awaitable);
  co_await with_deadline(10s, "the caller said nothing", std::move(asked));
  auto call = receive_call(peer.native_handle());
  int status = 1;
  try {
    if (!call.fields.empty()) status = co_await handler_(std::move(call));
  } catch (...) {
    if (is_cancelled(std::current_exception())) throw;
    log::error("a call failed", kv("error", describe(std::current_exception())));
  }
  const auto byte = static_cast<unsigned char>(status);
  // Whoever called may be gone: then nobody misses the answer.
  ::send(peer.native_handle(), &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace workflow::builder
