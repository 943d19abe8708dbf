#include "engine/apiserver/pki.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <memory>

#include "lib/base/certificate.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/json/json.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {

namespace {

namespace fs = std::filesystem;

template <typename T, void (*Free)(T*)>
struct Freed {
  void operator()(T* p) const { Free(p); }
};
void free_bio(BIO* bio) { BIO_free(bio); }
using Bio = std::unique_ptr<BIO, Freed<BIO, free_bio>>;

constexpr int ca_days = 3650, leaf_days = 825, renew_days = 60;

void check(bool ok, const char* what) {
  if (!ok) throw Error{ErrorKind::internal, std::string("OpenSSL cannot ") + what};
}

PrivateKey new_key() {
  PrivateKey key(EVP_EC_gen("P-256"));
  check(key != nullptr, "make a key");
  return key;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

std::string pem_of(EVP_PKEY* key) {
  Bio bio(BIO_new(BIO_s_mem()));
  check(PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1, "write a key");
  return text_of(bio.get());
}

std::string pem_of(X509* certificate) {
  Bio bio(BIO_new(BIO_s_mem()));
  check(PEM_write_bio_X509(bio.get(), certificate) == 1, "write a certificate");
  return text_of(bio.get());
}

struct Subject {
  std::string common_name, organization;
};
struct Shape {
  Subject subject;
  int days;
  bool is_ca = false;
  std::string usage;              // extendedKeyUsage
  std::string alternative_names;  // subjectAltName
};

void extend(X509* certificate, X509* issuer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  check(extension != nullptr, "make a certificate extension");
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

X509Certificate new_certificate(const Shape& shape, EVP_PKEY* key, X509* issuer, EVP_PKEY* issuer_key, Time now) {
  X509Certificate certificate(X509_new());
  X509* c = certificate.get();
  check(c != nullptr, "make a certificate");
  X509_set_version(c, 2);
  auto serial = random_bytes(16);
  serial[0] = static_cast<char>(serial[0] & 0x7f);
  BIGNUM* number =
      BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()), static_cast<int>(serial.size()), nullptr);
  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(c));
  BN_free(number);
  const auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count();
  ASN1_TIME_set(X509_getm_notBefore(c), seconds - 300);
  ASN1_TIME_set(X509_getm_notAfter(c), seconds + 86400L * shape.days);
  X509_NAME* name = X509_get_subject_name(c);
  const auto add = [name](const char* field, const std::string& value) {
    if (value.empty()) return;
    X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, reinterpret_cast<const unsigned char*>(value.c_str()), -1,
                               -1, 0);
  };
  add("O", shape.subject.organization);
  add("CN", shape.subject.common_name);
  X509_set_issuer_name(c, issuer != nullptr ? X509_get_subject_name(issuer) : name);
  X509_set_pubkey(c, key);
  X509* parent = issuer != nullptr ? issuer : c;
  extend(c, parent, NID_basic_constraints, shape.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
  extend(c, parent, NID_key_usage, shape.is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
  extend(c, parent, NID_subject_key_identifier, "hash");
  if (issuer != nullptr) extend(c, parent, NID_authority_key_identifier, "keyid");
  if (!shape.usage.empty()) extend(c, parent, NID_ext_key_usage, shape.usage);
  if (!shape.alternative_names.empty()) extend(c, parent, NID_subject_alt_name, shape.alternative_names);
  check(X509_sign(c, issuer_key, EVP_sha256()) != 0, "sign a certificate");
  return certificate;
}

bool lasts(X509* certificate, Time now, int days) {
  auto seconds = std::chrono::floor<std::chrono::seconds>(now).time_since_epoch().count() + 86400L * days;
  return X509_cmp_time(X509_get0_notAfter(certificate), &seconds) > 0;
}

bool names_match(X509* certificate, const std::vector<std::string>& names, const std::vector<std::string>& addresses) {
  for (const auto& name : names) {
    if (X509_check_host(certificate, name.data(), name.size(), 0, nullptr) != 1) return false;
  }
  for (const auto& address : addresses) {
    if (X509_check_ip_asc(certificate, address.c_str(), 0) != 1) return false;
  }
  return true;
}

struct Pair {
  std::string certificate, key;
};

class Folder {
 public:
  Folder(fs::path path, Time now) : path_(std::move(path)), now_(now) {
    fs::create_directories(path_);
    ::chmod(path_.c_str(), 0700);
  }

  // The stored pair, when it is there and `good`.
  template <typename Good>
  std::optional<Pair> find(const std::string& name, Good good) const {
    const auto certificate = find_file(path_ / (name + ".crt")), key = find_file(path_ / (name + ".key"));
    if (!certificate || !key) return std::nullopt;
    const auto c = read_certificates(*certificate);
    const auto k = read_private_key(*key);
    if (!c || !k || !is_pair(c->front().get(), k->get()) || !good(c->front().get())) return std::nullopt;
    return Pair{*certificate, *key};
  }
  Pair keep(const std::string& name, X509* certificate, EVP_PKEY* key) const {
    Pair pair{pem_of(certificate), pem_of(key)};
    write_file_atomically(path_ / (name + ".key"), pair.key, 0600);
    write_file_atomically(path_ / (name + ".crt"), pair.certificate, 0644);
    return pair;
  }
  std::string token_key() const {
    const auto file = path_ / "tokens.key";
    if (auto key = find_file(file); key && read_private_key(*key)) return *key;
    const auto pem = pem_of(new_key().get());
    write_file_atomically(file, pem, 0600);
    return pem;
  }
  Pair authority() const {
    if (auto pair = find("ca", [&](X509* c) { return lasts(c, now_, leaf_days); })) return *pair;
    const auto key = new_key();
    const Shape shape{.subject = {"workflow engine", ""}, .days = ca_days, .is_ca = true};
    const auto certificate = new_certificate(shape, key.get(), nullptr, key.get(), now_);
    return keep("ca", certificate.get(), key.get());
  }
  template <typename Good>
  Pair leaf(const std::string& name, const Pair& ca, const Shape& shape, Good good) const {
    const auto issuers = read_certificates(ca.certificate);
    const auto issuer_key = read_private_key(ca.key);
    check(issuers && issuer_key, "read our own authority");
    const auto usable = [&](X509* c) {
      return lasts(c, now_, renew_days) && X509_verify(c, issuer_key->get()) == 1 && good(c);
    };
    if (auto pair = find(name, usable)) return *pair;
    const auto key = new_key();
    const auto certificate = new_certificate(shape, key.get(), issuers->front().get(), issuer_key->get(), now_);
    return keep(name, certificate.get(), key.get());
  }

 private:
  fs::path path_;
  Time now_;
};

}  // namespace

