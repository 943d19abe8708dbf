// The nginx module: what a request meets is decided here, from the routing table.
//   router_state <folder>;    http: where the router keeps table/ and certificates/
//   router on;                location: decide, then go on in the named location @kept, @fresh, @stream or @grpc
//   router_peers;             upstream: its peers are the pods of the chosen app
//   router_page;              location: the page of an error
//   router_health;            location: 200 once there is a table
#include "router/module/module.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>

#include "router/table/traffic.h"

extern "C" {
extern ngx_module_t ngx_http_router_module;
}

namespace workflow::router::module {
namespace {

constexpr std::string_view maintenance_page =
    "<!DOCTYPE html><html><head><title>Site Maintenance</title></head><body><h1>Site Maintenance</h1></body></html>";

std::unique_ptr<Tables> worker_tables;
std::optional<table::Traffic> worker_traffic;  // counted for the whole life of the worker
// Opened by the master, who may look them up; workers inherit them.
int table_folder = -1, certificates = -1;

struct MainConfig {
  ngx_str_t folder;
  ngx_int_t peer_variable;  // the connection's own address, whatever headers say
};
struct LocationConfig {
  ngx_flag_t decides;
};

MainConfig& main_config(ngx_http_request_t* request) {
  return *static_cast<MainConfig*>(ngx_http_get_module_main_conf(request, ngx_http_router_module));
}

void tell(const std::string& problem) { ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0, "router: %s", problem.c_str()); }

ngx_str_t text_of(std::string_view literal) {
  return {literal.size(), reinterpret_cast<u_char*>(const_cast<char*>(literal.data()))};
}

template <typename Visit>
void each_header(ngx_http_request_t* request, Visit visit) {
  for (auto* part = &request->headers_in.headers.part; part; part = part->next) {
    auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
    for (ngx_uint_t i = 0; i < part->nelts; ++i) visit(headers[i]);
  }
}

bool add_header(ngx_http_request_t* request, std::string_view name, std::string_view value) {
  auto* header = static_cast<ngx_table_elt_t*>(ngx_list_push(&request->headers_out.headers));
  if (!header) return false;
  *header = {};
  header->hash = 1;
  header->key = text_of(name);
  header->value = copy(request->pool, value);
  return true;
}

ngx_int_t answer(ngx_http_request_t* request, ngx_uint_t status, std::string_view type, std::string_view body) {
  auto type_text = text_of(type);
  ngx_http_complex_value_t value{};
  value.value = body.empty() ? ngx_str_t{0, nullptr} : copy(request->pool, body);
  return ngx_http_send_response(request, status, &type_text, &value);
}

// --- the decision is kept beside the request: a redirect inside nginx forgets modules' contexts

void keep(void*) {}

Decision* remember(ngx_http_request_t* request) {
  auto* cleanup = ngx_http_cleanup_add(request, sizeof(Decision));
  if (!cleanup) return nullptr;
  auto* decision = static_cast<Decision*>(cleanup->data);
  *decision = {};
  decision->scheme = request->connection->ssl ? "https" : "http";
  decision->app_name = text_of("router-default-vhost");
  decision->host = text_of("_");
  decision->logged = true;
  cleanup->handler = keep;
  ngx_http_set_ctx(request, decision, ngx_http_router_module);
  return decision;
}

// One name for the request in every log and header. nginx's variable is another one each time it is asked.
void identify(ngx_http_request_t* request, Decision& decision, const table::Table& table) {
  if ((table.settings().flags & table::settings_flags::request_ids) == 0) return;
  static ngx_str_t name = ngx_string("request_id");
  static const auto key = ngx_hash_key(name.data, name.len);
  const auto* value = ngx_http_get_variable(request, &name, key);
  if (value && !value->not_found) decision.request_id = {value->len, value->data};
}

// --- what the client says of itself

bool is_trusted_peer(ngx_http_request_t* request, const table::Table& table) {
  const auto trusted = table.list(table.settings().trusted);
  if (trusted.empty()) return false;
  const auto* peer =
      ngx_http_get_indexed_variable(request, static_cast<ngx_uint_t>(main_config(request).peer_variable));
  if (!peer || peer->not_found) return false;
  ngx_addr_t address{};
  if (ngx_parse_addr(request->pool, &address, peer->data, peer->len) != NGX_OK) return false;
  return table::contains(trusted, address_of(address.sockaddr));
}

void read_forwarded(ngx_http_request_t* request, Decision& decision, const table::Table& table) {
  const bool tls = request->connection->ssl != nullptr;
  decision.port = text_of(tls ? "443" : "80");
  if (!is_trusted_peer(request, table)) return;
  const auto port = find_header(request, "x-forwarded-port");
  if (!port.empty() && port.size() <= 5 && std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; }))
    decision.port = copy(request->pool, port);
  if (tls) return;
  auto scheme = find_header(request, "x-forwarded-proto");
  if (const auto comma = scheme.rfind(','); comma != std::string_view::npos) scheme.remove_prefix(comma + 1);
  while (scheme.starts_with(' ')) scheme.remove_prefix(1);
  while (scheme.ends_with(' ')) scheme.remove_suffix(1);
  for (const char* known : {"http", "https", "ws", "wss"}) {
    if (scheme == known) decision.scheme = known;
  }
}

