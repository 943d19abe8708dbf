#include "router/certificate.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

namespace workflow::router {
namespace {

// OpenSSL keeps keys of different kinds in different places, and does not compare them by itself.
std::string rsa_key() {
  EVP_PKEY* key = EVP_PKEY_Q_keygen(nullptr, nullptr, "RSA", std::size_t{2048});
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(bio, key, nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  EVP_PKEY_free(key);
  return text;
}

TEST(Certificate, a_pair_is_accepted_and_named_by_its_content) {
  const auto a = make_self_signed_certificate(), b = make_self_signed_certificate();
  const auto checked = check_certificate(a.certificate_pem, a.key_pem);
  EXPECT_EQ(checked.problem, "");
  EXPECT_EQ(checked.certificate, a);
  EXPECT_NE(a.id, b.id);
  EXPECT_TRUE(check_certificate(a.certificate_pem + b.certificate_pem, a.key_pem).certificate) << "with a chain";
}

TEST(Certificate, what_nginx_would_refuse_is_refused_with_a_reason) {
  const auto a = make_self_signed_certificate(), b = make_self_signed_certificate();
  struct Case {
    std::string certificate, key, problem;
  };
  const Case cases[] = {{a.certificate_pem, b.key_pem, "tls.key does not belong to tls.crt"},
                        {b.certificate_pem + a.certificate_pem, a.key_pem, "tls.key does not belong to tls.crt"},
                        {a.certificate_pem, rsa_key(), "tls.key does not belong to tls.crt"},
                        {"junk", a.key_pem, "tls.crt cannot be read"},
                        {a.certificate_pem, "junk", "tls.key cannot be read"},
                        {"", "", "tls.crt cannot be read"},
                        {a.certificate_pem + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                         a.key_pem, "tls.crt cannot be read: certificate 2 of the chain"},
                        {a.key_pem, a.certificate_pem, "tls.crt cannot be read"}};
  for (const auto& [certificate, key, problem] : cases) {
    const auto checked = check_certificate(certificate, key);
    EXPECT_FALSE(checked.certificate);
    EXPECT_TRUE(checked.problem.starts_with(problem)) << checked.problem;
  }
}

TEST(Certificate, parameters_for_diffie_hellman_are_told_from_other_text) {
  EXPECT_FALSE(is_dhparam(""));
  EXPECT_FALSE(is_dhparam("junk"));
  EXPECT_FALSE(is_dhparam(make_self_signed_certificate().key_pem));
}

}  // namespace
}  // namespace workflow::router
