// src/controller/certificate.h: what a PEM certificate says, and whether a key is its own.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "lib/base/clock.h"

namespace workflow::controller {

struct CertificateFacts {
  std::optional<std::string> common_name;
  std::vector<std::string> san;  // DNS names, in the certificate's order
  std::string fingerprint;       // SHA-256 of the DER: AB:CD:…
  Time starts{}, expires{};
  std::string issuer, subject;  // /C=US/ST=CA/CN=foo.com
};

// The first certificate of the text. Both throw invalid under "certificate" or "key" with OpenSSL's reason.
CertificateFacts certificate_facts(const std::string& pem);
// RSA, ECDSA and Ed25519 alike. Throws invalid when they are not a pair.
void check_key_pair(const std::string& certificate_pem, const std::string& key_pem);

}  // namespace workflow::controller