bool is_plain_name(const ngx_str_t& name) {
  return std::ranges::all_of(view(name), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-';
  });
}

// "x_forwarded.for" and "X-Forwarded-For" are the same to a program that gets headers as environment variables.
bool may_pass(std::string_view name) {
  std::string plain(name);
  for (auto& c : plain) {
    if (c == '_' || c == '.')
      c = '-';
    else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'))
      return false;
  }
  static constexpr std::string_view ours[] = {"host",
                                              "connection",
                                              "content-length",
                                              "transfer-encoding",
                                              "upgrade",
                                              "te",
                                              "trailer",
                                              "keep-alive",
                                              "expect",
                                              "early-data",
                                              "x-real-ip",
                                              "forwarded",
                                              "x-request-id",
                                              "x-correlation-id",
                                              "x-request-start",
                                              "proxy",
                                              "proxy-connection"};
  return !plain.starts_with("x-forwarded-") && std::ranges::find(ours, plain) == std::end(ours);
}

// A header that is to be left out gets the name of one that is never passed on: nginx's list cannot shrink.
enum class OddHeaders { drop, pass };
void drop_odd_headers(ngx_http_request_t* request, OddHeaders odd) {
  each_header(request, [&](ngx_table_elt_t& header) {
    if (is_plain_name(header.key)) return;
    const std::string_view name(reinterpret_cast<char*>(header.lowcase_key), header.key.len);
    if (odd == OddHeaders::pass && may_pass(name)) return;
    static u_char hidden[] = "keep-alive";
    header.key = {sizeof hidden - 1, hidden};
    header.lowcase_key = hidden;
    header.hash = ngx_hash_key(hidden, sizeof hidden - 1);
  });
}

constexpr std::string_view affinity_cookie = "router-affinity";

std::uint64_t wanted_endpoint(ngx_http_request_t* request) {
  const auto text = find_cookie(request, affinity_cookie);
  std::uint64_t wanted = 0;
  std::from_chars(text.data(), text.data() + text.size(), wanted, 16);
  return wanted;
}

// --- where the request goes on

// Bodies up to this are read before a pod is asked, so that another pod can be asked with the same.
constexpr off_t kept_body = 64 << 10;

std::string_view way_of(ngx_http_request_t* request, const Decision& decision, const table::Backend& backend) {
  if ((backend.flags & table::backend_flags::grpc) != 0) return "grpc";
  if (request->headers_in.chunked || request->headers_in.content_length_n > kept_body) return "stream";
  // A request that may not be sent twice does not go over a connection that the app may be closing just now.
  const bool repeatable =
      request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD | NGX_HTTP_PUT | NGX_HTTP_DELETE | NGX_HTTP_OPTIONS);
  return decision.websocket || !repeatable ? "fresh" : "kept";
}

// nginx knows one limit for a location: a body whose length is not said beforehand is counted under a copy of its own.
bool limit_body(ngx_http_request_t* request, const Decision& decision) {
  const bool open = request->headers_in.chunked || (request->stream && !request->stream->in_closed);
  if (decision.body_limit == 0 || request->headers_in.content_length_n >= 0 || !open) return true;
  const auto size = ngx_http_max_module * sizeof(void*);
  auto** all = static_cast<void**>(ngx_palloc(request->pool, size));
  auto* core = static_cast<ngx_http_core_loc_conf_t*>(ngx_palloc(request->pool, sizeof(ngx_http_core_loc_conf_t)));
  if (!all || !core) return false;
  std::memcpy(all, request->loc_conf, size);
  *core = *static_cast<ngx_http_core_loc_conf_t*>(all[ngx_http_core_module.ctx_index]);
  core->client_max_body_size = static_cast<off_t>(decision.body_limit);
  all[ngx_http_core_module.ctx_index] = core;
  request->loc_conf = all;
  return true;
}

bool is_too_long(const ngx_http_request_t* request, const Decision& decision) {
  return decision.body_limit != 0 && request->headers_in.content_length_n > 0 &&
         static_cast<std::uint64_t>(request->headers_in.content_length_n) > decision.body_limit;
}

ngx_int_t go_on(ngx_http_request_t* request, const Decision& decision, std::string_view way) {
  auto* server = static_cast<ngx_http_core_srv_conf_t*>(ngx_http_get_module_srv_conf(request, ngx_http_core_module));
  for (auto** named = server->named_locations; named && *named; ++named) {
    if (view((*named)->name).substr(1) != way) continue;
    request->loc_conf = (*named)->loc_conf;
    request->content_handler = nullptr;
    if (!limit_body(request, decision)) return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ngx_http_update_location_config(request);
    return NGX_DECLINED;
  }
  return NGX_HTTP_INTERNAL_SERVER_ERROR;
}

