#include "router/render.h"

#include <algorithm>
#include <bit>
#include <set>
#include <unordered_set>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::router {
namespace {

constexpr std::string_view version_mark = "# version ";

// Mozilla's intermediate list: everything that current clients have, without CBC and 3DES.
constexpr std::string_view default_ciphers =
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-"
    "SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES256-GCM-SHA384";

constexpr std::string_view default_log_format =
    "[$time_iso8601] - $app_name - $remote_addr - $remote_user - $status - \"$request\" - $bytes_sent - "
    "\"$http_referer\" - "
    "\"$http_user_agent\" - \"$router_host\" - $upstream_addr - $http_host - $upstream_response_time - $request_time";

// The longest header of a response.
constexpr std::int64_t response_head = 32 << 10;

std::string milliseconds(std::chrono::milliseconds time) { return std::to_string(time.count()) + "ms"; }
constexpr std::string_view on_off[] = {"off", "on"};

class Writer {
 public:
  template <typename... Part>
  void line(const Part&... parts) {
    text_.append(static_cast<std::size_t>(depth_) * 2, ' ');
    (append(parts), ...);
    text_ += '\n';
  }
  template <typename... Part>
  void open(const Part&... parts) {
    line(parts..., " {");
    ++depth_;
  }
  void close() {
    --depth_;
    line("}");
  }
  std::string take() { return std::move(text_); }
  void reserve(std::size_t size) { text_.reserve(size); }

 private:
  void append(std::string_view part) { text_ += part; }
  void append(std::int64_t number) { text_ += std::to_string(number); }
  std::string text_;
  int depth_ = 0;
};

class Renderer {
 public:
  Renderer(const Model& model, const Runtime& runtime) : model_(model), settings_(model.settings), runtime_(runtime) {}

  std::string text() {
    process();
    out_.open("http");
    http_basics();
    forwarding();
    proxying();
    tls();
    upstreams();
    status_server();
    server();
    out_.close();
    stream();
    return out_.take();
  }

 private:
  void process() {
    out_.line("daemon off;");
    out_.line("load_module ", runtime_.router_module, ";");
    if (model_.builder) out_.line("load_module ", runtime_.stream_module, ";");
    out_.line("worker_processes ", settings_.worker_processes.value_or(runtime_.workers), ";");
    // Old workers finish what they have begun, uploads and WebSockets included, but not for ever.
    out_.line("worker_shutdown_timeout 1h;");
    out_.line("pid ", runtime_.folder, "/nginx.pid;");
    out_.line("error_log stderr ", settings_.error_log_level, ";");
    out_.open("events");
    out_.line("worker_connections ", settings_.worker_connections.value_or(runtime_.connections_per_worker), ";");
    out_.line("multi_accept on;");
    out_.close();
  }

  void http_basics() {
    // No type is guessed from a path: an app names its own, ours are said where they are answered.
    out_.line("types { }");
    out_.line("default_type text/plain;");
    out_.line("router_state ", runtime_.folder, ";");
    for (const std::string_view kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      out_.line(kind, "_temp_path ", runtime_.folder, "/temporary/", kind, ";");
    }
    out_.line("log_format router ",
              router::quoted(settings_.log_format.empty()
                                 ? std::string(default_log_format)
                                 : replace_all(settings_.log_format, "$server_name", "$router_host")),
              ";");
    if (runtime_.access_log == "off")
      out_.line("access_log off;");
    else
      out_.line("access_log ", runtime_.access_log, " router buffer=64k flush=200ms if=$router_logged;");
    out_.line("sendfile on;");
    out_.line("tcp_nodelay on;");
    out_.line("server_tokens ", on_off[!settings_.hide_version], ";");
    out_.line("absolute_redirect off;");
    out_.line("keepalive_timeout ", milliseconds(settings_.default_timeout), ";");
    // Each end of a connection costs whoever has a request on its way just then, and another TLS handshake.
    out_.line("keepalive_requests 100000;");
    out_.line("client_max_body_size 0;");  // each app has its own limit
    out_.line("large_client_header_buffers ", settings_.header_buffers, " ", settings_.header_buffer_size, ";");
    out_.line("client_body_buffer_size 64k;");
    // Which odd names are passed on is each app's choice.
    out_.line("underscores_in_headers on;");
    out_.line("ignore_invalid_headers off;");
    out_.line("variables_hash_max_size 2048;");
    out_.line("proxy_headers_hash_bucket_size 128;");
    gzip();
  }

  void gzip() {
    const auto& gzip = settings_.gzip;
    if (!gzip.enabled) return;
    out_.line("gzip on;");
    out_.line("gzip_comp_level ", gzip.level, ";");
    out_.line("gzip_min_length ", gzip.min_length, ";");
    if (!gzip.disable.empty()) out_.line("gzip_disable ", router::quoted(gzip.disable), ";");
    out_.line("gzip_http_version ", gzip.http_version, ";");
    out_.line("gzip_proxied ", gzip.proxied, ";");
    out_.line("gzip_types ", gzip.types, ";");
    out_.line("gzip_vary ", gzip.vary, ";");
  }

