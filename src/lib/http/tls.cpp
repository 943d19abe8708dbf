#include "lib/http/tls.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ssl.hpp>
#include <functional>

#include "lib/base/certificate.h"
#include "lib/base/error.h"
#include "lib/http/transport.h"

namespace workflow::http {

namespace {

namespace ssl = asio::ssl;
constexpr auto quietly = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t file_piece = 256u << 10;

class TlsTransport : public Transport {
 public:
  TlsTransport(tcp::socket socket, std::shared_ptr<ssl::context> context)
      : context_(std::move(context)),
        stream_(std::move(socket), *context_),
        watchdog_(std::make_shared<Watchdog>(stream_.get_executor(), [this] { cancel(); })) {}
  ~TlsTransport() override { watchdog_->stop(); }

  Task<> handshake(ssl::stream_base::handshake_type side, SteadyTime deadline) {
    watchdog_->reading_until(deadline);
    const auto [error] = co_await stream_.async_handshake(side, quietly);
    watchdog_->reading_until(never);
    if (!error) co_return;
    const auto cancellation = co_await asio::this_coro::cancellation_state;
    if (error.category() != asio::error::get_ssl_category()) throw_failure(error, cancellation, *watchdog_);
    const long verdict = SSL_get_verify_result(stream_.native_handle());
    const std::string why = verdict == X509_V_OK ? error.message() : X509_verify_cert_error_string(verdict);
    throw Error{ErrorKind::unavailable, "TLS handshake failed: " + why};
  }

  void expect(const ClientName& name) {
    SSL* handle = stream_.native_handle();
    boost::system::error_code not_an_address;
    asio::ip::make_address(name.server_name, not_an_address);
    if (not_an_address) SSL_set_tlsext_host_name(handle, name.server_name.c_str());
    if (!name.verify) return;
    stream_.set_verify_mode(ssl::verify_peer);
    X509_VERIFY_PARAM* expected = SSL_get0_param(handle);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int set = not_an_address ? X509_VERIFY_PARAM_set1_host(expected, name.server_name.c_str(), 0)
                                   : X509_VERIFY_PARAM_set1_ip_asc(expected, name.server_name.c_str());
    if (set != 1) throw Error{ErrorKind::invalid, "not a name that a certificate can have: " + name.server_name};
  }

  Task<std::size_t> read_some(asio::mutable_buffer into) override {
    check_reading();
    if (ended_) co_return 0;
    const auto [error, size] = co_await stream_.async_read_some(into, quietly);
    if (error == asio::error::eof) {
      ended_ = true;
      co_return 0;
    }
    if (error) throw_failure(error, co_await asio::this_coro::cancellation_state, *watchdog_);
    co_return size;
  }

  Task<> write(Pieces pieces) override {
    // One record for a small head and its body, instead of one each.
    std::string joined;
    const std::size_t total = asio::buffer_size(pieces);
    if (total <= file_piece && pieces[1].size() > 0) {
      joined.reserve(total);
      for (const auto& piece : pieces) joined.append(static_cast<const char*>(piece.data()), piece.size());
      pieces = Pieces{asio::buffer(joined)};
    }
    for (auto piece : pieces) co_await write_piece(piece);
  }

  Task<> write_file(int fd, std::uint64_t offset, std::uint64_t length) override {
    while (length > 0) {
      const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(length, file_piece));
      auto read = [fd, offset, size] {
        std::string bytes(size, '\0');
        const auto got = ::pread(fd, bytes.data(), size, static_cast<off_t>(offset));
        bytes.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
        return bytes;
      };
      const std::string bytes = co_await offload(read);
      if (bytes.empty()) throw Error{ErrorKind::internal, "the file is shorter than announced"};
      co_await write_piece(asio::buffer(bytes));
      offset += bytes.size();
      length -= bytes.size();
    }
  }

