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

// Without one of its own a name has the platform's, and without that the configuration's.
int choose(SSL* ssl, void*) {
  const auto* table = tables() ? tables()->current() : nullptr;
  if (!table) return 1;
  const char* asked = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  std::string name(asked ? asked : "");
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (name.ends_with('.')) name.pop_back();
  const auto* host = table->find_host(name, regexes());
  auto id = host ? table->text(host->certificate) : std::string_view();
  if (id.empty()) id = table->text(table->settings().platform_certificate);
  if (id.empty()) return 1;
  const auto* certificate = find_certificate(std::string(id));
  if (certificate) {
    SSL_certs_clear(ssl);  // else one of another kind of key would stay beside it
    SSL_use_cert_and_key(ssl, certificate->leaf.get(), certificate->key.get(), certificate->chain.get(), 1);
  }
  return 1;
}

}  // namespace

ngx_int_t choose_certificates_in(ngx_conf_t* conf) {
  auto* main = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(conf, ngx_http_core_module));
  auto** servers = static_cast<ngx_http_core_srv_conf_t**>(main->servers.elts);
  for (ngx_uint_t i = 0; i < main->servers.nelts; ++i) {
    auto* ssl = static_cast<ngx_http_ssl_srv_conf_t*>(servers[i]->ctx->srv_conf[ngx_http_ssl_module.ctx_index]);
    if (ssl && ssl->ssl.ctx) SSL_CTX_set_cert_cb(ssl->ssl.ctx, choose, nullptr);
  }
  return NGX_OK;
}

}  // namespace workflow::router::module
