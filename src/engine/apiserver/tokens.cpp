#include "engine/apiserver/tokens.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <array>

#include "engine/fields.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow::engine {

namespace {

constexpr std::size_t half = 32;  // of a P-256 signature: r and s

std::int64_t seconds(Time time) { return std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count(); }
Time time_of(std::int64_t s) { return Time(std::chrono::seconds(s)); }

// DER, as OpenSSL signs, to r||s, as RFC 7518, section 3.4 wants it; and back.
std::string raw_signature(const std::string& der) {
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  ECDSA_SIG* signature = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  WF_CHECK(signature != nullptr);
  std::array<unsigned char, 2 * half> raw{};
  BN_bn2binpad(ECDSA_SIG_get0_r(signature), raw.data(), half);
  BN_bn2binpad(ECDSA_SIG_get0_s(signature), raw.data() + half, half);
  ECDSA_SIG_free(signature);
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

std::string der_signature(const std::string& raw) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(raw.data());
  ECDSA_SIG* signature = ECDSA_SIG_new();
  ECDSA_SIG_set0(signature, BN_bin2bn(bytes, half, nullptr), BN_bin2bn(bytes + half, half, nullptr));
  unsigned char* der = nullptr;
  const int size = i2d_ECDSA_SIG(signature, &der);
  std::string result(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
  ECDSA_SIG_free(signature);
  return result;
}

}  // namespace

struct TokenSigner::State {
  EVP_PKEY* key = nullptr;
  std::string header;
  ~State() { EVP_PKEY_free(key); }
};

TokenSigner::TokenSigner(const Secret& key_pem) : state_(std::make_unique<State>()) {
  BIO* bio = BIO_new_mem_buf(key_pem.reveal().data(), static_cast<int>(key_pem.reveal().size()));
  state_->key = PEM_read_bio_PrivateKey(bio, nullptr, nullptr, nullptr);
  BIO_free(bio);
  if (state_->key == nullptr) throw Error{ErrorKind::invalid, "the key of the service account tokens is not usable"};
  state_->header = to_base64url(R"({"alg":"ES256","typ":"JWT"})");
}
TokenSigner::~TokenSigner() = default;

Secret TokenSigner::sign(const TokenClaims& claims) const {
  json::object bound{{"namespace", claims.ns},
                     {"serviceaccount", json::object{{"name", claims.account}, {"uid", claims.account_uid}}}};
  if (!claims.pod.empty()) bound["pod"] = json::object{{"name", claims.pod}, {"uid", claims.pod_uid}};
  json::array audiences;
  for (const auto& audience : claims.audiences) audiences.emplace_back(audience);
  json::object body{{"iss", token_issuer},
                    {"sub", "system:serviceaccount:" + claims.ns + ":" + claims.account},
                    {"aud", std::move(audiences)},
                    {"exp", seconds(claims.expires)},
                    {"iat", seconds(claims.issued)},
                    {"nbf", seconds(claims.issued)},
                    {"kubernetes.io", std::move(bound)}};
  if (!claims.id.empty()) body["jti"] = claims.id;
  const auto text = state_->header + "." + to_base64url(json::serialize(body));
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, state_->key);
  std::size_t size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  EVP_DigestSign(context, nullptr, &size, bytes, text.size());
  std::string der(size, '\0');
  const int done = EVP_DigestSign(context, reinterpret_cast<unsigned char*>(der.data()), &size, bytes, text.size());
  EVP_MD_CTX_free(context);
  WF_CHECK(done == 1);
  der.resize(size);
  return Secret(text + "." + to_base64url(raw_signature(der)));
}

std::optional<TokenClaims> TokenSigner::verify(std::string_view token, Time now) const {
  const auto dot = token.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto text = token.substr(0, dot);
  const auto signature = from_base64url(token.substr(dot + 1));
  if (!signature || signature->size() != 2 * half || !text.starts_with(state_->header + ".")) return std::nullopt;
  const auto der = der_signature(*signature);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestVerifyInit(context, nullptr, EVP_sha256(), nullptr, state_->key);
  const int good = EVP_DigestVerify(context, reinterpret_cast<const unsigned char*>(der.data()), der.size(),
                                    reinterpret_cast<const unsigned char*>(text.data()), text.size());
  EVP_MD_CTX_free(context);
  if (good != 1) return std::nullopt;
  const auto body_text = from_base64url(text.substr(state_->header.size() + 1));
  const auto body = body_text ? parse_json(*body_text) : std::nullopt;
  if (!body || !body->is_object()) return std::nullopt;
  const auto& claims = body->get_object();
  TokenClaims result{.ns = text_at(claims, {"kubernetes.io", "namespace"}),
                     .account = text_at(claims, {"kubernetes.io", "serviceaccount", "name"}),
                     .account_uid = text_at(claims, {"kubernetes.io", "serviceaccount", "uid"}),
                     .pod = text_at(claims, {"kubernetes.io", "pod", "name"}),
                     .pod_uid = text_at(claims, {"kubernetes.io", "pod", "uid"}),
                     .issued = time_of(integer_at(claims, {"iat"}).value_or(0)),
                     .expires = time_of(integer_at(claims, {"exp"}).value_or(0)),
                     .id = text_at(claims, {"jti"})};
  for (const auto& audience : array_at(claims, {"aud"})) {
    if (audience.is_string()) result.audiences.emplace_back(audience.get_string());
  }
  // Clocks are set back now and then.
  const bool early = result.issued > now + std::chrono::minutes(1);
  if (early || now >= result.expires || text_at(claims, {"iss"}) != token_issuer) return std::nullopt;
  return result;
}

json::object TokenSigner::public_keys() const {
  json::object key{{"use", "sig"}, {"kty", "EC"}, {"alg", "ES256"}, {"crv", "P-256"}};
  for (const auto& [name, parameter] : {std::pair{"x", OSSL_PKEY_PARAM_EC_PUB_X}, {"y", OSSL_PKEY_PARAM_EC_PUB_Y}}) {
    BIGNUM* number = nullptr;
    WF_CHECK(EVP_PKEY_get_bn_param(state_->key, parameter, &number) == 1);
    std::string bytes(half, '\0');
    BN_bn2binpad(number, reinterpret_cast<unsigned char*>(bytes.data()), half);
    BN_free(number);
    key[name] = to_base64url(bytes);
  }
  return {{"keys", json::array{std::move(key)}}};
}

}  // namespace workflow::engine