  Task<> end_writing() override {
    // close_notify; what the peer answers is not waited for.
    SSL_set_shutdown(stream_.native_handle(), SSL_get_shutdown(stream_.native_handle()) | SSL_RECEIVED_SHUTDOWN);
    watchdog_->writing_until(std::chrono::steady_clock::now() + std::chrono::seconds(1));
    co_await stream_.async_shutdown(quietly);
    watchdog_->writing_until(never);
    boost::system::error_code ignored;
    socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  PeerIdentity identity() override {
    PeerIdentity result;
    X509* certificate = SSL_get1_peer_certificate(stream_.native_handle());
    if (certificate == nullptr) return result;
    if (SSL_get_verify_result(stream_.native_handle()) == X509_V_OK) {
      auto facts = facts_of(certificate);
      result.common_name = std::move(facts.common_name);
      result.organizations = std::move(facts.organizations);
    }
    X509_free(certificate);
    return result;
  }

  tcp::socket& socket() override { return stream_.next_layer(); }
  Watchdog& watchdog() override { return *watchdog_; }

 private:
  Task<> write_piece(asio::const_buffer piece) {
    while (piece.size() > 0) {
      watchdog_->writing_until(std::chrono::steady_clock::now() + write_timeout);
      const auto [error, size] = co_await stream_.async_write_some(piece, quietly);
      if (error) throw_failure(error, co_await asio::this_coro::cancellation_state, *watchdog_);
      piece += size;
    }
    watchdog_->writing_until(never);
  }

  std::shared_ptr<ssl::context> context_;
  ssl::stream<tcp::socket> stream_;
  std::shared_ptr<Watchdog> watchdog_;
  bool ended_ = false;  // asked again after its end, a socket would wait for an event that came already
};

// Applies one PEM text to the context; says whose it is when it does not fit.
template <typename Use>
void apply(const char* what, Use use) {
  boost::system::error_code error;
  use(error);
  if (error) throw Error{ErrorKind::invalid, std::string(what) + " is not usable: " + error.message()};
}

void use_identity(ssl::context& context, const std::string& certificate, const std::string& key) {
  apply("the TLS certificate", [&](auto& error) { context.use_certificate_chain(asio::buffer(certificate), error); });
  apply("the TLS key", [&](auto& error) { context.use_private_key(asio::buffer(key), ssl::context::pem, error); });
  if (SSL_CTX_check_private_key(context.native_handle()) != 1) {
    throw Error{ErrorKind::invalid, "the TLS key does not belong to the certificate"};
  }
}

// Clients that offer HTTP/2 as well are told that we speak 1.1.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size,
                    void*) {
  static constexpr unsigned char ours[] = "\x08http/1.1";
  auto* chosen = const_cast<unsigned char*>(*out);
  const int result = SSL_select_next_proto(&chosen, out_size, ours, sizeof(ours) - 1, in, in_size);
  *out = chosen;
  return result == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

}  // namespace

std::shared_ptr<ssl::context> server_context(const TlsFiles& files) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  SSL_CTX* handle = context->native_handle();
  SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
  SSL_CTX_set_options(handle, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(handle, choose_protocol, nullptr);
  use_identity(*context, files.certificate_pem, files.key_pem);
  if (files.client_ca_pem) {
    apply("the client CA",
          [&](auto& error) { context->add_certificate_authority(asio::buffer(*files.client_ca_pem), error); });
    context->set_verify_mode(ssl::verify_peer);
    static constexpr unsigned char session_id[] = "workflow";  // resumption needs one when clients are verified
    SSL_CTX_set_session_id_context(handle, session_id, sizeof(session_id) - 1);
  }
  return context;
}

std::shared_ptr<ssl::context> client_context(const ClientTls& tls) {
  auto context = std::make_shared<ssl::context>(ssl::context::tls_client);
  SSL_CTX_set_min_proto_version(context->native_handle(), TLS1_2_VERSION);
  if (tls.ca_pem) {
    apply("the CA", [&](auto& error) { context->add_certificate_authority(asio::buffer(*tls.ca_pem), error); });
  } else if (tls.verify) {
    apply("the system's list of CAs", [&](auto& error) { context->set_default_verify_paths(error); });
  }
  if (!tls.certificate_pem.empty()) use_identity(*context, tls.certificate_pem, tls.key_pem);
  return context;
}

Task<std::unique_ptr<Transport>> tls_server_transport(tcp::socket socket, std::shared_ptr<ssl::context> context,
                                                      std::chrono::milliseconds limit) {
  auto transport = std::make_unique<TlsTransport>(std::move(socket), std::move(context));
  co_await transport->handshake(ssl::stream_base::server, std::chrono::steady_clock::now() + limit);
  co_return std::move(transport);
}

Task<std::unique_ptr<Transport>> tls_client_transport(tcp::socket socket, std::shared_ptr<ssl::context> context,
                                                      ClientName name, SteadyTime deadline) {
  auto transport = std::make_unique<TlsTransport>(std::move(socket), std::move(context));
  transport->expect(name);
  co_await transport->handshake(ssl::stream_base::client, deadline);
  co_return std::move(transport);
}

}  // namespace workflow::http
