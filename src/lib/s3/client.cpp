#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/s3/error.h"
#include "lib/s3/file_reader.h"
#include "lib/s3/s3.h"
#include "lib/s3/xml.h"

namespace workflow::s3 {

using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t multipart_threshold = 64u << 20;
constexpr std::uint64_t smallest_part = 32u << 20;
constexpr std::size_t stream_part = 8u << 20;  // kept in memory, up to three at a time
constexpr std::uint64_t most_parts = 9'000;    // S3 allows 10,000
constexpr auto request_timeout = 60s;          // of silence
constexpr int attempts = 4;
constexpr std::size_t answer_limit = 16u << 20;

struct Call {
  std::string method, bucket, key, query;
  http::Headers headers{};
  std::string payload_hash = to_hex(sha256(""));
  std::string text{};
  std::function<std::shared_ptr<http::BodyReader>()> reader{};  // a new one for each attempt

  std::string what() const { return method + " " + bucket + (key.empty() ? "" : "/" + key); }
};

std::string etag_of(const http::Headers& headers) {
  auto etag = headers.get("ETag");
  std::erase(etag, '"');
  return etag;
}

std::shared_ptr<Fd> open_file(const std::string& path) {
  auto fd = std::make_shared<Fd>(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!*fd) throw Error{ErrorKind::not_found, "cannot open " + path + ": " + std::strerror(errno)};
  return fd;
}

// As much as makes a part; less only at the end.
Task<std::string> read_part(std::function<Task<std::string>()>& read) {
  std::string part;
  while (part.size() < stream_part) {
    const auto piece = co_await read();
    if (piece.empty()) break;
    part += piece;
  }
  co_return part;
}

ObjectInfo object_from(const XmlElement& contents) {
  ObjectInfo info;
  info.key = contents.text_of("Key");
  info.size = static_cast<std::uint64_t>(parse_integer(contents.text_of("Size")).value_or(0));
  info.etag = contents.text_of("ETag");
  std::erase(info.etag, '"');
  info.modified = parse_rfc3339(contents.text_of("LastModified")).value_or(Time{});
  return info;
}

}  // namespace

struct Client::State {
  State(Executor executor, Endpoint e, Clock& c) : endpoint(std::move(e)), clock(c), http(std::move(executor)) {}

  http::Url url_of(const Call& call) const {
    http::Url url = endpoint.url;
    std::string path = "/";
    if (!endpoint.path_style && !call.bucket.empty())
      url.host = call.bucket + "." + url.host;
    else
      path += call.bucket + (call.key.empty() ? "" : "/");
    url.path = path + percent_encode(call.key, "/");
    url.query = call.query;
    return url;
  }

  Task<http::ClientResponse> send_once(const Call& call) {
    const auto now = clock.now();
    http::ClientRequest request{.method = call.method, .url = url_of(call), .headers = call.headers};
    request.headers.set("Host", request.url.authority());
    request.headers.set("X-Amz-Date", basic_iso8601(now));
    request.headers.set("X-Amz-Content-Sha256", call.payload_hash);
    const SignInput input{.method = call.method,
                          .raw_path = request.url.path,
                          .raw_query = request.url.query,
                          .headers = request.headers,
                          .payload_hash = call.payload_hash};
    request.headers.set("Authorization", authorization(input, endpoint.credentials, endpoint.region, now));
    request.timeout = request_timeout;
    if (call.reader)
      request.body = call.reader();
    else
      request.body = call.text;
    co_return co_await http.send(std::move(request));
  }

  // Every call of ours may be repeated: uploads are whole objects or numbered parts.
  Task<http::ClientResponse> send(Call call) {
    for (int attempt = 1;; ++attempt) {
      std::exception_ptr failure;
      try {
        auto response = co_await send_once(call);
        const bool busy = response.status == 500 || response.status == 502 || response.status == 503;
        if (!busy || attempt == attempts) co_return response;
      } catch (const Error& error) {
        const bool temporary = error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout;
        if (!temporary || attempt == attempts) throw;
      }
      co_await sleep_for(100ms * (1 << (2 * (attempt - 1))));  // 0.1, 0.4, 1.6 s
    }
  }

  // For calls whose answer must be 2xx; returns its text.
  Task<std::pair<std::string, http::Headers>> ask(Call call) {
    const std::string what = call.what();
    auto response = co_await send(std::move(call));
    std::string text = co_await response.text(answer_limit);
    if (response.status / 100 != 2) throw error_from(response.status, text, what);
    co_return std::pair(std::move(text), std::move(response.headers));
  }

  Task<> put_part_of_file(Call call, std::shared_ptr<Fd> fd, std::uint64_t offset, std::uint64_t length,
                          std::string* etag) {
    call.payload_hash = to_hex(co_await offload([fd, offset, length] { return sha256_of_part(*fd, offset, length); }));
    call.reader = [fd, offset, length] { return std::make_shared<FileReader>(fd, offset, length); };
    const auto answer = co_await ask(std::move(call));
    if (etag != nullptr) *etag = etag_of(answer.second);
  }

