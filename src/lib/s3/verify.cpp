#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/s3/sigv4.h"

namespace workflow::s3 {

namespace {

constexpr auto allowed_skew = std::chrono::minutes(15);

// What a request claims, wherever it says so.
struct Claim {
  std::string access_key;
  Scope scope;
  std::string amz_date;
  std::vector<std::string> signed_headers;
  std::string signature;
  std::optional<std::chrono::seconds> expires;  // of a presigned URL
};

struct Refusal {
  std::string code, message;
};

Verified refused(std::string code, std::string message) {
  return {.ok = false, .error_code = std::move(code), .message = std::move(message)};
}

// "AKID/20130524/us-east-1/s3/aws4_request"; the access key itself may hold slashes.
bool read_credential(const std::string& text, Claim& claim) {
  auto parts = split(text, '/');
  if (parts.size() < 5) return false;
  const auto tail = parts.end() - 4;
  if (tail[2] != "s3" || tail[3] != "aws4_request" || tail[0].size() != 8) return false;
  claim.scope = {tail[0], tail[1]};
  claim.access_key = join({parts.begin(), tail}, "/");
  return !claim.access_key.empty();
}

std::variant<Claim, Refusal> claim_of_header(const SignInput& input, const std::string& header) {
  const Refusal malformed{"AuthorizationHeaderMalformed", "The authorization header is malformed."};
  if (!header.starts_with(algorithm)) {
    return Refusal{"InvalidRequest", "Please use AWS4-HMAC-SHA256, the only authorization mechanism here."};
  }
  Claim claim;
  bool has_credential = false;
  for (const auto& part : split(std::string_view(header).substr(algorithm.size()), ',')) {
    const auto field = trim(part);
    const auto equals = field.find('=');
    if (equals == std::string_view::npos) return malformed;
    const auto name = field.substr(0, equals);
    const std::string value(field.substr(equals + 1));
    if (name == "Credential")
      has_credential = read_credential(value, claim);
    else if (name == "SignedHeaders")
      claim.signed_headers = split(value, ';');
    else if (name == "Signature")
      claim.signature = value;
  }
  if (!has_credential || claim.signed_headers.empty() || claim.signature.empty()) return malformed;
  if (const auto date = input.headers.find("X-Amz-Date")) {
    claim.amz_date = *date;
  } else if (const auto time = parse_http_date(input.headers.get("Date"))) {
    claim.amz_date = basic_iso8601(*time);
  }
  return claim;
}

std::variant<Claim, Refusal> claim_of_query(const http::Query& query) {
  const Refusal malformed{"AuthorizationQueryParametersError",
                          "X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders and "
                          "X-Amz-Expires are all needed, well-formed."};
  Claim claim;
  const auto expires = parse_integer(query.find("X-Amz-Expires").value_or(""));
  const bool complete = query.find("X-Amz-Algorithm") == std::string(algorithm) &&
                        read_credential(query.find("X-Amz-Credential").value_or(""), claim) && expires;
  claim.amz_date = query.find("X-Amz-Date").value_or("");
  claim.signed_headers = split(query.find("X-Amz-SignedHeaders").value_or(""), ';');
  claim.signature = query.find("X-Amz-Signature").value_or("");
  if (!complete || claim.signed_headers.empty() || claim.signature.empty()) return malformed;
  if (*expires < 1 || std::chrono::seconds(*expires) > longest_presign) {
    return Refusal{"AuthorizationQueryParametersError", "X-Amz-Expires is between 1 and 604800 seconds."};
  }
  claim.expires = std::chrono::seconds(*expires);
  return claim;
}

std::optional<Refusal> time_problem(const Claim& claim, Time now) {
  const auto signed_at = parse_basic_iso8601(claim.amz_date);
  if (!signed_at || !claim.amz_date.starts_with(claim.scope.date)) {
    return Refusal{"AccessDenied", "The request needs a valid Date or X-Amz-Date header, of the credential's day."};
  }
  if (!claim.expires) {
    if (*signed_at <= now + allowed_skew && *signed_at >= now - allowed_skew) return std::nullopt;
    return Refusal{"RequestTimeTooSkewed",
                   "The difference between the request time and the current time is too large."};
  }
  if (*signed_at > now + allowed_skew) return Refusal{"AccessDenied", "The request is not valid yet."};
  if (now > *signed_at + *claim.expires) return Refusal{"AccessDenied", "Request has expired."};
  return std::nullopt;
}

// Host and all of x-amz-* must be signed: what is not could be changed on the way.
std::optional<Refusal> header_problem(const Claim& claim, const SignInput& input) {
  auto is_signed = [&claim](const std::string& name) {
    return std::ranges::find(claim.signed_headers, lower(name)) != claim.signed_headers.end();
  };
  bool complete = is_signed("host");
  for (const auto& [name, value] : input.headers) {
    if (starts_with_ignoring_case(name, "x-amz-")) complete = complete && is_signed(name);
  }
  if (complete) return std::nullopt;
  return Refusal{"AccessDenied", "There were headers present in the request which were not signed."};
}

std::optional<Verified::Streaming> streaming_of(const SignInput& input, const Claim& claim, const std::string& key) {
  const auto& hash = input.payload_hash;
  if (!hash.starts_with("STREAMING-")) return std::nullopt;
  Verified::Streaming streaming{
      .seed_signature = claim.signature, .signing_key = key, .scope = claim.scope.text(), .date = claim.amz_date};
  streaming.has_signatures = hash.starts_with("STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
  streaming.has_trailer = hash.ends_with("-TRAILER");
  return streaming;
}

bool is_known_payload(const std::string& hash) {
  static constexpr std::string_view names[] = {unsigned_payload, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
                                               "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
                                               "STREAMING-UNSIGNED-PAYLOAD-TRAILER"};
  if (std::ranges::find(names, hash) != std::end(names)) return true;
  return hash.size() == 64 && from_hex(hash).has_value();
}

}  // namespace

Verified verify(const SignInput& input, const std::string& region, Time now,
                const std::function<std::optional<Secret>(const std::string&)>& find_secret) {
  const auto query = http::Query::parse(input.raw_query);
  if (!query) return refused("InvalidURI", "The query string has a broken escape.");
  const auto header = input.headers.find("Authorization");
  const bool in_query = query->has("X-Amz-Signature") || query->has("X-Amz-Algorithm");
  if (header && in_query) return refused("InvalidArgument", "Only one authorization mechanism is allowed.");
  if (!header && !in_query) return refused("AccessDenied", "Access Denied.");

  auto claimed = header ? claim_of_header(input, *header) : claim_of_query(*query);
  if (const auto* refusal = std::get_if<Refusal>(&claimed)) return refused(refusal->code, refusal->message);
  const auto& claim = std::get<Claim>(claimed);
  if (!is_known_payload(input.payload_hash)) {
    return refused("InvalidRequest",
                   "x-amz-content-sha256 must be the payload's SHA-256, UNSIGNED-PAYLOAD or STREAMING-….");
  }
  // s3cmd says US when nobody told it a region; Amazon's first one was once called that.
  const bool by_old_name = claim.scope.region == "US" && region == "us-east-1";
  if (claim.scope.region != region && !by_old_name) {
    return refused("AuthorizationHeaderMalformed",
                   "The region '" + claim.scope.region + "' is wrong; expecting '" + region + "'.");
  }
  if (auto problem = time_problem(claim, now)) return refused(problem->code, problem->message);
  if (auto problem = header_problem(claim, input)) return refused(problem->code, problem->message);
  const auto secret = find_secret(claim.access_key);
  if (!secret) return refused("InvalidAccessKeyId", "The access key id you provided does not exist in our records.");

  const auto canonical = canonical_request(input, claim.signed_headers);
  if (!canonical) return refused("InvalidURI", "The path has a broken escape.");
  const auto key = signing_key(*secret, claim.scope);
  const auto expected = hex_signature(key, string_to_sign(claim.amz_date, claim.scope, *canonical));
  if (!equal_in_constant_time(expected, claim.signature)) {
    return refused("SignatureDoesNotMatch",
                   "The request signature we calculated does not match the signature you provided. Check your key and "
                   "signing method.");
  }
  return {.ok = true, .access_key = claim.access_key, .streaming = streaming_of(input, claim, key)};
}

}  // namespace workflow::s3