  // Whom we believe about the client, and what apps are told of it.
  void forwarding() {
    for (const auto& peer : settings_.trusted_peers) out_.line("set_real_ip_from ", peer, ";");
    out_.line("real_ip_header ", settings_.proxy_protocol ? "proxy_protocol" : "X-Forwarded-For", ";");
    out_.line("real_ip_recursive on;");
  }

  void proxying() {
    out_.line("proxy_http_version 1.1;");
    // What was not sent is tried on another pod; what was, only if that is harmless.
    out_.line("proxy_next_upstream error timeout;");
    out_.line("proxy_next_upstream_tries 3;");
    out_.line("proxy_next_upstream_timeout 10s;");
    out_.line("proxy_redirect off;");
    out_.line("proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Charset;");
    out_.line("proxy_buffer_size ", response_head, ";");
    out_.line("proxy_buffers 9 4k;");
    out_.line("proxy_busy_buffers_size ", response_head, ";");
    if (settings_.hsts.enabled) out_.line("proxy_hide_header Strict-Transport-Security;");
    if (!settings_.request_ids) return;
    out_.line("proxy_hide_header X-Request-Id;");
    out_.line("proxy_hide_header X-Correlation-Id;");
  }

  void tls() {
    out_.line("ssl_protocols ", settings_.protocols, ";");
    auto ciphers = settings_.ciphers.empty() ? std::string(default_ciphers) : settings_.ciphers;
    // OpenSSL 3 refuses the old protocols above security level 0, whatever the list of protocols says.
    const auto protocols = split(settings_.protocols, ' ');
    const bool old = std::ranges::any_of(protocols, [](const auto& p) { return p != "TLSv1.2" && p != "TLSv1.3"; });
    if (old && !ciphers.contains('@'))
      ciphers += ":AES128-SHA:AES256-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0";
    out_.line("ssl_ciphers ", router::quoted(ciphers), ";");
    out_.line("ssl_prefer_server_ciphers on;");
    if (!settings_.session_cache.empty()) {
      out_.line("ssl_session_cache ", settings_.session_cache, ";");
      out_.line("ssl_session_timeout ", std::max<std::int64_t>(1, settings_.session_timeout.count() / 1000), "s;");
    }
    out_.line("ssl_session_tickets ", on_off[settings_.session_tickets], ";");
    out_.line("ssl_buffer_size ", settings_.tls_buffer_size, ";");
    out_.line("ssl_early_data ", on_off[!settings_.early_data_methods.empty()], ";");
    if (!model_.dhparam_pem.empty()) out_.line("ssl_dhparam ", dhparam_file(runtime_, model_.dhparam_pem), ";");
  }

  // Who the peers are is decided for each request: the address here is none.
  void upstreams() {
    for (const std::string_view name : {"kept", "fresh", "grpc"}) {
      out_.open("upstream pods_", name);
      out_.line("router_peers;");
      out_.line("server 127.0.0.1:9;");
      if (name != "fresh") {
        out_.line("keepalive 512;");
        out_.line("keepalive_requests 100000;");
        out_.line("keepalive_timeout 60s;");
      }
      out_.close();
    }
  }

  void status_server() {
    out_.open("server");
    out_.line("listen ", runtime_.status_port, ";");
    out_.line("access_log off;");
    out_.line("set_real_ip_from 255.255.255.255;");  // here an address is what it is, not what a header says
    for (const std::string_view path : {"/healthz", "/healthz/"}) {
      out_.open("location = ", path);
      out_.line("router_health;");
      out_.close();
    }
    out_.open("location = /version");
    out_.line("return 200 VERSION;");
    out_.close();
    out_.open("location /nginx_status");
    out_.line("allow 127.0.0.1;");
    out_.line("deny all;");
    out_.line("stub_status;");
    out_.close();
    out_.open("location /");
    out_.line("return 404;");
    out_.close();
    out_.close();
  }

  std::string listen(std::string_view more = "") const {
    return "listen " + std::to_string(runtime_.http_port) + (settings_.proxy_protocol ? " proxy_protocol" : "") +
           std::string(more) + ";";
  }
  std::string listen_tls(std::string_view more = "") const {
    return "listen " + std::to_string(runtime_.https_port) + " ssl" + (settings_.http2 ? " http2" : "") +
           (settings_.proxy_protocol ? " proxy_protocol" : "") + std::string(more) + ";";
  }
  void certificate(const std::string& id) {
    const auto file = certificate_file(runtime_, id);
    out_.line("ssl_certificate ", file, ";");
    out_.line("ssl_certificate_key ", file, ";");
  }

