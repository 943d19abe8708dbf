// src/router/acme/plan.h: when a name needs a certificate, and what is remembered of the attempts to have one. No I/O.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/json/json.h"

namespace workflow::router::acme {

// The Secrets of a name in the router's own namespace: "acme-<digest>" has the certificate, "acme-<digest>-order" what
// was tried.
std::string secret_name(const std::string& domain);

struct Attempts {
  std::string order;        // its URL, while one is under way
  std::string key_pem;      // that its certificate is for
  std::vector<Time> begun;  // orders of the last week
  int failures = 0;         // in a row
  Time not_before{};
  std::string problem;  // of the last failure
  bool operator==(const Attempts&) const = default;
};
json::object to_json(const Attempts& attempts);
Attempts attempts_from_json(const json::value& value);  // what cannot be read is as if it had not been

struct Validity {
  Time starts, expires;
};

constexpr std::size_t orders_a_week = 5;  // as Let's Encrypt allows for one set of names

// When something should be done for the name: at two thirds of its certificate's time, but not before the last failure
// is long enough ago, nor more often than the authority takes.
Time next_attempt(const Attempts& attempts, const std::optional<Validity>& certificate, Time now);

Attempts begin_order(Attempts attempts, std::string key_pem, Time now);
// `chance` is between 0 and 1. The pause doubles from a minute to half a day; a quarter of it is by chance.
struct Failure {
  std::string problem;
  double chance;
};
Attempts after_failure(Attempts attempts, Failure failure, Time now);
Attempts after_success(Attempts attempts);

}  // namespace workflow::router::acme