struct Redirect {
  ngx_uint_t status;
  bool tls;
  std::string_view host;
};
ngx_int_t redirect(ngx_http_request_t* request, const Decision& decision, const Redirect& to) {
  const auto scheme = std::string_view(decision.scheme);
  const bool websocket = scheme == "ws" || scheme == "wss";
  std::string target = websocket ? (to.tls ? "wss://" : "ws://") : (to.tls ? "https://" : "http://");
  target += to.host;
  target += view(request->unparsed_uri);
  return answer(request, to.status, "text/plain", target);
}

bool is_too_early(ngx_http_request_t* request, const table::Table& table) {
  const auto* ssl = request->connection->ssl;
  if (!ssl || SSL_is_init_finished(ssl->connection) ||
      SSL_get_early_data_status(ssl->connection) != SSL_EARLY_DATA_ACCEPTED)
    return false;
  return std::ranges::none_of(table.list(table.settings().early_methods),
                              [&](table::Text method) { return table.text(method) == view(request->method_name); });
}

// A host that nobody has.
ngx_int_t decide_default(ngx_http_request_t* request, Decision& decision, const table::Table& table) {
  const auto path = view(request->uri);
  if (path == "/healthz" || path == "/healthz/") {
    decision.logged = false;
    return answer(request, NGX_HTTP_OK, "text/plain", "");
  }
  const auto* backend = table.backend(table.settings().default_backend);
  if (!backend) return NGX_HTTP_NOT_FOUND;
  decision.app_name = copy(request->pool, table.text(table.settings().default_label));
  decision.backend = copy(request->pool, table.text(backend->name));
  decision.body_limit = table.settings().default_body_limit;
  if (is_too_long(request, decision)) return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
  drop_odd_headers(request, OddHeaders::drop);
  return go_on(request, decision, way_of(request, decision, *backend));
}

std::string_view page_of(const table::Table& table, const table::App& app, ngx_uint_t status) {
  for (const auto& page : table.list(app.pages)) {
    if (page.status == status) return table.text(page.html);
  }
  return {};
}

