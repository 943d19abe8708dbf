#include "objectstore/payload.h"

#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "objectstore/checksums.h"
#include "objectstore/s3_error.h"

namespace workflow::objectstore {

namespace {

constexpr std::size_t batch_size = 512u << 10;
constexpr std::string_view checksum_prefix = "x-amz-checksum-";

// What the request's head says of the body.
struct Promise {
  std::optional<std::string> sha256_hex, md5_base64;
  std::optional<std::uint64_t> length;
  std::string checksum_name, checksum_value;  // value "": comes in the trailer
};

Promise promise_of(const http::Request& request) {
  Promise promise;
  const auto& headers = request.headers;
  const auto hash = headers.get("X-Amz-Content-Sha256");
  if (hash.size() == 64) promise.sha256_hex = lower(hash);
  promise.md5_base64 = headers.find("Content-MD5");
  if (promise.md5_base64 && from_base64(*promise.md5_base64).value_or("").size() != 16) {
    throw S3Error{400, "InvalidDigest", "The Content-MD5 you specified is not valid."};
  }
  if (const auto decoded = headers.find("X-Amz-Decoded-Content-Length")) {
    const auto length = parse_integer(*decoded);
    if (!length || *length < 0) throw invalid_argument("X-Amz-Decoded-Content-Length is not a number.");
    promise.length = static_cast<std::uint64_t>(*length);
  }
  for (const auto& [name, value] : headers) {
    const auto lowered = lower(name);
    if (!lowered.starts_with(checksum_prefix)) continue;
    const auto algorithm = lowered.substr(checksum_prefix.size());
    if (algorithm == "algorithm" || algorithm == "mode" || algorithm == "type") continue;
    promise.checksum_name = algorithm;
    promise.checksum_value = value;
  }
  const auto trailer = lower(trim(headers.get("X-Amz-Trailer")));
  if (trailer.starts_with(checksum_prefix)) promise.checksum_name = trailer.substr(checksum_prefix.size());
  return promise;
}

// The side of an upload that runs on the pool.
class Incoming {
 public:
  Incoming(Promise promise, std::optional<s3::Verified::Streaming> streaming, std::unique_ptr<ObjectWriter> file)
      : promise_(std::move(promise)), file_(std::move(file)) {
    if (streaming) decoder_.emplace(std::move(*streaming));
    if (!promise_.checksum_name.empty()) {
      checksum_ = Checksum::of(promise_.checksum_name);
      if (!checksum_) throw invalid_request("Unknown checksum algorithm: " + promise_.checksum_name);
    }
    if (promise_.md5_base64) md5_.emplace(DigestKind::md5);
    if (promise_.sha256_hex) sha256_.emplace(DigestKind::sha256);
  }

  void take(const std::string& bytes) {
    if (!decoder_) return store(bytes);
    std::string decoded;
    const bool sound = decoder_->feed(bytes, decoded);
    if (!sound && decoder_->error().find("signature") != std::string::npos) {
      throw S3Error{403, "SignatureDoesNotMatch", "The upload is not what was signed: " + decoder_->error() + "."};
    }
    if (!sound) throw invalid_request("The aws-chunked body is malformed: " + decoder_->error() + ".");
    store(decoded);
  }

  std::string finish(const OnReceived& done) {
    if (decoder_ && !decoder_->finished()) throw incomplete();
    if (promise_.length && *promise_.length != file_->size()) throw incomplete();
    if (sha256_ && to_hex(sha256_->finish()) != *promise_.sha256_hex) {
      throw S3Error{400, "XAmzContentSHA256Mismatch",
                    "The provided x-amz-content-sha256 does not match what was computed."};
    }
    if (md5_ && to_base64(md5_->finish()) != *promise_.md5_base64) {
      throw S3Error{400, "BadDigest", "The Content-MD5 you specified did not match what we received."};
    }
    ExtraHeaders kept;
    if (checksum_) {
      const std::string name = std::string(checksum_prefix) + promise_.checksum_name;
      if (decoder_ && decoder_->trailers().contains(name)) promise_.checksum_value = decoder_->trailers().at(name);
      const auto computed = checksum_->base64();
      if (computed != promise_.checksum_value) {
        throw S3Error{400, "BadDigest", "The " + name + " you specified did not match what we received."};
      }
      kept.emplace_back(name, computed);
    }
    return done(std::move(file_), std::move(kept));
  }

 private:
  static S3Error incomplete() {
    return {400, "IncompleteBody", "You did not provide the number of bytes that the length header announces."};
  }
  void store(const std::string& bytes) {
    if (md5_) md5_->update(bytes);
    if (sha256_) sha256_->update(bytes);
    if (checksum_) checksum_->update(bytes);
    file_->append(bytes);
  }
  Promise promise_;
  std::unique_ptr<ObjectWriter> file_;
  std::optional<s3::ChunkDecoder> decoder_;
  std::unique_ptr<Checksum> checksum_;
  std::optional<Digest> md5_, sha256_;
};

Task<std::string> read_batch(http::BodyReader& body) {
  std::string batch;
  while (batch.size() < batch_size) {
    const auto piece = co_await body.read();
    if (piece.empty()) break;
    batch += piece;
  }
  co_return batch;
}

// Takes batches to the pool, one after the other, until the channel ends. A failure ends the channel, so that the
// receiving side stops as well.
Task<> take_all(Channel<std::string>& batches, std::shared_ptr<Incoming> incoming, std::exception_ptr& failure) {
  try {
    while (auto batch = co_await batches.pop()) {
      co_await offload([incoming, bytes = std::move(*batch)] { incoming->take(bytes); });
    }
  } catch (...) {
    failure = std::current_exception();
  }
  batches.close();
}

Task<> send_all(Channel<std::string>& batches, http::BodyReader& body, TaskGroup& group) {
  for (;;) {
    auto batch = co_await read_batch(body);
    if (batch.empty() || !co_await batches.push(std::move(batch))) break;
  }
  batches.close();
  co_await group.join();
}

}  // namespace

Task<std::string> receive(http::Request& request, s3::Verified verified, Store& store, OnReceived done) {
  auto promise = promise_of(request);
  auto body = request.body;
  auto first = co_await read_batch(*body);
  const bool whole = first.size() < batch_size;
  auto begin = [&store, promise = std::move(promise), streaming = std::move(verified.streaming),
                first = std::move(first), whole, &done]() mutable {
    auto incoming = std::make_shared<Incoming>(std::move(promise), std::move(streaming), store.new_file());
    incoming->take(first);
    std::string result = whole ? incoming->finish(done) : "";
    return std::pair(std::move(incoming), std::move(result));
  };
  auto begun = co_await offload(std::move(begin));
  if (whole) co_return std::move(begun.second);

  auto executor = co_await asio::this_coro::executor;
  Channel<std::string> batches(executor, 3);
  std::exception_ptr failure;
  TaskGroup group(executor);
  auto incoming = std::move(begun.first);
  group.spawn("write an upload", take_all(batches, incoming, failure));
  co_await with_cleanup(send_all(batches, *body, group), [&group] { return group.stop(); });
  if (failure) std::rethrow_exception(failure);
  co_return co_await offload([incoming, &done] { return incoming->finish(done); });
}

}  // namespace workflow::objectstore
