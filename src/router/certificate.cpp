#include "router/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>

#include "lib/base/certificate.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow::router {
namespace {

template <typename T, void (*release)(T*)>
struct Free {
  void operator()(T* thing) const { release(thing); }
};
using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;
using Context = std::unique_ptr<SSL_CTX, Free<SSL_CTX, SSL_CTX_free>>;

Bio bio_of(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string reason() {
  const auto code = ERR_peek_last_error();
  ERR_clear_error();
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  return text ? text : "unknown";
}

std::string id_of(const std::string& certificate_pem, const std::string& key_pem) {
  return to_hex(sha256(std::to_string(certificate_pem.size()) + ":" + certificate_pem + key_pem)).substr(0, 40);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<std::size_t>(size));
}

}  // namespace

ObservedSecret check_certificate(const std::string& certificate_pem, const std::string& key_pem) {
  const auto chain = read_certificates(certificate_pem);
  if (!chain) return {std::nullopt, "tls.crt cannot be read: " + chain.error()};
  const auto key = read_private_key(key_pem);
  if (!key) return {std::nullopt, "tls.key cannot be read: " + key.error()};
  if (!is_pair(chain->front().get(), key->get())) return {std::nullopt, "tls.key does not belong to tls.crt"};
  const Context context(SSL_CTX_new(TLS_server_method()));
  if (SSL_CTX_use_certificate(context.get(), chain->front().get()) != 1 ||
      SSL_CTX_use_PrivateKey(context.get(), key->get()) != 1) {
    return {std::nullopt, "tls.crt cannot be used: " + reason()};
  }
  return {Certificate{id_of(certificate_pem, key_pem), certificate_pem, key_pem}, ""};
}

bool is_dhparam(const std::string& pem) {
  const auto bio = bio_of(pem);
  const PrivateKey parameters(PEM_read_bio_Parameters(bio.get(), nullptr));
  const bool good = parameters && EVP_PKEY_is_a(parameters.get(), "DH") && EVP_PKEY_get_bits(parameters.get()) >= 1024;
  ERR_clear_error();
  return good;
}

Certificate make_self_signed_certificate() {
  const PrivateKey key(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256"));
  const X509Certificate certificate(X509_new());
  WF_CHECK(key && certificate);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), std::stoull(random_hex(15), nullptr, 16));
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 10L * 365 * 24 * 3600);
  auto* name = X509_get_subject_name(certificate.get());
  const std::string common = "no certificate for this host";
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(common.c_str()), -1, -1,
                             0);
  X509_set_issuer_name(certificate.get(), name);
  X509_set_pubkey(certificate.get(), key.get());
  WF_CHECK(X509_sign(certificate.get(), key.get(), EVP_sha256()) > 0);
  const Bio certificate_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_mem()));
  WF_CHECK(PEM_write_bio_X509(certificate_text.get(), certificate.get()) == 1);
  WF_CHECK(PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  Certificate made{"", text_of(certificate_text.get()), text_of(key_text.get())};
  made.id = id_of(made.certificate_pem, made.key_pem);
  return made;
}

}  // namespace workflow::router
