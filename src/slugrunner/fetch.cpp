#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "lib/archive/archive.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/http/http.h"
#include "slugrunner/slugrunner.h"

namespace workflow::slugrunner {
namespace {

using namespace std::chrono_literals;

Fd temporary_file() {
  Fd fd(::open("/tmp", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
  if (!fd) throw Error(ErrorKind::internal, "cannot write to /tmp");
  return fd;
}

void write_all(const Fd& to, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(to.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw Error(ErrorKind::internal, "cannot write to /tmp: the disk may be full");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

// The URL never shows in a message: whoever has it has the slug.
void check(int status) {
  if (status == 200) return;
  if (status == 404)
    throw Error(ErrorKind::not_found, "the slug is not in the object store any more; push the app again");
  if (status == 403) throw Error(ErrorKind::forbidden, "the slug's URL is not valid any more; restart the app");
  throw Error(ErrorKind::unavailable, "the object store answers " + std::to_string(status));
}

Task<> download(http::Client& client, http::Url url, const Fd& to) {
  auto response = co_await client.send({.url = std::move(url), .timeout = 20s});
  check(response.status);
  for (;;) {
    auto next = response.body->read();
    const auto piece = co_await with_deadline(30s, "the object store stopped sending", std::move(next));
    if (piece.empty()) co_return;
    write_all(to, piece);
  }
}

bool worth_another_try(const Error& error) {
  return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout;
}

}  // namespace

Task<> fetch_slug(Executor executor, std::string url, std::filesystem::path folder) {
  const auto parsed = http::Url::parse(url);
  if (!parsed) throw Error(ErrorKind::invalid, "SLUG_URL is not a URL");
  http::Client client(executor);
  constexpr int attempts = 6;
  auto pause = 200ms;
  for (int attempt = 1;; ++attempt) {
    auto file = temporary_file();
    std::exception_ptr failure;
    try {
      co_await download(client, *parsed, file);
    } catch (const Error& error) {
      if (attempt == attempts || !worth_another_try(error)) throw;
      failure = std::current_exception();
    }
    if (!failure) {
      ::lseek(file.get(), 0, SEEK_SET);
      archive::extract_tar(file.get(), folder);
      co_return;
    }
    co_await sleep_for(pause);
    pause *= 2;
  }
}

}  // namespace workflow::slugrunner
