#include "lib/s3/presigned.h"

#include <unistd.h>

#include <cerrno>
#include <functional>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/s3/file_reader.h"

namespace workflow::s3 {
namespace {

using namespace std::chrono_literals;

constexpr int attempts = 6;
constexpr auto silence = 60s;

void write_all(const Fd& to, std::string_view bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(to.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw Error(ErrorKind::internal, "what is downloaded cannot be kept: the disk may be full");
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void check(int status) {
  if (status / 100 == 2) return;
  const auto text = "the object store answers " + std::to_string(status);
  if (status == 404) throw Error(ErrorKind::not_found, text);
  if (status == 403) throw Error(ErrorKind::forbidden, text);
  if (status >= 500 || status == 429) throw Error(ErrorKind::unavailable, text);
  throw Error(ErrorKind::invalid, text);
}

Task<> patiently(std::function<Task<>()> attempt) {
  auto pause = 200ms;
  for (int number = 1;; ++number) {
    try {
      co_await attempt();
      co_return;
    } catch (const Error& error) {
      const bool temporary = error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout;
      if (!temporary || number == attempts) throw;
    }
    co_await sleep_for(pause);
    pause *= 2;
  }
}

Task<> download_once(http::Client& client, http::Url url, const Fd& to) {
  if (::ftruncate(to.get(), 0) != 0 || ::lseek(to.get(), 0, SEEK_SET) != 0) {
    throw Error(ErrorKind::internal, "a file for what is downloaded cannot be used");
  }
  auto response = co_await client.send({.url = std::move(url), .timeout = silence});
  check(response.status);
  for (;;) {
    auto next = response.body->read();
    const auto piece = co_await with_deadline(silence, "the object store stopped sending", std::move(next));
    if (piece.empty()) break;
    write_all(to, piece);
  }
  ::lseek(to.get(), 0, SEEK_SET);
}

Task<> upload_once(http::Client& client, http::ClientRequest request) {
  auto response = co_await client.send(std::move(request));
  co_await response.text();
  check(response.status);
}

}  // namespace

Task<> download(http::Client& client, http::Url url, const Fd& to) {
  co_await patiently([&] { return download_once(client, url, to); });
}

Task<> upload(http::Client& client, http::Url url, std::shared_ptr<Fd> from) {
  const auto size = size_of_file(*from);
  co_await patiently([&]() -> Task<> {
    http::ClientRequest request{.method = "PUT", .url = url, .timeout = silence};
    request.body = std::make_shared<FileReader>(from, 0, size);
    return upload_once(client, std::move(request));
  });
}

Task<> upload(http::Client& client, http::Url url, std::string text) {
  const auto sum = to_base64(md5(text));
  co_await patiently([&]() -> Task<> {
    http::ClientRequest request{.method = "PUT", .url = url, .timeout = silence};
    request.headers.set("Content-MD5", sum);
    request.body = text;
    return upload_once(client, std::move(request));
  });
}

}  // namespace workflow::s3
