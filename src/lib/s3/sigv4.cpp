#include "lib/s3/sigv4.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::s3 {

namespace {

// Pairs sorted by their encoded names and values; the signature itself is not part of what it signs.
std::optional<std::string> canonical_query(const std::string& raw) {
  auto query = http::Query::parse(raw);
  if (!query) return std::nullopt;
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const auto& [name, value] : *query) {
    if (name != "X-Amz-Signature") pairs.emplace_back(percent_encode(name), percent_encode(value));
  }
  std::ranges::sort(pairs);
  std::string text;
  for (const auto& [name, value] : pairs) {
    if (!text.empty()) text += '&';
    text.append(name).append("=").append(value);
  }
  return text;
}

// Trimmed, with runs of blanks as one.
std::string canonical_value(std::string_view value) {
  std::string text;
  for (const char c : trim(value)) {
    if (c == ' ' && text.ends_with(' ')) continue;
    text += c;
  }
  return text;
}

}  // namespace

std::optional<std::string> canonical_request(const SignInput& input, const std::vector<std::string>& signed_headers) {
  auto path = percent_decode(input.raw_path);
  auto query = canonical_query(input.raw_query);
  if (!path || !query) return std::nullopt;
  std::string text = input.method + "\n" + percent_encode(*path, "/") + "\n" + *query + "\n";
  for (const auto& name : signed_headers) {
    std::string values;
    bool first = true;
    for (const auto& [key, value] : input.headers) {
      if (!equal_ignoring_case(key, name)) continue;
      if (!std::exchange(first, false)) values += ',';
      values += canonical_value(value);
    }
    text.append(name).append(":").append(values).append("\n");
  }
  return text + "\n" + join(signed_headers, ";") + "\n" + input.payload_hash;
}

std::string string_to_sign(const std::string& amz_date, const Scope& scope, const std::string& canonical) {
  return std::string(algorithm) + "\n" + amz_date + "\n" + scope.text() + "\n" + to_hex(sha256(canonical));
}

std::string signing_key(const Secret& secret, const Scope& scope) {
  auto key = hmac_sha256("AWS4" + secret.reveal(), scope.date);
  key = hmac_sha256(key, scope.region);
  key = hmac_sha256(key, "s3");
  return hmac_sha256(key, "aws4_request");
}

std::string hex_signature(const std::string& key, std::string_view text) { return to_hex(hmac_sha256(key, text)); }

std::string authorization(const SignInput& input, const Credentials& credentials, const std::string& region, Time now) {
  std::vector<std::string> names;
  for (const auto& [name, value] : input.headers) names.push_back(lower(name));
  std::ranges::sort(names);
  const auto repeats = std::ranges::unique(names);
  names.erase(repeats.begin(), repeats.end());
  const auto amz_date = basic_iso8601(now);
  const Scope scope{amz_date.substr(0, 8), region};
  const auto canonical = canonical_request(input, names);
  if (!canonical) throw Error{ErrorKind::invalid, "a path or query to sign has a broken escape"};
  const auto signature =
      hex_signature(signing_key(credentials.secret_key, scope), string_to_sign(amz_date, scope, *canonical));
  return std::string(algorithm) + " Credential=" + credentials.access_key + "/" + scope.text() +
         ",SignedHeaders=" + join(names, ";") + ",Signature=" + signature;
}

std::string presign(const std::string& method, http::Url url, const Credentials& credentials, const std::string& region,
                    Time now, std::chrono::seconds expires) {
  if (expires.count() < 1 || expires > longest_presign) {
    throw Error{ErrorKind::invalid, "a presigned URL is valid for 1 second to 7 days"};
  }
  const auto amz_date = basic_iso8601(now);
  const Scope scope{amz_date.substr(0, 8), region};
  if (!url.query.empty()) url.query += '&';
  url.query += "X-Amz-Algorithm=" + std::string(algorithm) +
               "&X-Amz-Credential=" + percent_encode(credentials.access_key + "/" + scope.text()) +
               "&X-Amz-Date=" + amz_date + "&X-Amz-Expires=" + std::to_string(expires.count()) +
               "&X-Amz-SignedHeaders=host";
  const SignInput input{.method = method,
                        .raw_path = url.path,
                        .raw_query = url.query,
                        .headers = {{"Host", url.authority()}},
                        .payload_hash = std::string(unsigned_payload)};
  const auto canonical = canonical_request(input, {"host"});
  if (!canonical) throw Error{ErrorKind::invalid, "a URL to sign has a broken escape"};
  const auto signature =
      hex_signature(signing_key(credentials.secret_key, scope), string_to_sign(amz_date, scope, *canonical));
  url.query += "&X-Amz-Signature=" + signature;
  return url.text();
}

}  // namespace workflow::s3
