// Certificates by the name that a client asks for, read when they are first needed.
#include <fcntl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <unordered_map>

#include "router/module/module.h"

extern "C" {
extern ngx_module_t ngx_http_ssl_module;
}

namespace workflow::router::module {
namespace {

constexpr std::size_t max_kept = 4096, max_size = 1 << 20;

struct Free {
  void operator()(X509* x) const { X509_free(x); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(BIO* bio) const { BIO_free(bio); }
  void operator()(STACK_OF(X509) * chain) const { sk_X509_pop_free(chain, X509_free); }
};
struct Certificate {
  std::unique_ptr<X509, Free> leaf;
  std::unique_ptr<STACK_OF(X509), Free> chain;
  std::unique_ptr<EVP_PKEY, Free> key;
};

int no_passphrase(char*, int, int, void*) { return -1; }

std::string read_all(int folder, const std::string& name) {
  std::string text;
  const int fd = ::openat(folder, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  char buffer[8192];
  for (ssize_t size = 1; fd >= 0 && text.size() < max_size && (size = ::read(fd, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(size));
  if (fd >= 0) ::close(fd);
  return text;
}

std::unique_ptr<BIO, Free> bio_of(const std::string& text) {
  return std::unique_ptr<BIO, Free>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// The router has tried it before it wrote it: leaf, chain, key.
Certificate read_certificate(const std::string& name) {
  const auto text = read_all(certificate_folder(), name);
  Certificate read;
  const auto bio = bio_of(text), key_bio = bio_of(text);
  read.leaf.reset(PEM_read_bio_X509_AUX(bio.get(), nullptr, no_passphrase, nullptr));
  read.chain.reset(sk_X509_new_null());
  while (auto* next = PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr))
    sk_X509_push(read.chain.get(), next);
  read.key.reset(PEM_read_bio_PrivateKey(key_bio.get(), nullptr, no_passphrase, nullptr));
  ERR_clear_error();
  return read;
}

const Certificate* find_certificate(const std::string& id) {
  static std::unordered_map<std::string, Certificate> kept;
  const auto found = kept.find(id);
  if (found != kept.end()) return &found->second;
  auto read = read_certificate(id + ".pem");
  if (!read.leaf || !read.key) return nullptr;
  if (kept.size() >= max_kept) kept.clear();
  return &kept.emplace(id, std::move(read)).first->second;
}

bool use_certificate(SSL* ssl, const std::string& id) {
  const auto* certificate = find_certificate(id);
  if (!certificate) return false;
  SSL_certs_clear(ssl);  // else one of another kind of key would stay beside it
  return SSL_use_cert_and_key(ssl, certificate->leaf.get(), certificate->key.get(), certificate->chain.get(), 1) == 1;
}

// --- validation by a certificate authority (RFC 8737): a client that speaks nothing but "acme-tls/1" sees the answer
// in a certificate, and nobody else does

constexpr std::string_view validation_protocol = "acme-tls/1";

int validation_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}
bool is_validation(const SSL* ssl) { return SSL_get_ex_data(ssl, validation_index()) != nullptr; }

// The certificate is chosen before the protocol: what the client speaks is seen in its first words.
int read_hello(SSL* ssl, int*, void*) {
  static constexpr std::string_view only(
      "\0\x0b\x0a"
      "acme-tls/1",
      13);
  static char yes = 1;
  const unsigned char* data = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &data, &size) == 1 &&
      std::string_view(reinterpret_cast<const char*>(data), size) == only)
    SSL_set_ex_data(ssl, validation_index(), &yes);
  return SSL_CLIENT_HELLO_SUCCESS;
}

// As nginx chooses it, whose own choice this replaces.
int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* size, const unsigned char* offered,
                    unsigned int offered_size, void*) {
  if (is_validation(ssl)) {
    *out = offered + 1;
    *size = validation_protocol.size();
    return SSL_TLSEXT_ERR_OK;
  }
  static constexpr std::string_view with_h2 = "\x02h2\x08http/1.1\x08http/1.0\x08http/0.9";
  const auto* connection = static_cast<const ngx_connection_t*>(ngx_ssl_get_connection(ssl));
  const auto* http = static_cast<ngx_http_connection_t*>(connection->data);
  const auto ours = http->addr_conf->http2 ? with_h2 : with_h2.substr(3);
  const auto chosen =
      SSL_select_next_proto(const_cast<unsigned char**>(out), size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned int>(ours.size()), offered, offered_size);
  return chosen == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

std::string_view validation_certificate(const table::Table& table, std::string_view name) {
  for (const auto& challenge : table.challenges()) {
    if (table.text(challenge.domain) == name) return table.text(challenge.certificate);
  }
  return {};
}

// Without one of its own a name has the platform's, and without that the configuration's.
int choose(SSL* ssl, void*) {
  const auto* table = tables() ? tables()->current() : nullptr;
  if (!table) return 1;
  const char* asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  std::string name(asked ? asked : "");
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (name.ends_with('.')) name.pop_back();
  if (is_validation(ssl)) {
    const auto answer = validation_certificate(*table, name);
    return !answer.empty() && use_certificate(ssl, std::string(answer)) ? 1 : 0;
  }
  const auto* host = table->find_host(name, regexes());
  auto id = host ? table->text(host->certificate) : std::string_view();
  if (id.empty()) id = table->text(table->settings().platform_certificate);
  if (id.empty()) return 1;
  use_certificate(ssl, std::string(id));
  return 1;
}

}  // namespace

ngx_int_t choose_certificates_in(ngx_conf_t* conf) {
  auto* main = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(conf, ngx_http_core_module));
  auto** servers = static_cast<ngx_http_core_srv_conf_t**>(main->servers.elts);
  for (ngx_uint_t i = 0; i < main->servers.nelts; ++i) {
    auto* ssl = static_cast<ngx_http_ssl_srv_conf_t*>(servers[i]->ctx->srv_conf[ngx_http_ssl_module.ctx_index]);
    if (!ssl || !ssl->ssl.ctx) continue;
    SSL_CTX_set_client_hello_cb(ssl->ssl.ctx, read_hello, nullptr);
    SSL_CTX_set_cert_cb(ssl->ssl.ctx, choose, nullptr);
    SSL_CTX_set_alpn_select_cb(ssl->ssl.ctx, choose_protocol, nullptr);
  }
  return NGX_OK;
}

}  // namespace workflow::router::module
