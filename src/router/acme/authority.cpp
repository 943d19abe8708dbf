#include "router/acme/authority.h"

#include "lib/base/encoding.h"
#include "lib/json/json.h"

namespace workflow::router::acme {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t longest_answer = 256u << 10;
constexpr auto answer_limit = 30s;
constexpr int most_nonces = 12;  // an authority may refuse any of them, and say so

http::ClientConfig client_config(const Account& account) {
  return {.tls = {.ca_pem = account.ca_pem},
          .connect_timeout = 10s,
          .max_idle_per_host = 1,
          .user_agent = "workflow-router"};
}

ErrorKind kind_of(const Problem& problem, int status) {
  if (problem.type == "rateLimited" || problem.type == "serverInternal" || status >= 500) return ErrorKind::unavailable;
  if (problem.type == "accountDoesNotExist" || problem.type == "unauthorized") return ErrorKind::forbidden;
  if (problem.type == "externalAccountRequired" || problem.type == "userActionRequired" ||
      problem.type == "invalidContact" || problem.type == "unsupportedContact")
    return ErrorKind::unavailable;  // the operator's to mend: no name is at fault
  if (status == 404) return ErrorKind::not_found;
  return ErrorKind::unprocessable;
}

template <typename T>
T readable(std::optional<T> parsed, const char* what) {
  if (!parsed) throw Error(ErrorKind::unavailable, std::string("the certificate authority sent no usable ") + what);
  return std::move(*parsed);
}

http::Url url_of(const std::string& text) {
  auto url = http::Url::parse(text);
  if (!url) throw Error(ErrorKind::unavailable, "the certificate authority has an unusable address");
  return std::move(*url);
}

}  // namespace

Authority::Authority(Executor executor, Account account, const std::string& key_pem)
    : client_(std::move(executor), client_config(account)),
      account_(std::move(account)),
      key_(key_pem),
      thumbprint_(key_.thumbprint()) {}

Task<http::ClientResponse> Authority::send(http::ClientRequest request) {
  request.timeout = answer_limit;
  auto response = co_await client_.send(std::move(request));
  if (auto nonce = response.headers.find("Replay-Nonce"); nonce && nonce->size() <= 256) nonce_ = std::move(*nonce);
  patience_ = parse_retry_after(response.headers.find("Retry-After"), std::chrono::system_clock::now());
  co_return response;
}

Task<std::string> Authority::nonce() {
  if (!directory_) {
    http::ClientRequest request{.url = url_of(account_.directory)};
    auto response = co_await send(std::move(request));
    const auto text = co_await response.text(longest_answer, answer_limit);
    directory_ = readable(parse_directory(text), "directory");
  }
  if (nonce_.empty()) {
    http::ClientRequest request{.method = "HEAD", .url = url_of(directory_->new_nonce)};
    auto response = co_await send(std::move(request));
    co_await response.text(longest_answer, answer_limit);
  }
  if (nonce_.empty()) throw Error(ErrorKind::unavailable, "the certificate authority gives no nonce");
  co_return std::exchange(nonce_, {});
}

// Signed by our account once we have one, before by the key itself. An empty payload only asks.
Task<Authority::Answer> Authority::post(std::string url, std::string payload) {
  for (int tries = 1;; ++tries) {
    json::object header{{"nonce", co_await nonce()}, {"url", url}};
    if (account_url_.empty())
      header["jwk"] = key_.jwk();
    else
      header["kid"] = account_url_;
    http::ClientRequest request{.method = "POST",
                                .url = url_of(url),
                                .headers = {{"Content-Type", "application/jose+json"}},
                                .body = sign_jws(key_, std::move(header), payload)};
    auto response = co_await send(std::move(request));
    Answer answer{response.headers.get("Location"), co_await response.text(longest_answer, answer_limit)};
    if (response.status / 100 == 2) co_return answer;
    const auto problem = parse_problem(answer.text).value_or(Problem{"", "status " + std::to_string(response.status)});
    if (problem.type == "badNonce" && tries < most_nonces) continue;
    throw Error(kind_of(problem, response.status), "the certificate authority says: " + problem.detail +
                                                       (problem.type.empty() ? "" : " (" + problem.type + ")"));
  }
}

std::string Authority::bound_account() const {
  const auto secret = from_base64url(account_.bound_key.reveal());
  if (!secret) throw Error(ErrorKind::unavailable, "ROUTER_ACME_EAB_KEY is not base64url");
  return sign_jws(*secret, {{"kid", account_.bound_key_id}, {"url", directory_->new_account}}, print_json(key_.jwk()));
}

Task<> Authority::open_account() {
  if (!account_url_.empty()) co_return;
  nonce_ = co_await nonce();  // and with it the directory
  json::object account{{"termsOfServiceAgreed", true}};
  if (!account_.contact.empty()) account["contact"] = json::array{"mailto:" + account_.contact};
  if (!account_.bound_key_id.empty()) account["externalAccountBinding"] = *parse_json(bound_account());
  auto answer = co_await post(directory_->new_account, print_json(account));
  const auto url = http::Url::parse(answer.location);
  if (!url || url->scheme != "https")
    throw Error(ErrorKind::unavailable, "the certificate authority does not say which account is ours");
  account_url_ = std::move(answer.location);
}

Task<Authority::NewOrder> Authority::begin_order(std::string domain) {
  const json::object identifier{{"type", "dns"}, {"value", std::move(domain)}};
  const auto wanted = print_json(json::object{{"identifiers", json::array{identifier}}});
  const auto answer = co_await post(directory_->new_order, wanted);
  const auto url = http::Url::parse(answer.location);
  if (!url || url->scheme != "https")
    throw Error(ErrorKind::unavailable, "the certificate authority does not say where the order is");
  co_return NewOrder{answer.location, readable(parse_order(answer.text), "order")};
}

Task<Order> Authority::order(std::string url) {
  const auto answer = co_await post(std::move(url), "");
  co_return readable(parse_order(answer.text), "order");
}

Task<Authorization> Authority::authorization(std::string url) {
  const auto answer = co_await post(std::move(url), "");
  co_return readable(parse_authorization(answer.text), "authorization");
}

Task<> Authority::answer_challenge(std::string url) { co_await post(std::move(url), "{}"); }

Task<> Authority::finalize(std::string url, std::string request_der) {
  co_await post(std::move(url), print_json(json::object{{"csr", to_base64url(request_der)}}));
}

Task<std::string> Authority::certificate(std::string url) {
  auto answer = co_await post(std::move(url), "");
  co_return std::move(answer.text);
}

}  // namespace workflow::router::acme
