#include "lib/async/bounded_log.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>
#include <system_error>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow {

using namespace std::chrono_literals;

namespace {

Error failure(const char* what, const std::filesystem::path& file) {
  return {ErrorKind::unavailable,
          std::string("cannot ") + what + " " + file.string() + ": " + std::generic_category().message(errno)};
}

bool copy(int from, int to) {
  for (;;) {
    const auto copied = ::sendfile(to, from, nullptr, 1u << 20);
    if (copied < 0 && errno != EINTR) return false;
    if (copied == 0) return true;
  }
}

void change(const std::filesystem::path& file, std::uint64_t most) {
  const Fd log(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  struct stat info{};
  if (!log || ::fstat(log.get(), &info) != 0) throw failure("open", file);
  if (static_cast<std::uint64_t>(info.st_size) <= most) return;
  const auto old = file.string() + ".1";
  ::unlink(old.c_str());  // first: a full disk has room for one of the two
  const Fd kept(::open(old.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  const bool copied = kept && copy(log.get(), kept.get());
  if (::ftruncate(log.get(), 0) != 0) throw failure("shorten", file);
  if (!copied) ::unlink(old.c_str());
}

}  // namespace

Task<> bound_log(std::filesystem::path file, std::uint64_t most) {
  Fd inotify(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!inotify) throw failure("watch", file);
  asio::posix::stream_descriptor changes(co_await asio::this_coro::executor, inotify.release());
  char events[4096];
  for (;;) {
    // The watch comes before the look: what is written after the look is seen. The kernel makes one event of many.
    const bool watched = ::inotify_add_watch(changes.native_handle(), file.c_str(), IN_MODIFY) >= 0;
    if (!watched && errno != ENOENT) throw failure("watch", file);
    co_await offload([&file, most] { change(file, most); });  // makes it when it is not there
    if (!watched) continue;
    co_await changes.async_read_some(asio::buffer(events), asio::use_awaitable);
    co_await sleep_for(200ms);
  }
}

}  // namespace workflow
