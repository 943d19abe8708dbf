// src/router/acme/keys.h: the keys and signatures of ACME (RFC 7515, 7638, 8555, 8737), all of P-256. Plain functions.
#pragma once
#include <string>

#include "lib/base/certificate.h"
#include "lib/json/json.h"

namespace workflow::router::acme {

std::string make_key_pem();

class SigningKey {
 public:
  // Throws `invalid` for anything but a P-256 key.
  explicit SigningKey(const std::string& pem);
  json::object jwk() const;
  std::string thumbprint() const;                    // RFC 7638
  std::string sign(const std::string& bytes) const;  // ES256: r and s
  evp_pkey_st* get() const { return key_.get(); }

 private:
  std::string coordinate(const char* name) const;
  PrivateKey key_;
};

// A JWS in flattened JSON serialization. `header` lacks only "alg".
std::string sign_jws(const SigningKey& key, json::object header, const std::string& payload);
// The same with a shared secret (HS256): for accounts that are bound to one elsewhere.
std::string sign_jws(const std::string& secret, json::object header, const std::string& payload);

// A request for a certificate of one name, in DER.
std::string make_request(const SigningKey& key, const std::string& domain);

// The certificate that answers a challenge of TLS-ALPN-01, and its key.
struct Pair {
  std::string certificate_pem, key_pem;
};
Pair make_challenge_certificate(const std::string& domain, const std::string& answer);

}  // namespace workflow::router::acme