Pki open_pki(const fs::path& path, const std::vector<std::string>& names, const std::vector<std::string>& addresses,
             const Clock& clock) {
  const Folder folder(path, clock.now());
  const auto ca = folder.authority();
  std::vector<std::string> alternatives;
  for (const auto& name : names) alternatives.push_back("DNS:" + name);
  for (const auto& address : addresses) alternatives.push_back("IP:" + address);
  const Shape server{.subject = {"kubernetes", ""},
                     .days = leaf_days,
                     .usage = "serverAuth",
                     .alternative_names = join(alternatives, ",")};
  const Shape admin{.subject = {"kubernetes-admin", "system:masters"}, .days = leaf_days, .usage = "clientAuth"};
  const auto serving = folder.leaf("server", ca, server, [&](X509* c) { return names_match(c, names, addresses); });
  const auto administrator = folder.leaf("admin", ca, admin, [](X509*) { return true; });
  return {.ca_certificate = ca.certificate,
          .server_certificate = serving.certificate,
          .server_key = Secret(serving.key),
          .admin_certificate = administrator.certificate,
          .admin_key = Secret(administrator.key),
          .token_key = Secret(folder.token_key())};
}

std::string kubeconfig(const Pki& pki, const std::string& server) {
  const json::object config{
      {"apiVersion", "v1"},
      {"kind", "Config"},
      {"clusters", json::array{json::object{
                       {"name", "workflow"},
                       {"cluster", json::object{{"server", server},
                                                {"certificate-authority-data", to_base64(pki.ca_certificate)}}}}}},
      {"users",
       json::array{json::object{{"name", "admin"},
                                {"user", json::object{{"client-certificate-data", to_base64(pki.admin_certificate)},
                                                      {"client-key-data", to_base64(pki.admin_key.reveal())}}}}}},
      {"contexts", json::array{json::object{{"name", "workflow"},
                                            {"context", json::object{{"cluster", "workflow"}, {"user", "admin"}}}}}},
      {"current-context", "workflow"}};
  return kube::print_yaml(config);
}

}  // namespace workflow::engine