  // Every host of every app. What a request meets is decided by the module, which then goes on in one of the named
  // locations; they differ in what nginx fixes for a location.
  void server() {
    out_.open("server");
    out_.line(listen(" default_server backlog=4096"));
    out_.line(listen_tls(" default_server backlog=4096"));
    certificate(runtime_.fallback_certificate);
    out_.line("add_header X-Request-Id $router_request_id always;");
    if (settings_.request_ids) out_.line("add_header X-Correlation-Id $correlation_id always;");
    out_.line("add_header Strict-Transport-Security $hsts always;");
    out_.line("add_header Referrer-Policy $referrer_policy;");
    out_.line("add_header Set-Cookie $router_cookie always;");
    out_.line("error_page 403 413 429 502 503 504 @page;");
    out_.open("location @page");
    out_.line("router_page;");
    out_.close();
    out_.open("location /");
    out_.line("router on;");
    out_.close();
    way("kept", "pods_kept", "\"\"");
    way("fresh", "pods_fresh", "$upstream_connection");
    way("stream", "pods_fresh", "$upstream_connection", {"proxy_request_buffering off;"});
    grpc_way();
    out_.close();
  }

  void way(std::string_view name, std::string_view upstream, std::string_view connection,
           std::initializer_list<std::string_view> more = {}) {
    out_.open("location @", name);
    for (const auto line : more) out_.line(line);
    out_.line("proxy_http_version 1.1;");
    forwarded("proxy_set_header");
    out_.line("proxy_set_header Connection ", connection, ";");
    // WebSocket is the only protocol that is switched to; h2c through us would get past every rule.
    out_.line("proxy_set_header Upgrade $upstream_upgrade;");
    out_.line("proxy_pass http://", upstream, ";");
    out_.close();
  }

  void grpc_way() {
    if (!settings_.http2) return;
    out_.open("location @grpc");
    out_.line("grpc_buffer_size ", response_head, ";");
    out_.line("grpc_next_upstream error timeout;");
    out_.line("grpc_next_upstream_tries 3;");
    out_.line("grpc_next_upstream_timeout 10s;");
    out_.line("grpc_socket_keepalive on;");
    forwarded("grpc_set_header");
    out_.line("grpc_pass grpc://pods_grpc;");
    out_.close();
  }

  void forwarded(std::string_view directive) {
    out_.line(directive, " Host $host;");
    out_.line(directive, " X-Forwarded-For $remote_addr;");
    out_.line(directive, " X-Forwarded-Proto $client_scheme;");
    out_.line(directive, " X-Forwarded-Port $client_port;");
    out_.line(directive, " Early-Data $ssl_early_data;");
    out_.line(directive, " X-Request-Start $request_start;");
    if (!settings_.request_ids) return;
    out_.line(directive, " X-Request-Id $router_request_id;");
    out_.line(directive, " X-Correlation-Id $correlation_id;");
  }

  void stream() {
    if (!model_.builder) return;
    const auto& builder = *model_.builder;
    out_.open("stream");
    if (settings_.proxy_protocol) {
      for (const auto& peer : settings_.trusted_peers) out_.line("set_real_ip_from ", peer, ";");
    }
    if (!builder.addresses.empty()) {
      out_.open("upstream builder");
      out_.line("zone builders 256k;");
      out_.line("least_conn;");
      for (const auto& address : builder.addresses) out_.line("server ", address, " max_fails=2 fail_timeout=1s;");
      out_.close();
    }
    out_.open("server");
    out_.line("listen ", runtime_.builder_port, settings_.proxy_protocol ? " proxy_protocol" : "", ";");
    if (builder.addresses.empty()) {
      out_.line("return \"\";");  // closes at once, rather than to let git wait
    } else {
      out_.line("proxy_connect_timeout ", milliseconds(builder.connect_timeout), ";");
      out_.line("proxy_timeout ", milliseconds(builder.io_timeout), ";");
      out_.line("proxy_pass builder;");
    }
    out_.close();
    out_.close();
  }

  const Model& model_;
  const RouterSettings& settings_;
  const Runtime& runtime_;
  Writer out_;
};

}  // namespace

std::string certificate_file(const Runtime& runtime, const std::string& id) {
  return runtime.folder + "/certificates/" + id + ".pem";
}

std::string dhparam_file(const Runtime& runtime, const std::string& pem) {
  return runtime.folder + "/certificates/dhparam-" + to_hex(sha256(pem)).substr(0, 16) + ".pem";
}

std::string render(const Model& model, const Runtime& runtime) {
  auto text = Renderer(model, runtime).text();
  const auto version = to_hex(sha256(text)).substr(0, 16);
  const auto at = text.find("return 200 VERSION;");
  WF_CHECK(at != std::string::npos);
  text.replace(at + 11, 7, version);
  return std::string(version_mark) + version + "\n" + text;
}

std::string version_of(const std::string& text) {
  if (!text.starts_with(version_mark)) return "";
  return text.substr(version_mark.size(), text.find('\n') - version_mark.size());
}

}  // namespace workflow::router
