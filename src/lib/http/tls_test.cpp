#include <fcntl.h>

#include "lib/base/file.h"
#include "lib/base/process.h"
#include "lib/http/test_support.h"

namespace workflow::http {
namespace {

using namespace std::chrono_literals;

// A CA, a server certificate for localhost and 127.0.0.1, and a client certificate, made with openssl(1) once.
struct Pki {
  TemporaryFolder folder;
  std::string ca, server_cert, server_key, client_cert, client_key, other_ca;

  static const Pki& get() {
    static const Pki pki;
    return pki;
  }

 private:
  Pki() {
    make_ca("ca");
    make_ca("other");
    write_file_atomically(folder.path() / "server.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
    write_file_atomically(folder.path() / "client.ext", "extendedKeyUsage=clientAuth\n");
    make("server", "/CN=server");
    make("client", "/O=deis:admins/O=second/CN=peter");
    ca = text("ca.crt");
    other_ca = text("other.crt");
    server_cert = text("server.crt");
    server_key = text("server.key");
    client_cert = text("client.crt");
    client_key = text("client.key");
  }
  std::string text(const std::string& name) const { return read_file(folder.path() / name); }
  std::string path(const std::string& name) const { return (folder.path() / name).string(); }
  void openssl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "openssl");
    ProcessSpec spec{.argv = std::move(arguments)};
    const auto result = run_process(spec, 30s);
    if (result.status != 0) throw Error{ErrorKind::internal, result.err};
  }
  void make_ca(const std::string& name) {
    openssl({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
             "/CN=" + name, "-keyout", path(name + ".key"), "-out", path(name + ".crt")});
  }
  void make(const std::string& name, const std::string& subject) {
    openssl({"req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
             "-keyout", path(name + ".key"), "-out", path(name + ".csr")});
    openssl({"x509", "-req", "-in", path(name + ".csr"), "-CA", path("ca.crt"), "-CAkey", path("ca.key"), "-days", "2",
             "-CAcreateserial", "-extfile", path(name + ".ext"), "-out", path(name + ".crt")});
  }
};

Task<Response> who(Request& request) {
  std::string text = request.client_cert_cn.value_or("nobody");
  for (const auto& organization : request.client_cert_orgs) text += " " + organization;
  text += request.tls ? " tls " : " plain ";
  co_return Response::text(200, text + co_await request.text());
}

ServerConfig tls_server() {
  const auto& pki = Pki::get();
  ServerConfig config;
  config.tls = TlsFiles{pki.server_cert, pki.server_key, pki.ca};
  return config;
}

Task<std::string> ask(ClientConfig config, Url url, std::string body = "") {
  Client client(co_await asio::this_coro::executor, std::move(config));
  std::string answers;
  for (int i = 0; i < 3; ++i) {  // the first one shakes hands, the others reuse
    auto response = co_await client.send({.method = "POST", .url = url, .body = body});
    answers = co_await response.text();
  }
  co_return answers;
}

TEST(Tls, verifies_both_ends) {
  with_server(tls_server(), who, [](Server& server) -> Task<> {
    const auto& pki = Pki::get();
    auto url = url_of(server, "/", "https");
    ClientConfig anonymous{.tls = {.ca_pem = pki.ca}};
    EXPECT_EQ(co_await ask(anonymous, url), "nobody tls ");
    ClientConfig known{.tls = {.ca_pem = pki.ca, .certificate_pem = pki.client_cert, .key_pem = pki.client_key}};
    const std::string large(3'000'000, 'x');
    EXPECT_EQ(co_await ask(known, url, large), "peter deis:admins second tls " + large);
  });
}

TEST(Tls, refuses_the_wrong_authority_and_the_wrong_name) {
  with_server(tls_server(), who, [](Server& server) -> Task<> {
    const auto& pki = Pki::get();
    struct Case {
      std::string what;
      ClientConfig config;
      bool ok;
    };
    const Case cases[] = {{"other authority", {.tls = {.ca_pem = pki.other_ca}}, false},
                          {"system's roots", {}, false},
                          {"wrong name", {.tls = {.ca_pem = pki.ca, .server_name = "example.com"}}, false},
                          {"right name", {.tls = {.ca_pem = pki.ca, .server_name = "localhost"}}, true},
                          {"unverified", {.tls = {.verify = false}}, true}};
    for (const auto& [what, config, ok] : cases) {
      bool worked = true;
      std::string message;
      try {
        co_await ask(config, url_of(server, "/", "https"));
      } catch (const Error& error) {
        worked = false;
        message = error.message();
      }
      EXPECT_EQ(worked, ok) << what << ": " << message;
      if (!ok) EXPECT_NE(message.find("TLS handshake failed"), std::string::npos) << message;
    }
  });
}

TEST(Tls, refuses_a_client_certificate_of_another_authority) {
  const auto& pki = Pki::get();
  ServerConfig config;
  config.tls = TlsFiles{pki.server_cert, pki.server_key, pki.other_ca};
  with_server(config, who, [&pki](Server& server) -> Task<> {
    ClientConfig known{.tls = {.ca_pem = pki.ca, .certificate_pem = pki.client_cert, .key_pem = pki.client_key}};
    bool refused = false;
    try {
      co_await ask(known, url_of(server, "/", "https"));
    } catch (const Error&) {
      refused = true;
    }
    EXPECT_TRUE(refused);
  });
}

TEST(Tls, sends_files_and_websockets) {
  TemporaryFolder folder;
  const std::string content(1'000'000, 'f');
  write_file_atomically(folder.path() / "file", content);
  auto handler = [path = folder.path() / "file", size = content.size()](Request& request) -> Task<Response> {
    Response response;
    if (request.wants_websocket()) {
      response.body = WebSocketBody{{}, [](WebSocket& socket) -> Task<> {
                                      while (auto message = co_await socket.read()) co_await socket.write(*message);
                                    }};
    } else {
      response.body = FileBody{std::make_shared<Fd>(::open(path.c_str(), O_RDONLY)), 0, size};
    }
    co_return response;
  };
  with_server(tls_server(), handler, [&content](Server& server) -> Task<> {
    ClientConfig config{.tls = {.ca_pem = Pki::get().ca}};
    Client client(co_await asio::this_coro::executor, config);
    auto response = co_await client.send({.url = url_of(server, "/", "https")});
    EXPECT_TRUE(co_await response.text() == content);
    auto socket = co_await client.websocket(url_of(server, "/", "wss"), {}, {}, 2s);
    co_await socket->write({true, content});
    auto echoed = co_await socket->read();
    EXPECT_TRUE(echoed && echoed->data == content);
    co_await socket->close(1000, "");
  });
}

TEST(Tls, says_which_file_is_unusable) {
  const auto& pki = Pki::get();
  run_task([&pki]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    struct Case {
      TlsFiles files;
      std::string part;
    };
    const Case cases[] = {{{"nonsense", pki.server_key, {}}, "the TLS certificate"},
                          {{pki.server_cert, "nonsense", {}}, "the TLS key"},
                          {{pki.server_cert, pki.client_key, {}}, "the TLS key"},
                          {{pki.server_cert, pki.server_key, "nonsense"}, "the client CA"}};
    for (const auto& [files, part] : cases) {
      std::string message;
      try {
        Server server(executor, {.address = "127.0.0.1", .tls = files}, who);
      } catch (const Error& error) {
        message = error.message();
      }
      EXPECT_NE(message.find(part), std::string::npos) << message;
    }
  });
}

}  // namespace
}  // namespace workflow::http
