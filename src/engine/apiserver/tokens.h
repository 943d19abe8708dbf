// src/engine/apiserver/tokens.h: tokens of service accounts: JSON Web Tokens (RFC 7519), ES256, bound to the account
// and,
//   for automatic volumes, to the pod.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"
#include "lib/base/domain.h"
#include "lib/json/json.h"

namespace workflow::engine {

struct TokenClaims {
  std::string ns, account, account_uid;
  std::vector<std::string> audiences;
  std::string pod, pod_uid;  // "" when not bound to a pod
  Time issued, expires;
  std::string id{};  // of this very token
  bool operator==(const TokenClaims&) const = default;
};

constexpr std::string_view token_issuer = "https://kubernetes.default.svc.cluster.local";

// Signs and verifies. The key is an EC P-256 private key.
class TokenSigner {
 public:
  explicit TokenSigner(const Secret& key_pem);
  ~TokenSigner();
  Secret sign(const TokenClaims& claims) const;
  // The claims of a token of ours that is valid now; whether the account still exists is the caller's question.
  std::optional<TokenClaims> verify(std::string_view token, Time now) const;
  // For others who verify: a JSON Web Key Set (RFC 7517) of the public key.
  json::object public_keys() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace workflow::engine