  Task<> put_text(Call call, std::string text, std::string* etag) {
    auto bytes = std::make_shared<std::string>(std::move(text));
    call.payload_hash = to_hex(co_await offload([bytes] { return sha256(*bytes); }));
    call.text = std::move(*bytes);
    const auto answer = co_await ask(std::move(call));
    if (etag != nullptr) *etag = etag_of(answer.second);
  }

  // A multipart upload. `put_parts` sends the parts in order, through the Call and to the etag that `part` gives it.
  struct Parts {
    std::string bucket, key, upload;
    XmlWriter list{"CompleteMultipartUpload"};
    int number = 0;

    Call next() {
      ++number;
      Call call{.method = "PUT", .bucket = bucket, .key = key};
      call.query = "partNumber=" + std::to_string(number) + "&uploadId=" + percent_encode(upload);
      return call;
    }
    void sent(const std::string& etag) {
      list.open("Part").text("PartNumber", std::to_string(number)).text("ETag", "\"" + etag + "\"").close();
    }
  };

  Task<> complete(Parts& parts) {
    Call call{.method = "POST",
              .bucket = parts.bucket,
              .key = parts.key,
              .query = "uploadId=" + percent_encode(parts.upload)};
    call.text = parts.list.finish();
    call.payload_hash = to_hex(sha256(call.text));
    const auto answer = co_await ask(call);
    // The status is sent before the work is done, so an error can come in a 200 (CompleteMultipartUpload, API
    // reference).
    const auto document = parse_xml(answer.first);
    if (!document || document->name == "Error") throw error_from(500, answer.first, call.what());
  }

  Task<> put_in_parts(std::string bucket, std::string key, std::function<Task<>(Parts&)> put_parts) {
    const auto begun = co_await ask({.method = "POST", .bucket = bucket, .key = key, .query = "uploads="});
    const auto document = parse_xml(begun.first);
    Parts parts{.bucket = bucket, .key = key, .upload = document ? document->text_of("UploadId") : ""};
    if (parts.upload.empty()) throw Error{ErrorKind::unavailable, "object storage: no upload id in the answer"};
    std::exception_ptr failure;
    try {
      co_await put_parts(parts);
      co_await complete(parts);
    } catch (...) {
      failure = std::current_exception();
    }
    if (!failure) co_return;
    co_await keep_waiting();
    try {
      // What was sent would otherwise take up space, unseen.
      Call abort{.method = "DELETE", .bucket = bucket, .key = key, .query = "uploadId=" + percent_encode(parts.upload)};
      co_await with_deadline(10s, "", ask(std::move(abort)));
    } catch (...) {
      // The failure of the upload itself says more.
    }
    std::rethrow_exception(failure);
  }

  std::string presigned(const std::string& method, const std::string& bucket, const std::string& key,
                        std::chrono::seconds expires) const {
    const auto url = url_of({.method = method, .bucket = bucket, .key = key, .query = ""});
    return presign(method, url, endpoint.credentials, endpoint.region, clock.now(), expires);
  }

  Endpoint endpoint;
  Clock& clock;
  http::Client http;
};

Client::Client(Executor executor, Endpoint endpoint, Clock& clock)
    : state_(std::make_unique<State>(std::move(executor), std::move(endpoint), clock)) {}

Client::~Client() = default;

Task<> Client::create_bucket(std::string bucket) {
  Call call{.method = "PUT", .bucket = bucket};
  if (state_->endpoint.region != "us-east-1") {
    call.text = XmlWriter("CreateBucketConfiguration").text("LocationConstraint", state_->endpoint.region).finish();
    call.payload_hash = to_hex(sha256(call.text));
  }
  auto response = co_await state_->send(call);
  const auto text = co_await response.text(answer_limit);
  const auto document = parse_xml(text);
  const bool ours = response.status == 409 && document && document->text_of("Code") == "BucketAlreadyOwnedByYou";
  if (response.status / 100 != 2 && !ours) throw error_from(response.status, text, call.what());
}

Task<> Client::put(std::string bucket, std::string key, std::string bytes) {
  Call call{.method = "PUT", .bucket = std::move(bucket), .key = std::move(key)};
  call.payload_hash = to_hex(sha256(bytes));
  call.text = std::move(bytes);
  co_await state_->ask(std::move(call));
}

Task<> Client::put_file(std::string bucket, std::string key, std::string path) {
  auto fd = open_file(path);
  const auto size = size_of_file(*fd);
  if (size <= multipart_threshold) {
    Call call{.method = "PUT", .bucket = bucket, .key = key};
    co_await state_->put_part_of_file(std::move(call), fd, 0, size, nullptr);
    co_return;
  }
  co_await state_->put_in_parts(bucket, key, [this, fd, size](State::Parts& parts) -> Task<> {
    const auto part_size = std::max(smallest_part, size / most_parts + 1);
    for (std::uint64_t offset = 0; offset < size; offset += part_size) {
      std::string etag;
      co_await state_->put_part_of_file(parts.next(), fd, offset, std::min(part_size, size - offset), &etag);
      parts.sent(etag);
    }
  });
}

