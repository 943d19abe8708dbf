// Whatever an authority answers, it is read or refused; what is read is bounded text.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "router/acme/answers.h"
#include "router/acme/plan.h"

using namespace workflow;
using namespace workflow::router::acme;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse_directory(text);
  if (const auto problem = parse_problem(text)) {
    WF_CHECK(is_valid_utf8(problem->detail) && problem->detail.size() <= 2000);
  }
  if (const auto authorization = parse_authorization(text)) {
    for (const auto& challenge : authorization->challenges) WF_CHECK(is_token(challenge.token));
  }
  if (const auto order = parse_order(text)) {
    for (const auto& url : order->authorizations) WF_CHECK(url.starts_with("https://") || url.starts_with("HTTPS://"));
  }
  const auto wait = parse_retry_after(std::string(text), Time{});
  WF_CHECK(wait >= std::chrono::seconds(1) && wait <= std::chrono::seconds(60));
  check_issued(text, {"example.com", std::string(text), Time{}});
  if (const auto value = parse_json(text)) {
    const auto attempts = attempts_from_json(*value);
    next_attempt(attempts, std::nullopt, Time{});
    WF_CHECK(attempts_from_json(to_json(attempts)) == attempts_from_json(to_json(attempts)));
  }
  return 0;
}