// What keeps a request from its app: another address for it, a list, a limit, a password. NGX_OK: nothing does.
struct Met {
  const table::Table& table;
  const table::App& app;
  const table::Backend& backend;
  bool secure;
};
ngx_int_t refuse(ngx_http_request_t* request, const Decision& decision, const Met& met) {
  const auto& [table, app, backend, secure] = met;
  const bool enforced = !secure && (backend.flags & table::backend_flags::enforce_tls);
  const auto asked = view(request->headers_in.server);
  const auto canonical = table.text(app.canonical_host);
  if (!canonical.empty() && canonical != asked) {
    // Other than 301, this keeps a method.
    const bool harmless = request->method & (NGX_HTTP_GET | NGX_HTTP_HEAD);
    return redirect(request, decision,
                    {harmless ? NGX_HTTP_MOVED_PERMANENTLY : ngx_uint_t{NGX_HTTP_PERMANENT_REDIRECT},
                     secure || enforced, canonical});
  }
  if (enforced) return redirect(request, decision, {NGX_HTTP_MOVED_PERMANENTLY, true, asked});
  if ((app.flags & table::app_flags::whitelisted) &&
      !table::contains(table.list(app.whitelist), address_of(request->connection->sockaddr)))
    return NGX_HTTP_FORBIDDEN;
  if (const auto wait = microseconds_to_wait(request, table, app); wait > 0) {
    add_header(request, "Retry-After", std::to_string((wait + 999'999) / 1'000'000));
    return NGX_HTTP_TOO_MANY_REQUESTS;
  }
  if ((app.flags & table::app_flags::authenticated) && !is_user(request, table, app)) {
    add_header(request, "WWW-Authenticate", "Basic realm=\"" + std::string(table.text(app.label)) + "\"");
    return NGX_HTTP_UNAUTHORIZED;
  }
  return NGX_OK;
}

// What a certificate authority wants to see of a name that we serve (RFC 8555, section 8.3); whitelists and redirects
// are not for it. Null for all else, which may be the app's own.
const table::Challenge* find_challenge(ngx_http_request_t* request, const table::Table& table) {
  static constexpr std::string_view folder = "/.well-known/acme-challenge/";
  const auto challenges = table.challenges();
  auto path = view(request->uri);
  if (challenges.empty() || !path.starts_with(folder)) return nullptr;
  path.remove_prefix(folder.size());
  const auto found = std::ranges::find_if(challenges, [&](const table::Challenge& challenge) {
    return table.text(challenge.token) == path && table.text(challenge.domain) == view(request->headers_in.server);
  });
  return found == challenges.end() ? nullptr : &*found;
}

ngx_int_t decide(ngx_http_request_t* request, Decision& decision) {
  const auto* table = worker_tables ? worker_tables->current() : nullptr;
  if (!table) {
    if (view(request->uri) == "/healthz" || view(request->uri) == "/healthz/")
      return answer(request, NGX_HTTP_OK, "text/plain", "");
    add_header(request, "Retry-After", "5");
    return NGX_HTTP_SERVICE_UNAVAILABLE;
  }
  read_forwarded(request, decision, *table);
  if (const auto* challenge = find_challenge(request, *table))
    return answer(request, NGX_HTTP_OK, "application/octet-stream", table->text(challenge->answer));
  const auto* host = table->find_host(view(request->headers_in.server), regexes());
  const auto* app = host ? table->app(*host) : nullptr;
  // A host never belongs to one app by HTTP and to another one by HTTPS: a name without a certificate is unknown there.
  if (!app || (request->connection->ssl && host->certificate.size == 0))
    return decide_default(request, decision, *table);
  decision.app_name = copy(request->pool, table->text(app->label));
  decision.host = copy(request->pool, table->text(host->name));
  decision.platform = app->flags & table::app_flags::platform;
  decision.referrer_policy = copy(request->pool, table->text(app->referrer_policy));
  decision.request_start = app->flags & table::app_flags::request_start;
  decision.body_limit = app->body_limit;
  if (is_too_early(request, *table)) return 425;
  if (is_too_long(request, decision)) return NGX_HTTP_REQUEST_ENTITY_TOO_LARGE;
  const auto* backend = table->backend_for(*app, view(request->uri), regexes());
  if (!backend) return NGX_HTTP_SERVICE_UNAVAILABLE;
  if (backend->flags & table::backend_flags::maintenance) {
    decision.referrer_policy = {};
    add_header(request, "Retry-After", "60");
    add_header(request, "Cache-Control", "no-store");
    const auto own = page_of(*table, *app, 0);
    return answer(request, NGX_HTTP_SERVICE_UNAVAILABLE, "text/html", own.empty() ? maintenance_page : own);
  }
  identify(request, decision, *table);
  if (backend == table->backend(app->backend)) {
    if (const auto* canary = find_canary(request, *table, *app)) backend = canary;
  }
  if (table->list(backend->endpoints).empty()) return NGX_HTTP_SERVICE_UNAVAILABLE;
  const std::string_view scheme = decision.scheme;
  const bool secure = scheme == "https" || scheme == "wss";
  if (secure) decision.hsts = copy(request->pool, table->text(app->hsts));
  if (const auto refused = refuse(request, decision, {*table, *app, *backend, secure}); refused != NGX_OK)
    return refused;
  decision.backend = copy(request->pool, table->text(backend->name));
  drop_odd_headers(request, app->flags & table::app_flags::odd_header_names ? OddHeaders::pass : OddHeaders::drop);
  const auto* upgrade = request->headers_in.upgrade;
  decision.websocket = upgrade && equal_ignoring_case(view(upgrade->value), "websocket");
  decision.affinity = backend->flags & table::backend_flags::affinity;
  if (decision.affinity) decision.wanted_endpoint = wanted_endpoint(request);
  return go_on(request, decision, way_of(request, decision, *backend));
}

ngx_int_t on_rewrite(ngx_http_request_t* request) {
  const auto* config = static_cast<LocationConfig*>(ngx_http_get_module_loc_conf(request, ngx_http_router_module));
  if (config->decides != 1 || decision_of(request)) return NGX_DECLINED;
  auto* decision = remember(request);
  return decision ? decide(request, *decision) : NGX_HTTP_INTERNAL_SERVER_ERROR;
}

// --- pages

std::string size_text(off_t bytes) {
  if (bytes % (1 << 20) == 0) return std::to_string(bytes >> 20) + " MiB";
  if (bytes % (1 << 10) == 0) return std::to_string(bytes >> 10) + " KiB";
  return std::to_string(bytes) + " bytes";
}

std::string sentence_of(const Decision* decision, ngx_uint_t status) {
  if (status == NGX_HTTP_REQUEST_ENTITY_TOO_LARGE)
    return "The request's body is longer than the " +
           size_text(decision ? static_cast<off_t>(decision->body_limit) : off_t{0}) + " that the platform takes.";
  if (status == NGX_HTTP_FORBIDDEN) return "The application may not be reached from this address.";
  if (status == NGX_HTTP_TOO_MANY_REQUESTS) return "There were too many requests from this address.";
  if (status == NGX_HTTP_BAD_GATEWAY)
    return "The application's answer could not be used: it refused the connection, closed it too early, or sent a "
           "header "
           "of more than 32 KiB.";
  if (status == NGX_HTTP_GATEWAY_TIME_OUT) return "The application did not answer in time.";
  return "The application has no instance that is ready.";
}

// A sentence: as JSON from the platform's own hosts, whose clients are programs.
ngx_int_t serve_page(ngx_http_request_t* request) {
  if (ngx_http_discard_request_body(request) != NGX_OK) return NGX_HTTP_INTERNAL_SERVER_ERROR;
  const auto status =
      request->err_status ? request->err_status : static_cast<ngx_uint_t>(NGX_HTTP_INTERNAL_SERVER_ERROR);
  auto* decision = decision_of(request);
  const auto* table = worker_tables ? worker_tables->current() : nullptr;
  const auto* host = table ? table->find_host(view(request->headers_in.server), regexes()) : nullptr;
  const auto* app = host ? table->app(*host) : nullptr;
  if (!decision) {
    // nginx refused it before we were asked.
    decision = remember(request);
    if (decision && app) {
      decision->app_name = copy(request->pool, table->text(app->label));
      decision->host = copy(request->pool, table->text(host->name));
      decision->platform = app->flags & table::app_flags::platform;
      identify(request, *decision, *table);
    }
  }
  if (const auto own = app ? page_of(*table, *app, status) : std::string_view(); !own.empty())
    return answer(request, status, "text/html", own);
  const auto sentence = sentence_of(decision, status);
  if (decision && decision->platform)
    return answer(request, status, "application/json", R"({"detail": ")" + sentence + "\"}");
  const auto number = std::to_string(status);
  return answer(
      request, status, "text/html",
      "<!DOCTYPE html><html><head><title>" + number + "</title></head><body><p>" + sentence + "</p></body></html>");
}

ngx_int_t serve_health(ngx_http_request_t* request) {
  const bool ready = worker_tables && worker_tables->current();
  return answer(request, ready ? NGX_HTTP_OK : NGX_HTTP_SERVICE_UNAVAILABLE, "text/plain", "");
}

// --- variables

using Getter = ngx_str_t (*)(ngx_http_request_t*, const Decision&);

ngx_str_t correlation_of(ngx_http_request_t* request, const Decision& decision) {
  const auto sent = find_header(request, "x-correlation-id");
  const auto own = view(decision.request_id);
  if (own.empty()) return {};
  return sent.empty() ? decision.request_id : copy(request->pool, std::string(sent) + "," + std::string(own));
}

ngx_str_t request_start_of(ngx_http_request_t* request, const Decision& decision) {
  if (!decision.request_start) return text_of(find_header(request, "x-request-start"));
  char text[64];
  const auto* time = ngx_timeofday();
  const int size = std::snprintf(text, sizeof text, "t=%lld.%03lld", static_cast<long long>(time->sec),
                                 static_cast<long long>(time->msec));
  return copy(request->pool, {text, static_cast<std::size_t>(size)});
}

// An app that states its own policy knows better.
ngx_str_t referrer_policy_of(ngx_http_request_t* request, const Decision& decision) {
  if (decision.referrer_policy.len == 0 || !request->upstream) return decision.referrer_policy;
  for (auto* part = &request->upstream->headers_in.headers.part; part; part = part->next) {
    auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
    for (ngx_uint_t i = 0; i < part->nelts; ++i) {
      if (equal_ignoring_case(view(headers[i].key), "referrer-policy")) return {};
    }
  }
  return decision.referrer_policy;
}

ngx_str_t hsts_of(ngx_http_request_t* request, const Decision& decision) {
  if (decision.hsts.len == 0) return {};
  for (auto* part = &request->headers_out.headers.part; part; part = part->next) {
    auto* headers = static_cast<ngx_table_elt_t*>(part->elts);
    for (ngx_uint_t i = 0; i < part->nelts; ++i) {
      if (headers[i].hash != 0 && equal_ignoring_case(view(headers[i].key), "strict-transport-security")) return {};
    }
  }
  return decision.hsts;
}

ngx_str_t cookie_of(ngx_http_request_t* request, const Decision& decision) {
  if (!decision.affinity || decision.endpoint == 0 || decision.endpoint == decision.wanted_endpoint) return {};
  char text[128];
  const int size =
      std::snprintf(text, sizeof text, "%.*s=%016llx; Path=/; HttpOnly; SameSite=Lax%s",
                    static_cast<int>(affinity_cookie.size()), affinity_cookie.data(),
                    static_cast<unsigned long long>(decision.endpoint), request->connection->ssl ? "; Secure" : "");
  return copy(request->pool, {text, static_cast<std::size_t>(size)});
}

struct Variable {
  ngx_str_t name;
  Getter get;
};
Variable variables[] = {
    {ngx_string("app_name"), [](ngx_http_request_t*, const Decision& d) { return d.app_name; }},
    {ngx_string("router_host"), [](ngx_http_request_t*, const Decision& d) { return d.host; }},
    {ngx_string("router_logged"), [](ngx_http_request_t*, const Decision& d) { return text_of(d.logged ? "1" : "0"); }},
    {ngx_string("client_scheme"), [](ngx_http_request_t*, const Decision& d) { return text_of(d.scheme); }},
    {ngx_string("client_port"), [](ngx_http_request_t*, const Decision& d) { return d.port; }},
    {ngx_string("upstream_upgrade"),
     [](ngx_http_request_t*, const Decision& d) { return text_of(d.websocket ? "websocket" : ""); }},
    {ngx_string("upstream_connection"),
     [](ngx_http_request_t*, const Decision& d) { return text_of(d.websocket ? "upgrade" : "close"); }},
    {ngx_string("router_request_id"), [](ngx_http_request_t*, const Decision& d) { return d.request_id; }},
    {ngx_string("correlation_id"), correlation_of},
    {ngx_string("request_start"), request_start_of},
    {ngx_string("hsts"), hsts_of},
    {ngx_string("referrer_policy"), referrer_policy_of},
    {ngx_string("router_cookie"), cookie_of},
};

ngx_int_t get_variable(ngx_http_request_t* request, ngx_http_variable_value_t* value, uintptr_t data) {
  const auto* decision = decision_of(request);
  static const Decision nothing = [] {
    Decision d{};
    d.app_name = text_of("router-default-vhost");
    d.host = text_of("_");
    d.scheme = "http";
    d.logged = true;
    return d;
  }();
  const auto text = reinterpret_cast<Variable*>(data)->get(request, decision ? *decision : nothing);
  value->len = static_cast<unsigned>(text.len);
  value->data = text.data;
  value->valid = 1;
  value->no_cacheable = 0;
  value->not_found = 0;
  return NGX_OK;
}

ngx_int_t add_variables(ngx_conf_t* conf) {
  for (auto& variable : variables) {
    auto* added = ngx_http_add_variable(conf, &variable.name, NGX_HTTP_VAR_NOCACHEABLE);
    if (!added) return NGX_ERROR;
    added->get_handler = get_variable;
    added->data = reinterpret_cast<uintptr_t>(&variable);
  }
  return NGX_OK;
}

// --- configuration

void* create_main(ngx_conf_t* conf) { return ngx_pcalloc(conf->pool, sizeof(MainConfig)); }

void* create_location(ngx_conf_t* conf) {
  auto* config = static_cast<LocationConfig*>(ngx_pcalloc(conf->pool, sizeof(LocationConfig)));
  if (config) config->decides = NGX_CONF_UNSET;
  return config;
}

// Only the location that says it decides: those that a request goes on in do not inherit it.
char* merge_location(ngx_conf_t*, void*, void* own) {
  auto* config = static_cast<LocationConfig*>(own);
  if (config->decides == NGX_CONF_UNSET) config->decides = 0;
  return NGX_CONF_OK;
}

ngx_int_t on_log(ngx_http_request_t* request) {
  const auto* decision = worker_traffic ? decision_of(request) : nullptr;
  if (!decision || !decision->logged) return NGX_OK;
  const auto* now = ngx_timeofday();
  const auto took = (now->sec - request->start_sec) * 1000 + static_cast<ngx_msec_int_t>(now->msec) -
                    static_cast<ngx_msec_int_t>(request->start_msec);
  const auto status = request->err_status ? request->err_status : request->headers_out.status;
  worker_traffic->add(view(decision->app_name),
                      {.status = static_cast<unsigned>(status),
                       .milliseconds = static_cast<std::uint64_t>(std::max<ngx_msec_int_t>(took, 0)),
                       .received = static_cast<std::uint64_t>(request->request_length),
                       .sent = static_cast<std::uint64_t>(request->connection->sent),
                       .kind = decision->websocket ? table::Sample::Kind::connection : table::Sample::Kind::request});
  return NGX_OK;
}

ngx_int_t finish(ngx_conf_t* conf) {
  auto* core = static_cast<ngx_http_core_main_conf_t*>(ngx_http_conf_get_module_main_conf(conf, ngx_http_core_module));
  auto* config = static_cast<MainConfig*>(ngx_http_conf_get_module_main_conf(conf, ngx_http_router_module));
  static ngx_str_t peer = ngx_string("realip_remote_addr");
  config->peer_variable = ngx_http_get_variable_index(conf, &peer);
  if (config->peer_variable == NGX_ERROR) return NGX_ERROR;
  auto* handler = static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[NGX_HTTP_REWRITE_PHASE].handlers));
  if (!handler) return NGX_ERROR;
  *handler = on_rewrite;
  handler = static_cast<ngx_http_handler_pt*>(ngx_array_push(&core->phases[NGX_HTTP_LOG_PHASE].handlers));
  if (!handler) return NGX_ERROR;
  *handler = on_log;
  return choose_certificates_in(conf);
}

