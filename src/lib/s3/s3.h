// src/lib/s3/s3.h: AWS Signature Version 4, both ends, and an S3 client for any S3-compatible store.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/domain.h"
#include "lib/base/settings.h"
#include "lib/http/http.h"

namespace workflow::s3 {

struct Credentials {
  std::string access_key;
  Secret secret_key;
};

// What a signature covers. `headers` must hold Host and every header to sign.
struct SignInput {
  std::string method;
  std::string raw_path;   // percent-encoded as sent
  std::string raw_query;  // as sent
  http::Headers headers;
  std::string payload_hash;  // hex SHA-256, UNSIGNED-PAYLOAD or STREAMING-…
};
constexpr std::string_view unsigned_payload = "UNSIGNED-PAYLOAD";
constexpr std::chrono::seconds longest_presign = std::chrono::days(7);

// The Authorization header's value; every header of the input is signed, and it must already carry X-Amz-Date and
// X-Amz-Content-Sha256.
std::string authorization(const SignInput& input, const Credentials& credentials, const std::string& region, Time now);
// A URL that needs no credentials until `expires` (at most 7 days) has passed.
std::string presign(const std::string& method, http::Url url, const Credentials& credentials, const std::string& region,
                    Time now, std::chrono::seconds expires);

// The verifier's answer. `error_code` is an S3 code (SignatureDoesNotMatch, RequestTimeTooSkewed, AccessDenied, …).
struct Verified {
  bool ok = false;
  std::string error_code, message;
  std::string access_key;
  // Set for aws-chunked uploads: what the chunk decoder needs to check each chunk's signature.
  struct Streaming {
    std::string seed_signature, signing_key, scope, date;
    bool has_signatures = false, has_trailer = false;
  };
  std::optional<Streaming> streaming;
};
// Checks header or query signatures. `find_secret` returns nullopt for an unknown access key.
Verified verify(const SignInput& input, const std::string& region, Time now,
                const std::function<std::optional<Secret>(const std::string&)>& find_secret);

// Decodes an aws-chunked body (signed or not, with or without trailer), piece by piece, checking chunk signatures.
class ChunkDecoder {
 public:
  explicit ChunkDecoder(Verified::Streaming streaming);
  ~ChunkDecoder();
  // Appends decoded bytes to `out`. False: malformed or wrong signature; `error()` says which.
  bool feed(std::string_view bytes, std::string& out);
  bool finished() const;
  const std::string& error() const;
  const std::map<std::string, std::string>& trailers() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct Endpoint {
  http::Url url;  // scheme, host, port
  std::string region = "us-east-1";
  Credentials credentials;
  bool path_style = true;

  // S3_ENDPOINT, S3_REGION, S3_ACCESS_KEY, S3_SECRET_KEY; the keys also by `…_FILE`. All but the region are required.
  static Endpoint from(Env& env);
};
struct ObjectInfo {
  std::string key;
  std::uint64_t size = 0;
  std::string etag;
  Time modified{};
};

// Errors: not_found (NoSuchKey, NoSuchBucket), forbidden, conflict, unavailable, timeout.
class Client {
 public:
  Client(Executor executor, Endpoint endpoint, Clock& clock);
  ~Client();
  Task<> create_bucket(std::string bucket);  // already ours: fine
  Task<> put(std::string bucket, std::string key, std::string bytes);
  Task<> put_file(std::string bucket, std::string key, std::string path);  // streamed; multipart above 64 MiB
  // What `read` gives piece by piece until it gives "", while it is being made: kept in memory as far as a part of a
  // multipart upload goes. A `read` that throws leaves no object.
  Task<> put_stream(std::string bucket, std::string key, std::function<Task<std::string>()> read);
  Task<std::string> get(std::string bucket, std::string key, std::size_t limit = 64u << 20);
  Task<std::shared_ptr<http::BodyReader>> get_stream(std::string bucket, std::string key);
  Task<std::optional<ObjectInfo>> head(std::string bucket, std::string key);
  Task<> remove(std::string bucket, std::string key);
  Task<std::vector<ObjectInfo>> list(std::string bucket, std::string prefix);
  // URLs for somebody without credentials (presigned.h): to read one object, or to write it.
  std::string presigned_get(const std::string& bucket, const std::string& key, std::chrono::seconds expires) const;
  std::string presigned_put(const std::string& bucket, const std::string& key, std::chrono::seconds expires) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace workflow::s3