Task<> Client::put_stream(std::string bucket, std::string key, std::function<Task<std::string>()> read) {
  auto first = co_await read_part(read);
  if (first.size() < stream_part) {
    co_await state_->put_text({.method = "PUT", .bucket = bucket, .key = key}, std::move(first), nullptr);
    co_return;
  }
  co_await state_->put_in_parts(bucket, key, [this, &read, &first](State::Parts& parts) -> Task<> {
    // The next part is made while this one is sent.
    const auto executor = co_await asio::this_coro::executor;
    Channel<std::string> made(executor, 1);
    TaskGroup making(executor);
    std::exception_ptr failure;
    auto make = [&]() -> Task<> {
      try {
        for (auto part = std::move(first); !part.empty(); part = co_await read_part(read)) {
          if (!co_await made.push(std::move(part))) break;
        }
      } catch (...) {
        failure = std::current_exception();
      }
      made.close();
    };
    making.spawn("read what is uploaded", make());
    auto send = [&]() -> Task<> {
      while (auto part = co_await made.pop()) {
        std::string etag;
        co_await state_->put_text(parts.next(), *std::move(part), &etag);
        parts.sent(etag);
      }
    };
    co_await with_cleanup(send(), [&making] { return making.stop(); });
    if (failure) std::rethrow_exception(failure);
  });
}

Task<std::string> Client::get(std::string bucket, std::string key, std::size_t limit) {
  Call call{.method = "GET", .bucket = std::move(bucket), .key = std::move(key)};
  auto response = co_await state_->send(call);
  const auto text = co_await response.text(limit);
  if (response.status / 100 != 2) throw error_from(response.status, text, call.what());
  co_return text;
}

Task<std::shared_ptr<http::BodyReader>> Client::get_stream(std::string bucket, std::string key) {
  Call call{.method = "GET", .bucket = std::move(bucket), .key = std::move(key)};
  auto response = co_await state_->send(call);
  if (response.status / 100 != 2) throw error_from(response.status, co_await response.text(answer_limit), call.what());
  co_return response.body;
}

Task<std::optional<ObjectInfo>> Client::head(std::string bucket, std::string key) {
  Call call{.method = "HEAD", .bucket = std::move(bucket), .key = key};
  auto response = co_await state_->send(call);
  if (response.status == 404) co_return std::nullopt;
  if (response.status / 100 != 2) throw error_from(response.status, "", call.what());
  ObjectInfo info{.key = std::move(key)};
  info.size = static_cast<std::uint64_t>(parse_integer(response.headers.get("Content-Length")).value_or(0));
  info.etag = etag_of(response.headers);
  info.modified = parse_http_date(response.headers.get("Last-Modified")).value_or(Time{});
  co_return info;
}

Task<> Client::remove(std::string bucket, std::string key) {
  co_await state_->ask({.method = "DELETE", .bucket = std::move(bucket), .key = std::move(key)});
}

Task<std::vector<ObjectInfo>> Client::list(std::string bucket, std::string prefix) {
  std::vector<ObjectInfo> objects;
  std::string token;
  do {
    Call call{.method = "GET", .bucket = bucket};
    call.query = "list-type=2&prefix=" + percent_encode(prefix);
    if (!token.empty()) call.query += "&continuation-token=" + percent_encode(token);
    const auto answer = co_await state_->ask(call);
    const auto document = parse_xml(answer.first);
    if (!document) throw Error{ErrorKind::unavailable, "object storage: a malformed listing of " + bucket};
    for (const auto* contents : document->all("Contents")) objects.push_back(object_from(*contents));
    token = document->text_of("IsTruncated") == "true" ? document->text_of("NextContinuationToken") : "";
  } while (!token.empty());
  co_return objects;
}

Endpoint Endpoint::from(Env& env) {
  Endpoint endpoint;
  const auto text = env.required("S3_ENDPOINT");
  if (const auto url = http::Url::parse(text))
    endpoint.url = *url;
  else if (!text.empty())
    env.problem("S3_ENDPOINT", "must be a URL such as http://deis-objectstore.deis:9000, not \"" + text + "\"");
  endpoint.region = env.text("S3_REGION", "us-east-1");
  endpoint.credentials = {env.secret_or_file("S3_ACCESS_KEY").reveal(), env.secret_or_file("S3_SECRET_KEY")};
  return endpoint;
}

std::string Client::presigned_get(const std::string& bucket, const std::string& key,
                                  std::chrono::seconds expires) const {
  return state_->presigned("GET", bucket, key, expires);
}

std::string Client::presigned_put(const std::string& bucket, const std::string& key,
                                  std::chrono::seconds expires) const {
  return state_->presigned("PUT", bucket, key, expires);
}

}  // namespace workflow::s3