char* set_content_handler(ngx_conf_t* conf, ngx_http_handler_pt handler) {
  static_cast<ngx_http_core_loc_conf_t*>(ngx_http_conf_get_module_loc_conf(conf, ngx_http_core_module))->handler =
      handler;
  return NGX_CONF_OK;
}
char* set_page(ngx_conf_t* conf, ngx_command_t*, void*) { return set_content_handler(conf, serve_page); }
char* set_health(ngx_conf_t* conf, ngx_command_t*, void*) { return set_content_handler(conf, serve_health); }

// --- the worker

// The router touches the control page when there is a new table, so that we have it before a request asks.
void on_change(ngx_event_t* event) {
  char events[4096];
  auto* connection = static_cast<ngx_connection_t*>(event->data);
  while (::read(connection->fd, events, sizeof events) > 0) {
  }
  if (worker_tables) worker_tables->current();
}

// Where nothing can be watched we look from time to time: a table is in effect within this all the same.
constexpr ngx_msec_t look_again = 50;

void look_for_tables(ngx_event_t* event) {
  if (worker_tables) worker_tables->current();
  if (!ngx_exiting && !ngx_terminate) ngx_add_timer(event, look_again);
}

void watch_by_timer(ngx_cycle_t* cycle) {
  static ngx_connection_t nobody{};
  static ngx_event_t timer{};
  nobody.fd = -1;  // what nginx names in its debug log
  timer.handler = look_for_tables;
  timer.data = &nobody;
  timer.log = cycle->log;
  timer.cancelable = 1;
  ngx_add_timer(&timer, look_again);
}

