#include "lib/base/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow {
namespace {

template <typename T, void (*release)(T*)>
struct Free {
  void operator()(T* thing) const { release(thing); }
};
using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;

Bio bio_of(std::string_view text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

// Without this an encrypted key would ask for its passphrase on a terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

std::string reason() {
  const auto code = ERR_peek_last_error();
  ERR_clear_error();
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  return text ? text : "not in PEM format";
}

bool at_end() {
  const auto code = ERR_peek_last_error();
  return ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
}

std::optional<std::string> find_text(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, string);
  if (size < 0) return std::nullopt;
  std::string out(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return out;
}

std::vector<std::string> values(const X509_NAME* name, int kind) {
  std::vector<std::string> found;
  for (int at = X509_NAME_get_index_by_NID(name, kind, -1); at >= 0; at = X509_NAME_get_index_by_NID(name, kind, at)) {
    if (auto value = find_text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)))) found.push_back(*value);
  }
  return found;
}

std::string name_text(const X509_NAME* name) {
  std::string out;
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const auto* entry = X509_NAME_get_entry(name, i);
    const char* key = OBJ_nid2sn(OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)));
    out += "/" + std::string(key) + "=" + find_text(X509_NAME_ENTRY_get_data(entry)).value_or("");
  }
  return out;
}

Time time_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::from_time_t(timegm(&parts)));
}

std::string fingerprint_of(const X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  WF_CHECK(X509_digest(certificate, EVP_sha256(), digest, &size) == 1);
  const auto hex = to_hex(std::string_view(reinterpret_cast<const char*>(digest), size));
  std::string out;
  for (std::size_t i = 0; i < hex.size(); ++i) {
    if (i > 0 && i % 2 == 0) out += ':';
    out += static_cast<char>(hex[i] >= 'a' ? hex[i] - 'a' + 'A' : hex[i]);
  }
  return out;
}

}  // namespace

void FreeX509::operator()(x509_st* certificate) const { X509_free(certificate); }
void FreeX509::operator()(evp_pkey_st* key) const { EVP_PKEY_free(key); }

// The same steps as nginx takes: leaf, then every further certificate of the chain.
std::expected<std::vector<X509Certificate>, std::string> read_certificates(std::string_view pem) {
  ERR_clear_error();
  const auto bio = bio_of(pem);
  std::vector<X509Certificate> all;
  all.emplace_back(PEM_read_bio_X509_AUX(bio.get(), nullptr, no_passphrase, nullptr));
  if (!all.front()) return std::unexpected(reason());
  while (auto* next = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr)) all.emplace_back(next);
  if (!at_end()) return std::unexpected("certificate " + std::to_string(all.size() + 1) + " of the chain: " + reason());
  ERR_clear_error();
  return all;
}

std::expected<PrivateKey, std::string> read_private_key(std::string_view pem) {
  ERR_clear_error();
  const auto bio = bio_of(pem);
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) return std::unexpected(reason());
  ERR_clear_error();
  return key;
}

bool is_pair(const x509_st* certificate, const evp_pkey_st* key) {
  const bool pair = X509_check_private_key(certificate, key) == 1;
  ERR_clear_error();
  return pair;
}

CertificateFacts facts_of(const x509_st* certificate) {
  CertificateFacts facts;
  const auto* subject = X509_get_subject_name(certificate);
  if (auto names = values(subject, NID_commonName); !names.empty()) facts.common_name = std::move(names.front());
  facts.organizations = values(subject, NID_organizationName);
  const std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES, GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type != GEN_DNS) continue;
    if (auto text = find_text(name->d.dNSName)) facts.san.push_back(*std::move(text));
  }
  facts.fingerprint = fingerprint_of(certificate);
  facts.starts = time_of(X509_get0_notBefore(certificate));
  facts.expires = time_of(X509_get0_notAfter(certificate));
  facts.issuer = name_text(X509_get_issuer_name(certificate));
  facts.subject = name_text(subject);
  ERR_clear_error();
  return facts;
}

}  // namespace workflow
