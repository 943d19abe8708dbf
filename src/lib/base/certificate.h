// src/lib/base/certificate.h: X.509 certificates and private keys in PEM, read in one way. Nobody is asked for a
//   passphrase: an encrypted key cannot be read.
#pragma once
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/clock.h"

// OpenSSL's X509 and EVP_PKEY, without its headers.
struct x509_st;
struct evp_pkey_st;

namespace workflow {

struct FreeX509 {
  void operator()(x509_st* certificate) const;
  void operator()(evp_pkey_st* key) const;
};
using X509Certificate = std::unique_ptr<x509_st, FreeX509>;
using PrivateKey = std::unique_ptr<evp_pkey_st, FreeX509>;

// The first certificate and all that follow it, one or more; else why not, in OpenSSL's words. What stands between them
// is skipped.
std::expected<std::vector<X509Certificate>, std::string> read_certificates(std::string_view pem);
std::expected<PrivateKey, std::string> read_private_key(std::string_view pem);
// RSA, ECDSA and Ed25519 alike.
bool is_pair(const x509_st* certificate, const evp_pkey_st* key);

struct CertificateFacts {
  std::optional<std::string> common_name;
  std::vector<std::string> organizations;
  std::vector<std::string> san;  // DNS names, in the certificate's order
  std::string fingerprint;       // SHA-256 of the DER: AB:CD:…
  Time starts{}, expires{};
  std::string issuer, subject;  // /C=US/ST=CA/CN=foo.com
};
CertificateFacts facts_of(const x509_st* certificate);

}  // namespace workflow