std::string state_folder(ngx_cycle_t* cycle) {
  auto** http = reinterpret_cast<ngx_http_conf_ctx_t**>(&cycle->conf_ctx[ngx_http_module.index]);
  if (!*http) return "";
  return std::string(view(static_cast<MainConfig*>((*http)->main_conf[ngx_http_router_module.ctx_index])->folder));
}

ngx_int_t start_master(ngx_cycle_t* cycle) {
  const auto folder = state_folder(cycle);
  if (folder.empty()) return NGX_OK;
  if (!make_limits()) ngx_log_error(NGX_LOG_ERR, cycle->log, ngx_errno, "router: no memory for limits of rate");
  for (auto [fd, name] : {std::pair(&table_folder, "/table"), std::pair(&certificates, "/certificates")}) {
    if (*fd >= 0) ::close(*fd);
    *fd = ::open((folder + name).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd >= 0) continue;
    ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno, "router: %s%s cannot be opened", folder.c_str(), name);
    return NGX_ERROR;
  }
  return NGX_OK;
}

ngx_int_t start_worker(ngx_cycle_t* cycle) {
  if (table_folder < 0 || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)) return NGX_OK;
  worker_tables = std::make_unique<Tables>(table_folder, tell);
  const int watch = ::inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  const auto page = "/proc/self/fd/" + std::to_string(table_folder) + "/current";
  // Watched first, read then: nothing is missed between.
  if (watch < 0 || ::inotify_add_watch(watch, page.c_str(), IN_ATTRIB) < 0 ||
      ngx_add_channel_event(cycle, watch, NGX_READ_EVENT, on_change) != NGX_OK) {
    tell(
        "the control page cannot be watched, which the system's limits of inotify may explain: it is read every 50 ms");
    watch_by_timer(cycle);
  }
  worker_tables->start();
  if (void* memory = worker_tables->map_traffic()) worker_traffic.emplace(memory);
  return NGX_OK;
}

