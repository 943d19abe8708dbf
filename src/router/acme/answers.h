// src/router/acme/answers.h: what a certificate authority says (RFC 8555), read with suspicion. Plain functions.
//   Every text is valid UTF-8 and of bounded length; every URL is one of HTTPS.
#pragma once
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"

namespace workflow::router::acme {

struct Directory {
  std::string new_nonce, new_account, new_order;
};
struct Problem {
  std::string type;    // "badNonce": without "urn:ietf:params:acme:error:"
  std::string detail;  // for people
};
struct Challenge {
  std::string type, url, token, status;
  std::optional<Problem> problem;
};
struct Authorization {
  std::string status;
  std::string domain;  // without the "*." of a wildcard
  std::vector<Challenge> challenges;
};
struct Order {
  std::string status, finalize, certificate;
  std::vector<std::string> authorizations;
  std::optional<Problem> problem;
};

std::optional<Directory> parse_directory(std::string_view text);
std::optional<Problem> parse_problem(std::string_view text);
std::optional<Authorization> parse_authorization(std::string_view text);
std::optional<Order> parse_order(std::string_view text);

// Safe in a path and as a key.
bool is_token(std::string_view text);

// Seconds or a date, between one second and a minute; a second without one.
std::chrono::milliseconds parse_retry_after(const std::optional<std::string>& value, Time now);

// A chain that can be used: for `domain`, with this key, valid now. Else why not.
struct Issued {
  std::string certificate_pem;
  Time starts, expires;
};
struct Asked {
  std::string domain, key_pem;
  Time now;
};
std::expected<Issued, std::string> check_issued(std::string_view pem, const Asked& asked);

}  // namespace workflow::router::acme
