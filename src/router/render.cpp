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
    "\"$http_user_agent\" - \"$server_name\" - $upstream_addr - $http_host - $upstream_response_time - $request_time";

constexpr std::string_view maintenance_page =
    "<!DOCTYPE html><html><head><title>Site Maintenance</title></head><body><h1>Site Maintenance</h1></body></html>";

// The longest header of a response.
constexpr std::int64_t response_head = 32 << 10;

constexpr std::string_view bad_answer =
    "The application's answer could not be used: it refused the connection, closed it too early, or sent a header of "
    "more than 32 KiB.";

std::string size_text(std::int64_t bytes) {
  if (bytes % (1 << 20) == 0) return std::to_string(bytes >> 20) + " MiB";
  if (bytes % (1 << 10) == 0) return std::to_string(bytes >> 10) + " KiB";
  return std::to_string(bytes) + " bytes";
}

std::string milliseconds(std::chrono::milliseconds time) { return std::to_string(time.count()) + "ms"; }
std::string_view on_off(bool value) { return value ? "on" : "off"; }

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
    out_.reserve(4096 + model_.apps.size() * 1024);
    process();
    out_.open("http");
    http_basics();
    forwarding();
    responses();
    tls();
    upstreams();
    status_server();
    default_servers();
    for (const auto& app : model_.apps) {
      for (const auto& host : app.hosts) server(app, host);
    }
    out_.close();
    stream();
    return out_.take();
  }

 private:
  void process() {
    out_.line("daemon off;");
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
    for (const std::string_view kind : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      out_.line(kind, "_temp_path ", runtime_.folder, "/temporary/", kind, ";");
    }
    out_.line("log_format router ",
              quoted(settings_.log_format.empty() ? default_log_format : std::string_view(settings_.log_format)), ";");
    if (runtime_.access_log == "off")
      out_.line("access_log off;");
    else
      out_.line("access_log ", runtime_.access_log, " router;");
    out_.line("uninitialized_variable_warn off;");
    out_.line("sendfile on;");
    out_.line("tcp_nodelay on;");
    out_.line("server_tokens ", on_off(!settings_.hide_version), ";");
    out_.line("absolute_redirect off;");
    out_.line("keepalive_timeout ", milliseconds(settings_.default_timeout), ";");
    out_.line("client_max_body_size ", settings_.body_size, ";");
    out_.line("large_client_header_buffers ", settings_.header_buffers, " ", settings_.header_buffer_size, ";");
    // Room for names of 253 characters, and for all of them.
    std::size_t names = 64;
    for (const auto& app : model_.apps) names += app.hosts.size();
    out_.line("server_names_hash_bucket_size 512;");
    out_.line("server_names_hash_max_size ", static_cast<std::int64_t>(std::bit_ceil(names) * 2), ";");
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
    if (!gzip.disable.empty()) out_.line("gzip_disable ", quoted(gzip.disable), ";");
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
    out_.open("geo $realip_remote_addr $trusted_peer");
    out_.line("default 0;");
    for (const auto& peer : settings_.trusted_peers) out_.line(peer, " 1;");
    out_.close();
    out_.open("map \"$scheme:$trusted_peer:$http_x_forwarded_proto\" $client_scheme");
    out_.line("default http;");
    out_.line("~^https: https;");
    out_.line("\"~^http:1:(?:.*,)? *(?<named_scheme>https?|wss?) *$\" $named_scheme;");
    out_.close();
    out_.open("map \"$trusted_peer:$scheme:$http_x_forwarded_port\" $client_port");
    out_.line("default 80;");
    out_.line("~^1:https?:(?<named_port>[0-9]+)$ $named_port;");
    out_.line("~^[01]:https: 443;");
    out_.close();
    out_.open("map $client_scheme $redirect_scheme");
    out_.line("default https;");
    out_.line("https \"\";");
    out_.line("wss \"\";");
    out_.line("ws wss;");
    out_.close();
    // WebSocket is the only protocol that is switched to; h2c through us would get past every rule.
    out_.open("map $http_upgrade $upstream_upgrade");
    out_.line("default \"\";");
    out_.line("~*^websocket$ websocket;");
    out_.close();
    out_.open("map $http_upgrade $upstream_connection");
    out_.line("default close;");
    out_.line("~*^websocket$ upgrade;");
    out_.close();
    if (settings_.request_ids) {
      out_.open("map $http_x_correlation_id $correlation_id");
      out_.line("default \"$http_x_correlation_id,$request_id\";");
      out_.line("\"\" $request_id;");
      out_.close();
    }
    proxying();
  }

  void proxying() {
    out_.line("proxy_http_version 1.1;");
    // A connection of its own for each request: an app that closes an idle connection just when a request arrives on it
    // costs a request that cannot be repeated. What was not sent is tried on another pod; what was, only if that is
    // harmless.
    out_.line("proxy_next_upstream error timeout;");
    out_.line("proxy_next_upstream_tries 3;");
    out_.line("proxy_next_upstream_timeout 10s;");
    out_.line("proxy_redirect off;");
    out_.line("proxy_ignore_headers X-Accel-Redirect X-Accel-Expires X-Accel-Limit-Rate X-Accel-Charset;");
    out_.line("proxy_set_header Host $host;");
    out_.line("proxy_set_header X-Forwarded-For $remote_addr;");
    out_.line("proxy_set_header X-Forwarded-Proto $client_scheme;");
    out_.line("proxy_set_header X-Forwarded-Port $client_port;");
    out_.line("proxy_set_header Upgrade $upstream_upgrade;");
    out_.line("proxy_set_header Connection $upstream_connection;");
    out_.line("proxy_set_header Early-Data $ssl_early_data;");
    if (settings_.request_start) out_.line("proxy_set_header X-Request-Start $request_start;");
    if (!settings_.request_ids) return;
    out_.line("proxy_set_header X-Request-Id $request_id;");
    out_.line("proxy_set_header X-Correlation-Id $correlation_id;");
    out_.line("proxy_hide_header X-Request-Id;");
    out_.line("proxy_hide_header X-Correlation-Id;");
  }

  void responses() {
    if (settings_.hsts) {
      const auto value = "\"max-age=" + std::to_string(settings_.hsts_max_age) +
                         (settings_.hsts_subdomains ? "; includeSubDomains" : "") +
                         (settings_.hsts_preload ? "; preload" : "") + "\"";
      out_.open("map $client_scheme $hsts");
      out_.line("default \"\";");
      out_.line("https ", value, ";");
      out_.line("wss ", value, ";");
      out_.close();
      out_.line("proxy_hide_header Strict-Transport-Security;");
    }
    // An app that states its own policy knows better.
    std::set<std::string> policies;
    for (const auto& app : model_.apps) {
      if (!app.referrer_policy.empty()) policies.insert(app.referrer_policy);
    }
    for (const auto& policy : policies) {
      out_.open("map $upstream_http_referrer_policy ", policy_variable(policy));
      out_.line("default \"\";");
      out_.line("\"\" ", policy, ";");
      out_.close();
    }
    if (!settings_.early_data_methods.empty()) {
      out_.open("map \"$ssl_early_data:$request_method\" $too_early");
      out_.line("default 0;");
      out_.line("~^1:(?:", join(settings_.early_data_methods, "|"), ")$ 0;");
      out_.line("~^1: 1;");
      out_.close();
    }
  }

  static std::string policy_variable(const std::string& policy) { return "$policy_" + replace_all(policy, "-", "_"); }

  void tls() {
    out_.line("ssl_protocols ", settings_.protocols, ";");
    auto ciphers = settings_.ciphers.empty() ? std::string(default_ciphers) : settings_.ciphers;
    // OpenSSL 3 refuses the old protocols above security level 0, whatever the list of protocols says.
    const auto protocols = split(settings_.protocols, ' ');
    const bool old = std::ranges::any_of(protocols, [](const auto& p) { return p != "TLSv1.2" && p != "TLSv1.3"; });
    if (old && !ciphers.contains('@'))
      ciphers += ":AES128-SHA:AES256-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0";
    out_.line("ssl_ciphers ", quoted(ciphers), ";");
    out_.line("ssl_prefer_server_ciphers on;");
    if (!settings_.session_cache.empty()) {
      out_.line("ssl_session_cache ", settings_.session_cache, ";");
      out_.line("ssl_session_timeout ", std::max<std::int64_t>(1, settings_.session_timeout.count() / 1000), "s;");
    }
    out_.line("ssl_session_tickets ", on_off(settings_.session_tickets), ";");
    out_.line("ssl_buffer_size ", settings_.tls_buffer_size, ";");
    out_.line("ssl_early_data ", on_off(!settings_.early_data_methods.empty()), ";");
    if (!model_.dhparam_pem.empty()) out_.line("ssl_dhparam ", dhparam_file(runtime_, model_.dhparam_pem), ";");
  }

  // One zone for all: its turns are taken by all workers together, so that few requests already reach every pod.
  void upstreams() {
    std::size_t groups = 0, peers = 0;
    for (const auto& backend : model_.backends) {
      groups += backend.addresses.empty() ? 0 : 1;
      peers += backend.addresses.size();
    }
    bool first = true;
    for (const auto& backend : model_.backends) {
      if (backend.addresses.empty()) continue;
      out_.open("upstream ", backend.name);
      if (first)
        out_.line("zone backends ", static_cast<std::int64_t>(256 + groups * 2 + peers * 2), "k;");
      else
        out_.line("zone backends;");
      first = false;
      out_.line("least_conn;");
      for (const auto& address : backend.addresses) out_.line("server ", address, " max_fails=2 fail_timeout=1s;");
      out_.close();
    }
  }

  void status_server() {
    out_.open("server");
    out_.line("listen ", runtime_.status_port, ";");
    out_.line("access_log off;");
    out_.line("set_real_ip_from 255.255.255.255;");  // here an address is what it is, not what a header says
    out_.line("set $app_name router-healthz;");
    healthz(runtime_.starting ? 503 : 200);
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

  void healthz(std::int64_t status) {
    for (const std::string_view path : {"/healthz", "/healthz/"}) {
      out_.open("location = ", path);
      out_.line("access_log off;");
      out_.line("return ", status, " \"\";");
      out_.close();
    }
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

  // Names that nobody has. A name without a certificate is such a name over TLS, even where a wildcard of somebody else
  // would match it: a host never belongs to one app by HTTP and to another one by HTTPS.
  void default_servers() {
    out_.open("server");
    out_.line(listen(" default_server backlog=4096"));
    out_.line("server_name _;");
    default_locations();
    out_.close();
    out_.open("server");
    out_.line(listen_tls(" default_server backlog=4096"));
    out_.line("server_name _;");
    for (const auto& app : model_.apps) {
      for (const auto& host : app.hosts) {
        if (host.certificate.empty() && !host.regex && is_below_certified_wildcard(host.name))
          out_.line("server_name ", quoted(host.name), ";");
      }
    }
    certificate(model_.platform_certificate.empty() ? runtime_.fallback_certificate : model_.platform_certificate);
    default_locations();
    out_.close();
  }

  bool is_below_certified_wildcard(const std::string& name) {
    if (!wildcards_known_) {
      wildcards_known_ = true;
      for (const auto& app : model_.apps) {
        for (const auto& host : app.hosts) {
          if (host.name.starts_with("*.") && !host.certificate.empty()) wildcards_.insert(host.name.substr(1));
        }
      }
    }
    if (wildcards_.empty()) return false;
    for (auto dot = name.find('.', 1); dot != std::string::npos; dot = name.find('.', dot + 1)) {
      if (wildcards_.contains(name.substr(dot))) return true;
    }
    return false;
  }

  void default_locations() {
    const bool service = !settings_.default_service_address.empty();
    out_.line(
        "set $app_name ",
        quoted(service && !settings_.default_app_name.empty() ? settings_.default_app_name : "router-default-vhost"),
        ";");
    if (service && settings_.request_start) out_.line("set $request_start $http_x_request_start;");
    healthz(200);
    out_.open("location /");
    if (service) {
      const auto& address = settings_.default_service_address;
      out_.line("proxy_pass http://", address.contains(':') ? "[" + address + "]" : address, ":80;");
      buffers(settings_.buffers);
    } else if (runtime_.starting) {
      out_.line("add_header Retry-After 5 always;");
      out_.line("return 503;");
    } else {
      out_.line("return 404;");
    }
    out_.close();
  }

  void server(const App& app, const Host& host) {
    out_.open("server");
    out_.line(listen());
    if (!host.certificate.empty()) {
      out_.line(listen_tls());
      certificate(host.certificate);
    }
    out_.line("server_name ", quoted(host.regex ? "~" + host.name : host.name), ";");
    out_.line("set $app_name ", quoted(app.label), ";");
    if (settings_.request_start)
      out_.line("set $request_start ", app.request_start ? "\"t=$msec\"" : "$http_x_request_start", ";");
    if (!settings_.early_data_methods.empty() && !host.certificate.empty()) {
      out_.open("if ($too_early)");
      out_.line("return 425;");
      out_.close();
    }
    if (settings_.request_ids) {
      out_.line("add_header X-Request-Id $request_id always;");
      out_.line("add_header X-Correlation-Id $correlation_id always;");
    }
    if (settings_.hsts) out_.line("add_header Strict-Transport-Security $hsts always;");
    if (!app.referrer_policy.empty())
      out_.line("add_header Referrer-Policy ", policy_variable(app.referrer_policy), ";");
    if (app.whitelist) {
      for (const auto& range : *app.whitelist) out_.line("allow ", range, ";");
      out_.line("deny all;");
    }
    error_page(app, 413,
               "The request's body is longer than the " + size_text(settings_.body_size) + " that the platform takes.");
    error_page(app, 502, bad_answer);
    for (const auto& plugged : app.locations) {
      out_.open("location ", plugged.path.modifier, plugged.path.modifier.empty() ? "" : " ",
                quoted(plugged.path.path));
      location(model_.backends[plugged.backend]);
      out_.close();
    }
    out_.open("location /");
    location(model_.backends[app.backend]);
    out_.close();
    out_.close();
  }

  // A sentence: as JSON from the platform's own hosts, whose clients are programs.
  void error_page(const App& app, std::int64_t status, std::string_view sentence) {
    out_.line("error_page ", status, " @", status, ";");
    out_.open("location @", status);
    out_.line("default_type ", app.platform ? "application/json" : "text/html", ";");
    const auto page = app.platform ? R"({"detail": ")" + std::string(sentence) + "\"}"
                                   : "<!DOCTYPE html><html><head><title>" + std::to_string(status) +
                                         "</title></head><body><p>" + std::string(sentence) + "</p></body></html>";
    out_.line("return ", status, " ", quoted(page), ";");
    out_.close();
  }

  void location(const Backend& backend) {
    if (backend.maintenance) {
      out_.line("default_type text/html;");
      out_.line("add_header Retry-After 60 always;");
      out_.line("add_header Cache-Control no-store always;");
      out_.line("return 503 ", quoted(maintenance_page), ";");
      return;
    }
    if (backend.addresses.empty()) {
      out_.line("return 503;");
      return;
    }
    if (backend.enforce_tls) {
      out_.open("if ($redirect_scheme)");
      out_.line("return 301 $redirect_scheme://$host$request_uri;");
      out_.close();
    }
    out_.line("proxy_connect_timeout ", milliseconds(backend.connect_timeout), ";");
    out_.line("proxy_send_timeout ", milliseconds(backend.io_timeout), ";");
    out_.line("proxy_read_timeout ", milliseconds(backend.io_timeout), ";");
    buffers(backend.buffers);
    out_.line("proxy_pass http://", backend.name, ";");
  }

  // The first buffer takes the whole header of a response, which is often longer than a page. nginx wants the others to
  // be worth as much, and one more.
  void buffers(const Buffers& buffers) {
    const auto head = std::max(buffers.size, response_head);
    out_.line("proxy_buffering ", on_off(buffers.enabled), ";");
    out_.line("proxy_buffers ", std::max(buffers.number, (head + buffers.size - 1) / buffers.size + 1), " ",
              buffers.size, ";");
    out_.line("proxy_buffer_size ", head, ";");
    out_.line("proxy_busy_buffers_size ", std::max(head, buffers.busy_size), ";");
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
  bool wildcards_known_ = false;
  std::unordered_set<std::string> wildcards_;  // ".foo.com" of each *.foo.com with a certificate
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