void end_worker(ngx_cycle_t*) { worker_tables.reset(); }

ngx_command_t commands[] = {
    {ngx_string("router_state"), NGX_HTTP_MAIN_CONF | NGX_CONF_TAKE1, ngx_conf_set_str_slot, NGX_HTTP_MAIN_CONF_OFFSET,
     offsetof(MainConfig, folder), nullptr},
    {ngx_string("router"), NGX_HTTP_LOC_CONF | NGX_CONF_FLAG, ngx_conf_set_flag_slot, NGX_HTTP_LOC_CONF_OFFSET,
     offsetof(LocationConfig, decides), nullptr},
    {ngx_string("router_peers"), NGX_HTTP_UPS_CONF | NGX_CONF_NOARGS, set_router_peers, 0, 0, nullptr},
    {ngx_string("router_page"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_page, 0, 0, nullptr},
    {ngx_string("router_health"), NGX_HTTP_LOC_CONF | NGX_CONF_NOARGS, set_health, 0, 0, nullptr},
    ngx_null_command};

ngx_http_module_t context = {add_variables, finish,  create_main,     nullptr,
                             nullptr,       nullptr, create_location, merge_location};

class NginxRegexes : public table::Regexes {
 public:
  bool matches(std::string_view pattern, table::Letters letters, std::string_view subject) override {
    auto* regex = compiled(pattern, letters);
    auto text = text_of(subject);
    return regex && ngx_regex_exec(regex, &text, nullptr, 0) >= 0;
  }

 private:
  static constexpr std::size_t max_kept = 4096;

  ngx_regex_t* compiled(std::string_view pattern, table::Letters letters) {
    const bool any_case = letters == table::Letters::any_case;
    auto key = (any_case ? "i" : "c") + std::string(pattern);
    if (const auto found = kept_.find(key); found != kept_.end()) return found->second;
    if (!pool_ || kept_.size() >= max_kept) {
      if (pool_) ngx_destroy_pool(pool_);
      kept_.clear();
      pool_ = ngx_create_pool(4096, ngx_cycle->log);
      if (!pool_) return nullptr;
    }
    u_char error[NGX_MAX_CONF_ERRSTR];
    ngx_regex_compile_t compile{};
    compile.pattern = copy(pool_, pattern);
    compile.pool = pool_;
    compile.options = any_case ? NGX_REGEX_CASELESS : 0;
    compile.err = {sizeof error, error};
    auto* regex = ngx_regex_compile(&compile) == NGX_OK ? compile.regex : nullptr;
    kept_.emplace(std::move(key), regex);
    return regex;
  }

  ngx_pool_t* pool_ = nullptr;
  std::unordered_map<std::string, ngx_regex_t*> kept_;
};

}  // namespace

