#include "router/acme/keys.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <vector>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow::router::acme {
namespace {

constexpr int size_of_number = 32;  // of P-256

template <typename T, auto release>
struct Free {
  void operator()(T* thing) const { release(thing); }
};
template <typename T, auto release>
using Owned = std::unique_ptr<T, Free<T, release>>;
using Bio = Owned<BIO, BIO_free_all>;
using Number = Owned<BIGNUM, BN_free>;
using Extension = Owned<X509_EXTENSION, X509_EXTENSION_free>;

unsigned char* bytes_of(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* bytes_of(const std::string& text) { return reinterpret_cast<const unsigned char*>(text.data()); }

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

PrivateKey make_key() {
  PrivateKey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  WF_CHECK(key != nullptr);
  return key;
}

std::string pem_of(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  WF_CHECK(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return text_of(bio.get());
}

std::string padded(const BIGNUM* number) {
  std::string bytes(size_of_number, '\0');
  WF_CHECK(BN_bn2binpad(number, bytes_of(bytes), size_of_number) == size_of_number);
  return bytes;
}

Extension alternative_name(const std::string& domain) {
  // Built rather than parsed from text: a name never becomes syntax.
  const Owned<GENERAL_NAMES, GENERAL_NAMES_free> names(GENERAL_NAMES_new());
  auto* name = GENERAL_NAME_new();
  auto* text = ASN1_IA5STRING_new();
  WF_CHECK(names && name && text && ASN1_STRING_set(text, domain.data(), static_cast<int>(domain.size())) == 1);
  GENERAL_NAME_set0_value(name, GEN_DNS, text);
  WF_CHECK(sk_GENERAL_NAME_push(names.get(), name) > 0);
  return Extension(X509V3_EXT_i2d(NID_subject_alt_name, 0, names.get()));
}

std::string jws(json::object header, const std::string& payload, auto sign) {
  const auto protected_header = to_base64url(print_json(header)), body = to_base64url(payload);
  return print_json(json::object{{"protected", protected_header},
                                 {"payload", body},
                                 {"signature", to_base64url(sign(protected_header + "." + body))}});
}

}  // namespace

std::string make_key_pem() { return pem_of(make_key().get()); }

SigningKey::SigningKey(const std::string& pem) {
  auto key = read_private_key(pem);
  char group[32] = "";
  if (!key || !EVP_PKEY_is_a(key->get(), "EC") ||
      EVP_PKEY_get_group_name(key->get(), group, sizeof group, nullptr) != 1 ||
      std::string(group) != SN_X9_62_prime256v1) {
    ERR_clear_error();
    throw Error(ErrorKind::invalid, "it is no key of the curve P-256 in PEM");
  }
  key_ = std::move(*key);
}

std::string SigningKey::coordinate(const char* name) const {
  BIGNUM* read = nullptr;
  WF_CHECK(EVP_PKEY_get_bn_param(key_.get(), name, &read) == 1);
  const Number number(read);
  return to_base64url(padded(number.get()));
}

json::object SigningKey::jwk() const {
  // In the order that the thumbprint wants.
  return {{"crv", "P-256"},
          {"kty", "EC"},
          {"x", coordinate(OSSL_PKEY_PARAM_EC_PUB_X)},
          {"y", coordinate(OSSL_PKEY_PARAM_EC_PUB_Y)}};
}

std::string SigningKey::thumbprint() const { return to_base64url(sha256(print_json(jwk()))); }

std::string SigningKey::sign(const std::string& bytes) const {
  const Owned<EVP_MD_CTX, EVP_MD_CTX_free> context(EVP_MD_CTX_new());
  WF_CHECK(context && EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key_.get()) == 1);
  std::size_t size = 0;
  WF_CHECK(EVP_DigestSign(context.get(), nullptr, &size, bytes_of(bytes), bytes.size()) == 1);
  std::string der(size, '\0');
  WF_CHECK(EVP_DigestSign(context.get(), bytes_of(der), &size, bytes_of(bytes), bytes.size()) == 1);
  const auto* at = bytes_of(std::as_const(der));
  const Owned<ECDSA_SIG, ECDSA_SIG_free> signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(size)));
  WF_CHECK(signature != nullptr);
  return padded(ECDSA_SIG_get0_r(signature.get())) + padded(ECDSA_SIG_get0_s(signature.get()));
}

std::string sign_jws(const SigningKey& key, json::object header, const std::string& payload) {
  header["alg"] = "ES256";
  return jws(std::move(header), payload, [&](const std::string& bytes) { return key.sign(bytes); });
}

std::string sign_jws(const std::string& secret, json::object header, const std::string& payload) {
  header["alg"] = "HS256";
  return jws(std::move(header), payload, [&](const std::string& bytes) { return hmac_sha256(secret, bytes); });
}

std::string make_request(const SigningKey& key, const std::string& domain) {
  const Owned<X509_REQ, X509_REQ_free> request(X509_REQ_new());
  WF_CHECK(request && X509_REQ_set_pubkey(request.get(), key.get()) == 1);
  const Owned<STACK_OF(X509_EXTENSION),
              [](STACK_OF(X509_EXTENSION) * all) { sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free); }>
      extensions(sk_X509_EXTENSION_new_null());
  WF_CHECK(sk_X509_EXTENSION_push(extensions.get(), alternative_name(domain).release()) > 0);
  WF_CHECK(X509_REQ_add_extensions(request.get(), extensions.get()) == 1);
  WF_CHECK(X509_REQ_sign(request.get(), key.get(), EVP_sha256()) > 0);
  unsigned char* der = nullptr;
  const int size = i2d_X509_REQ(request.get(), &der);
  WF_CHECK(size > 0);
  std::string out(reinterpret_cast<char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  return out;
}

Pair make_challenge_certificate(const std::string& domain, const std::string& answer) {
  const auto key = make_key();
  const X509Certificate certificate(X509_new());
  WF_CHECK(certificate != nullptr);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), std::stoull(random_hex(15), nullptr, 16));
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 7L * 24 * 3600);
  auto* name = X509_get_subject_name(certificate.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("challenge"), -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  X509_set_pubkey(certificate.get(), key.get());
  WF_CHECK(X509_add_ext(certificate.get(), alternative_name(domain).get(), -1) == 1);
  // RFC 8737, section 3: acmeIdentifier, critical, an OCTET STRING in the extension's own.
  const std::string value = std::string("\x04\x20", 2) + sha256(answer);
  const Owned<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> octets(ASN1_OCTET_STRING_new());
  const Owned<ASN1_OBJECT, ASN1_OBJECT_free> identifier(OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1));
  WF_CHECK(octets && identifier &&
           ASN1_OCTET_STRING_set(octets.get(), bytes_of(value), static_cast<int>(value.size())) == 1);
  const Extension extension(X509_EXTENSION_create_by_OBJ(nullptr, identifier.get(), 1, octets.get()));
  WF_CHECK(extension && X509_add_ext(certificate.get(), extension.get(), -1) == 1);
  WF_CHECK(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  const Bio pem(BIO_new(BIO_s_mem()));
  WF_CHECK(PEM_write_bio_X509(pem.get(), certificate.get()) == 1);
  return {text_of(pem.get()), pem_of(key.get())};
}

}  // namespace workflow::router::acme
