#include "controller/certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow::controller {
namespace {

template <typename T, void (*release)(T*)>
struct Free {
  void operator()(T* thing) const { release(thing); }
};
using Bio = std::unique_ptr<BIO, Free<BIO, BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Free<X509, X509_free>>;
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY, EVP_PKEY_free>>;

Bio bio_of(const std::string& text) { return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))); }

std::string reason() {
  const auto code = ERR_get_error();
  ERR_clear_error();
  const char* text = code ? ERR_reason_error_string(code) : nullptr;
  return text ? text : "not in PEM format";
}

X509Ptr load_certificate(const std::string& pem) {
  const auto bio = bio_of(pem);
  X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) throw Error(Error::Fields{{"certificate", {"Could not load certificate: " + reason()}}});
  return certificate;
}

Key load_key(const std::string& pem) {
  const auto bio = bio_of(pem);
  // Without this an encrypted key would ask for its passphrase on a terminal.
  auto no_passphrase = [](char*, int, int, void*) { return -1; };
  Key key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
  if (!key) throw Error(Error::Fields{{"key", {"Could not load private key: " + reason()}}});
  return key;
}

std::string text_of(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, string);
  if (size < 0) return "";
  std::string out(reinterpret_cast<char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return out;
}

std::string name_text(const X509_NAME* name) {
  std::string out;
  for (int i = 0; i < X509_NAME_entry_count(name); ++i) {
    const auto* entry = X509_NAME_get_entry(name, i);
    const char* key = OBJ_nid2sn(OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)));
    out += "/" + std::string(key) + "=" + text_of(X509_NAME_ENTRY_get_data(entry));
  }
  return out;
}

Time time_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  return std::chrono::time_point_cast<std::chrono::nanoseconds>(std::chrono::system_clock::from_time_t(timegm(&parts)));
}

}  // namespace

CertificateFacts certificate_facts(const std::string& pem) {
  const auto certificate = load_certificate(pem);
  CertificateFacts facts;
  const auto* subject = X509_get_subject_name(certificate.get());
  if (const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1); at >= 0) {
    facts.common_name = text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
  }
  const std::unique_ptr<GENERAL_NAMES, Free<GENERAL_NAMES, GENERAL_NAMES_free>> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const auto* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) facts.san.push_back(text_of(name->d.dNSName));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  WF_CHECK(X509_digest(certificate.get(), EVP_sha256(), digest, &size) == 1);
  const auto hex = to_hex(std::string_view(reinterpret_cast<const char*>(digest), size));
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    facts.fingerprint += i ? ":" : "";
    for (const char c : hex.substr(i, 2)) facts.fingerprint += static_cast<char>(c >= 'a' ? c - 'a' + 'A' : c);
  }
  facts.starts = time_of(X509_get0_notBefore(certificate.get()));
  facts.expires = time_of(X509_get0_notAfter(certificate.get()));
  facts.issuer = name_text(X509_get_issuer_name(certificate.get()));
  facts.subject = name_text(subject);
  return facts;
}

void check_key_pair(const std::string& certificate_pem, const std::string& key_pem) {
  Error::Fields problems;
  X509Ptr certificate;
  Key key;
  auto collect = [&problems](const auto& load) {
    try {
      load();
    } catch (const Error& error) {
      problems.insert(error.fields().begin(), error.fields().end());
    }
  };
  collect([&] { certificate = load_certificate(certificate_pem); });
  collect([&] { key = load_key(key_pem); });
  if (!problems.empty()) throw Error(std::move(problems));
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    throw Error(Error::Fields{{"key", {"Certificate and private key do not match!"}}});
  }
}

}  // namespace workflow::controller