ngx_str_t copy(ngx_pool_t* pool, std::string_view text) {
  if (text.empty()) return {0, nullptr};
  auto* data = static_cast<u_char*>(ngx_pnalloc(pool, text.size() + 1));
  if (!data) return {0, nullptr};
  std::memcpy(data, text.data(), text.size());
  data[text.size()] = 0;
  return {text.size(), data};
}

Decision* decision_of(ngx_http_request_t* request) {
  if (auto* known = static_cast<Decision*>(ngx_http_get_module_ctx(request, ngx_http_router_module))) return known;
  if (!request->internal && !request->filter_finalize) return nullptr;
  for (auto* cleanup = request->main->cleanup; cleanup; cleanup = cleanup->next) {
    if (cleanup->handler != keep) continue;
    auto* decision = static_cast<Decision*>(cleanup->data);
    ngx_http_set_ctx(request, decision, ngx_http_router_module);
    return decision;
  }
  return nullptr;
}

bool equal_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ngx_strncasecmp(reinterpret_cast<u_char*>(const_cast<char*>(a.data())),
                                                 reinterpret_cast<u_char*>(const_cast<char*>(b.data())), a.size()) == 0;
}

std::string_view find_header(ngx_http_request_t* request, std::string_view lower_name) {
  std::string_view value;
  each_header(request, [&](const ngx_table_elt_t& header) {
    if (std::string_view(reinterpret_cast<char*>(header.lowcase_key), header.key.len) == lower_name)
      value = view(header.value);
  });
  return value;
}

std::string_view find_cookie(ngx_http_request_t* request, std::string_view name) {
  std::string_view value;
  bool found = false;
  each_header(request, [&](const ngx_table_elt_t& header) {
    if (found || !equal_ignoring_case(view(header.key), "cookie")) return;
    auto rest = view(header.value);
    while (!rest.empty() && !found) {
      auto pair = rest.substr(0, rest.find(';'));
      rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
      while (pair.starts_with(' ')) pair.remove_prefix(1);
      while (pair.ends_with(' ')) pair.remove_suffix(1);
      if (!pair.starts_with(name) || pair.size() <= name.size() || pair[name.size()] != '=') continue;
      value = pair.substr(name.size() + 1);
      found = true;
    }
  });
  return value;
}

std::span<const std::uint8_t> address_of(const sockaddr* address) {
  if (address->sa_family == AF_INET)
    return {reinterpret_cast<const std::uint8_t*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr), 4};
  if (address->sa_family != AF_INET6) return {};
  const auto& six = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(&six);
  return IN6_IS_ADDR_V4MAPPED(&six) ? std::span(bytes + 12, 4) : std::span(bytes, 16);
}

Tables* tables() { return worker_tables.get(); }
int certificate_folder() { return certificates; }

table::Regexes& regexes() {
  static NginxRegexes regexes;
  return regexes;
}

}  // namespace workflow::router::module

extern "C" {
using namespace workflow::router::module;  // NOLINT

ngx_module_t ngx_http_router_module = {NGX_MODULE_V1, &context,     commands,     NGX_HTTP_MODULE,
                                       nullptr,       start_master, start_worker, nullptr,
                                       nullptr,       end_worker,   nullptr,      NGX_MODULE_V1_PADDING};

// What nginx looks for in a module's file.
ngx_module_t* ngx_modules[] = {&ngx_http_router_module, nullptr};
char module_name[] = "ngx_http_router_module";
char* ngx_module_names[] = {module_name, nullptr};
char* ngx_module_order[] = {nullptr};
}
