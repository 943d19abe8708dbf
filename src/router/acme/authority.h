// src/router/acme/authority.h: one account at a certificate authority (RFC 8555).
//   Throws  Error: unprocessable: the authority refuses this name; not_found: it does not know the order any more;
//           forbidden: it does not know the account; unavailable, timeout: try again later. Its words are in the
//           message.
#pragma once
#include <optional>
#include <string>
#include <utility>

#include "lib/http/http.h"
#include "router/acme/answers.h"
#include "router/acme/keys.h"

namespace workflow::router::acme {

struct Account {
  std::string directory;  // URL
  std::string contact;    // mail address; "" none
  std::string bound_key_id;
  Secret bound_key;  // base64url; with the id: an account that is bound to one elsewhere
  std::optional<std::string> ca_pem;
};

class Authority {
 public:
  Authority(Executor executor, Account account, const std::string& key_pem);

  // Finds the account of our key, or makes it.
  Task<> open_account();
  struct NewOrder {
    std::string url;
    Order order;
  };
  Task<NewOrder> begin_order(std::string domain);
  Task<Order> order(std::string url);
  Task<Authorization> authorization(std::string url);
  Task<> answer_challenge(std::string url);
  Task<> finalize(std::string url, std::string request_der);
  Task<std::string> certificate(std::string url);
  // What is expected at a challenge with this token.
  std::string answer_to(const std::string& token) const { return token + "." + thumbprint_; }
  // How long the authority wants us to wait before we ask again.
  std::chrono::milliseconds patience() const { return patience_; }

 private:
  struct Answer {
    std::string location, text;
  };
  Task<std::string> nonce();
  Task<Answer> post(std::string url, std::string payload);
  Task<http::ClientResponse> send(http::ClientRequest request);
  std::string bound_account() const;

  http::Client client_;
  Account account_;
  SigningKey key_;
  std::string thumbprint_;
  std::optional<Directory> directory_;
  std::string account_url_, nonce_;
  std::chrono::milliseconds patience_{1000};
};

}  // namespace workflow::router::acme
