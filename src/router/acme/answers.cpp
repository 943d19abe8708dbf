#include "router/acme/answers.h"

#include <algorithm>

#include "lib/base/certificate.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"
#include "lib/http/http.h"
#include "lib/json/json.h"

namespace workflow::router::acme {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t longest_url = 2048, longest_text = 500, longest_token = 128, most_items = 32;
constexpr std::string_view error_prefix = "urn:ietf:params:acme:error:";

std::optional<std::string> url_at(const json::value& value, std::string_view key) {
  auto text = find_string(value, {key});
  if (!text || text->size() > longest_url) return std::nullopt;
  const auto url = http::Url::parse(*text);
  return url && url->scheme == "https" ? text : std::nullopt;
}

std::string text_at(const json::value& value, std::string_view key) {
  return valid_utf8(find_string(value, {key}).value_or("").substr(0, longest_text));
}

Problem problem_from(const json::value& value) {
  auto type = text_at(value, "type");
  if (type.starts_with(error_prefix)) type.erase(0, error_prefix.size());
  return {std::move(type), text_at(value, "detail")};
}

std::optional<Problem> problem_at(const json::value& value) {
  const auto* error = find_path(value, {"error"});
  return error && error->is_object() ? std::optional(problem_from(*error)) : std::nullopt;
}

const json::array* array_at(const json::value& value, std::string_view key) {
  const auto* found = find_path(value, {key});
  const auto* array = found ? found->if_array() : nullptr;
  return array && array->size() <= most_items ? array : nullptr;
}

bool covers(const std::vector<std::string>& names, const std::string& domain) {
  return std::ranges::any_of(names, [&](const std::string& name) { return lower(name) == domain; });
}

}  // namespace

// It becomes part of a path and of a key: RFC 8555, section 8.3 says base64url.
bool is_token(std::string_view text) {
  return !text.empty() && text.size() <= longest_token && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::optional<Directory> parse_directory(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return std::nullopt;
  const auto nonce = url_at(*value, "newNonce"), account = url_at(*value, "newAccount"),
             order = url_at(*value, "newOrder");
  if (!nonce || !account || !order) return std::nullopt;
  return Directory{*nonce, *account, *order};
}

std::optional<Problem> parse_problem(std::string_view text) {
  const auto value = parse_json(text);
  if (!value || !value->is_object()) return std::nullopt;
  return problem_from(*value);
}

std::optional<Authorization> parse_authorization(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return std::nullopt;
  Authorization out{text_at(*value, "status"), lower(find_string(*value, {"identifier", "value"}).value_or("")), {}};
  const auto* challenges = array_at(*value, "challenges");
  if (out.status.empty() || !challenges) return std::nullopt;
  for (const auto& item : *challenges) {
    auto url = url_at(item, "url");
    auto token = find_string(item, {"token"}).value_or("");
    if (!url || !is_token(token)) continue;  // of a kind that we do not know
    out.challenges.push_back(
        {text_at(item, "type"), std::move(*url), std::move(token), text_at(item, "status"), problem_at(item)});
  }
  return out;
}

std::optional<Order> parse_order(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return std::nullopt;
  Order out{text_at(*value, "status"),
            url_at(*value, "finalize").value_or(""),
            url_at(*value, "certificate").value_or(""),
            {},
            problem_at(*value)};
  const auto* authorizations = array_at(*value, "authorizations");
  if (out.status.empty() || out.finalize.empty() || !authorizations) return std::nullopt;
  for (const auto& item : *authorizations) {
    auto url = url_at(json::object{{"url", item}}, "url");
    if (!url) return std::nullopt;
    out.authorizations.push_back(std::move(*url));
  }
  return out;
}

std::chrono::milliseconds parse_retry_after(const std::optional<std::string>& value, Time now) {
  std::chrono::milliseconds wait = 1s;
  if (value) {
    if (const auto seconds = parse_integer(trim(*value)))
      wait = std::chrono::seconds(std::clamp<std::int64_t>(*seconds, 1, 60));
    else if (const auto date = parse_http_date(trim(*value)))
      wait = std::chrono::duration_cast<std::chrono::milliseconds>(*date - now);
  }
  return std::clamp<std::chrono::milliseconds>(wait, 1s, 60s);
}

std::expected<Issued, std::string> check_issued(std::string_view pem, const Asked& asked) {
  const auto chain = read_certificates(pem);
  if (!chain) return std::unexpected("it cannot be read: " + chain.error());
  const auto key = read_private_key(asked.key_pem);
  if (!key || !is_pair(chain->front().get(), key->get())) return std::unexpected("it is for another key");
  const auto facts = facts_of(chain->front().get());
  if (!covers(facts.san, asked.domain)) return std::unexpected("it is not for " + asked.domain);
  if (facts.expires <= asked.now || facts.starts >= facts.expires) return std::unexpected("it is not valid now");
  return Issued{std::string(pem), facts.starts, facts.expires};
}

}  // namespace workflow::router::acme
