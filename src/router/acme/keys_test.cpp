#include "router/acme/keys.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow::router::acme {
namespace {

// The key of RFC 7515, appendix A.3.
const std::string known_key =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgjpsQnnGQmL+YBIff\n"
    "H1136cspYG6+0iY7X1fCE9+E9LKhRANCAAR/zc4ncPbEXUGDy+5v20t7WAczNXvp\n"
    "7xO6z248e9FURcfxRM0bvZt+hyzf7bnuufSzaV1uqQskrYpGIyiFiOWt\n"
    "-----END PRIVATE KEY-----\n";

TEST(AcmeKeys, a_known_key_has_its_known_numbers_and_thumbprint) {
  const SigningKey key(known_key);
  EXPECT_EQ(print_json(key.jwk()), R"({"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                                   R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})");
  EXPECT_EQ(key.thumbprint(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
}

TEST(AcmeKeys, a_signature_is_two_numbers_of_full_length) {
  const SigningKey key(make_key_pem());
  for (int i = 0; i < 300; ++i) ASSERT_EQ(key.sign("text " + std::to_string(i)).size(), 64u);
}

TEST(AcmeKeys, a_signed_text_has_its_header_and_its_payload) {
  const SigningKey key(known_key);
  const auto signed_text = parse_json(sign_jws(key, {{"nonce", "n"}, {"url", "u"}}, "{}"));
  ASSERT_TRUE(signed_text);
  EXPECT_EQ(from_base64url(find_string(*signed_text, {"protected"}).value()),
            R"({"nonce":"n","url":"u","alg":"ES256"})");
  EXPECT_EQ(find_string(*signed_text, {"payload"}), "e30");
  EXPECT_EQ(from_base64url(find_string(*signed_text, {"signature"}).value())->size(), 64u);
  const auto bound = parse_json(sign_jws("secret", {{"kid", "k"}}, "x"));
  const auto input = find_string(*bound, {"protected"}).value() + "." + find_string(*bound, {"payload"}).value();
  EXPECT_EQ(from_base64url(find_string(*bound, {"signature"}).value()), hmac_sha256("secret", input));
}

TEST(AcmeKeys, only_p256_signs) {
  EXPECT_THROW(SigningKey("junk"), Error);
  const PrivateKey rsa(EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048}));
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, rsa.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  const std::string pem(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  EXPECT_THROW(SigningKey{pem}, Error);
}

TEST(AcmeKeys, a_request_is_signed_and_for_one_name) {
  const SigningKey key(make_key_pem());
  const auto der = make_request(key, "*.example.com");
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  X509_REQ* request = d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size()));
  ASSERT_TRUE(request);
  EXPECT_EQ(X509_REQ_verify(request, key.get()), 1);
  EXPECT_NE(der.find("*.example.com"), std::string::npos);
  X509_REQ_free(request);
}

TEST(AcmeKeys, a_challenge_certificate_has_the_digest_of_the_answer_as_critical) {
  const auto pair = make_challenge_certificate("www.example.com", "token.thumbprint");
  const auto chain = read_certificates(pair.certificate_pem);
  ASSERT_TRUE(chain);
  const auto key = read_private_key(pair.key_pem);
  ASSERT_TRUE(key);
  EXPECT_TRUE(is_pair(chain->front().get(), key->get()));
  EXPECT_EQ(facts_of(chain->front().get()).san, std::vector<std::string>{"www.example.com"});
  ASN1_OBJECT* identifier = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
  const int place = X509_get_ext_by_OBJ(chain->front().get(), identifier, -1);
  ASN1_OBJECT_free(identifier);
  ASSERT_GE(place, 0);
  auto* extension = X509_get_ext(chain->front().get(), place);
  EXPECT_EQ(X509_EXTENSION_get_critical(extension), 1);
  const auto* value = X509_EXTENSION_get_data(extension);
  const std::string bytes(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                          static_cast<std::size_t>(ASN1_STRING_length(value)));
  EXPECT_EQ(bytes, std::string("\x04\x20", 2) + sha256("token.thumbprint"));
}

}  // namespace
}  // namespace workflow::router::acme
