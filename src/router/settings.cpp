#include "router/settings.h"

#include <algorithm>

#include "lib/base/text.h"

namespace workflow::router {
namespace {

constexpr std::string_view default_gzip_types =
    "application/atom+xml application/javascript application/json application/rss+xml application/vnd.ms-fontobject "
    "application/x-font-ttf application/x-web-app-manifest+json application/xhtml+xml application/xml font/opentype "
    "image/svg+xml image/x-icon text/css text/plain text/x-component";

// What a log format may name. An unknown variable would make the whole configuration unusable.
constexpr std::string_view log_variables[] = {"app_name",
                                              "binary_remote_addr",
                                              "body_bytes_sent",
                                              "bytes_sent",
                                              "connection",
                                              "connection_requests",
                                              "content_length",
                                              "content_type",
                                              "host",
                                              "hostname",
                                              "http_host",
                                              "http_referer",
                                              "http_user_agent",
                                              "http_x_correlation_id",
                                              "http_x_forwarded_for",
                                              "http_x_forwarded_proto",
                                              "msec",
                                              "pid",
                                              "pipe",
                                              "proxy_protocol_addr",
                                              "query_string",
                                              "realip_remote_addr",
                                              "remote_addr",
                                              "remote_port",
                                              "remote_user",
                                              "request",
                                              "request_id",
                                              "request_length",
                                              "request_method",
                                              "request_time",
                                              "request_uri",
                                              "scheme",
                                              "server_addr",
                                              "server_name",
                                              "server_port",
                                              "server_protocol",
                                              "ssl_cipher",
                                              "ssl_protocol",
                                              "ssl_server_name",
                                              "status",
                                              "time_iso8601",
                                              "time_local",
                                              "upstream_addr",
                                              "upstream_bytes_received",
                                              "upstream_bytes_sent",
                                              "upstream_connect_time",
                                              "upstream_header_time",
                                              "upstream_response_length",
                                              "upstream_response_time",
                                              "upstream_status",
                                              "uri"};

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool is_log_format(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (static_cast<unsigned char>(text[at]) < 0x20) return false;
    if (text[at] != '$') continue;
    const bool braces = at + 1 < text.size() && text[at + 1] == '{';
    const auto begin = at + (braces ? 2 : 1);
    auto end = begin;
    while (end < text.size() && is_name_character(text[end])) ++end;
    if (std::ranges::find(log_variables, text.substr(begin, end - begin)) == std::end(log_variables)) return false;
    if (braces && (end == text.size() || text[end] != '}')) return false;
    at = end - 1;
  }
  return !text.empty();
}

bool is_mime_type(std::string_view word) {
  const auto slash = word.find('/');
  return slash != std::string_view::npos && slash > 0 && slash + 1 < word.size() &&
         std::ranges::all_of(word,
                             [](char c) { return is_name_character(c) || std::string_view("/+-.").contains(c); }) &&
         std::ranges::count(word, '/') == 1;
}

// "off", "none", or up to one each of "builtin[:size]" and "shared:name:size".
bool is_session_cache(std::string_view text) {
  if (text == "off" || text == "none") return true;
  bool builtin = false, shared = false;
  for (const auto& word : split(text, ' ')) {
    if (word.empty()) continue;
    const auto parts = split(word, ':');
    if (parts[0] == "builtin" && !builtin && parts.size() <= 2) {
      builtin = true;
      if (parts.size() == 2 && !parse_count(parts[1], 1, 1 << 24)) return false;
    } else if (parts[0] == "shared" && !shared && parts.size() == 3) {
      shared = true;
      const auto size = parse_size(parts[2]);
      if (!size || *size < (64 << 10) || *size > (1 << 30)) return false;  // nginx refuses a zone below eight pages
      if (parts[1].empty() || !std::ranges::all_of(parts[1], is_name_character)) return false;
    } else {
      return false;
    }
  }
  return builtin || shared;
}

void read_gzip(const AnnotationReader& reader, Gzip& gzip) {
  gzip.types = default_gzip_types;
  reader.read("gzip.enabled", gzip.enabled);
  reader.read_count("gzip.compLevel", gzip.level, 1, 9);
  reader.read_count("gzip.minLength", gzip.min_length, 0, 1 << 30);
  reader.read_word("gzip.httpVersion", gzip.http_version, {"1.0", "1.1"});
  reader.read_word("gzip.vary", gzip.vary, {"on", "off"});
  reader.read_words("gzip.types", gzip.types, is_mime_type);
  reader.read_words("gzip.proxied", gzip.proxied, [](std::string_view word) {
    static constexpr std::string_view known[] = {
        "off", "expired", "no-cache", "no-store", "private", "no_last_modified", "no_etag", "auth", "any"};
    return std::ranges::find(known, word) != std::end(known);
  });
  if (const auto* text = reader.find("gzip.disable")) {
    if (text->empty() || is_tame_regex(*text))
      gzip.disable = *text;
    else
      reader.problem("gzip.disable", "must be msie6 or a simple regular expression");
  }
}

void read_tls(const AnnotationReader& reader, RouterSettings& settings) {
  reader.read("ssl.enforce", settings.enforce_tls);
  reader.read_words("ssl.protocols", settings.protocols, [](std::string_view word) {
    static constexpr std::string_view known[] = {"SSLv2", "SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"};
    return std::ranges::find(known, word) != std::end(known);
  });
  if (const auto* text = reader.find("ssl.ciphers"); text && !text->empty()) {
    if (auto ciphers = parse_ciphers(*text))
      settings.ciphers = std::move(*ciphers);
    else
      reader.problem("ssl.ciphers", "must be a list of OpenSSL cipher names with at least one that OpenSSL has");
  }
  if (const auto* text = reader.find("ssl.sessionCache"); text && !text->empty()) {
    if (is_session_cache(*text))
      settings.session_cache = *text;
    else
      reader.problem("ssl.sessionCache",
                     "must be off, none, builtin[:<number>] or shared:<name>:<size of at least 64k>");
  }
  reader.read("ssl.sessionTimeout", settings.session_timeout);
  reader.read("ssl.useSessionTickets", settings.session_tickets);
  reader.read_size("ssl.bufferSize", settings.tls_buffer_size);
  if (settings.tls_buffer_size > (1 << 20)) {
    reader.problem("ssl.bufferSize", "must be at most 1m");
    settings.tls_buffer_size = 4096;
  }
  read_hsts(reader, settings.hsts);
  if (const auto* text = reader.find("ssl.earlyDataMethods")) {
    static constexpr std::string_view known[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"};
    auto methods = split(*text, '|');
    std::erase(methods, "");
    if (std::ranges::all_of(methods, [](const auto& m) { return std::ranges::find(known, m) != std::end(known); })) {
      settings.early_data_methods = std::move(methods);
    } else {
      reader.problem("ssl.earlyDataMethods", "must be methods in upper case between |, or empty");
    }
  }
}

void read_whitelists(const AnnotationReader& reader, RouterSettings& settings) {
  reader.read("enforceWhitelists", settings.enforce_whitelists);
  if (auto list = reader.cidrs("defaultWhitelist")) {
    // Every item was bad: whoever wanted a list does not want everybody.
    if (list->empty()) settings.enforce_whitelists = true;
    settings.default_whitelist = std::move(*list);
  }
  std::string mode = "extend";
  reader.read_word("whitelistMode", mode, {"extend", "override"});
  settings.extend_whitelists = mode == "extend";
}

}  // namespace

AnnotationReader::AnnotationReader(const Annotations& annotations, std::string prefix, std::string service,
                                   std::vector<Problem>& problems)
    : annotations_(annotations),
      prefix_("router.deis.io/" + std::move(prefix)),
      service_(std::move(service)),
      problems_(problems) {}

const std::string* AnnotationReader::find(std::string_view key) const {
  const auto found = annotations_.find(prefix_ + std::string(key));
  return found == annotations_.end() ? nullptr : &found->second;
}

void AnnotationReader::problem(std::string_view key, std::string what) const {
  problems_.push_back({service_, prefix_ + std::string(key), std::move(what)});
}

void AnnotationReader::read(std::string_view key, bool& into) const {
  const auto* text = find(key);
  if (!text) return;
  if (const auto value = parse_bool(*text))
    into = *value;
  else
    problem(key, "must be true or false");
}

void AnnotationReader::read(std::string_view key, std::chrono::milliseconds& into) const {
  const auto* text = find(key);
  if (!text) return;
  if (const auto value = parse_time(*text))
    into = *value;
  else
    problem(key, "must be a time such as 30s, 500ms or 10m, at most a year");
}

void AnnotationReader::read_size(std::string_view key, std::int64_t& into, std::int64_t min) const {
  const auto* text = find(key);
  if (!text) return;
  if (const auto value = parse_size(*text); value && *value >= min)
    into = *value;
  else
    problem(key, "must be a size such as 4096, 32k or 1m");
}

void AnnotationReader::read_count(std::string_view key, std::int64_t& into, std::int64_t min, std::int64_t max) const {
  const auto* text = find(key);
  if (!text) return;
  if (const auto value = parse_count(*text, min, max))
    into = *value;
  else
    problem(key, "must be a number from " + std::to_string(min) + " to " + std::to_string(max));
}

void AnnotationReader::read_word(std::string_view key, std::string& into,
                                 std::initializer_list<std::string_view> words) const {
  const auto* text = find(key);
  if (!text) return;
  if (std::ranges::find(words, *text) != words.end())
    into = *text;
  else
    problem(key, "must be one of " + join({words.begin(), words.end()}, ", "));
}

void AnnotationReader::read_words(std::string_view key, std::string& into,
                                  const std::function<bool(std::string_view)>& accepts) const {
  const auto* text = find(key);
  if (!text) return;
  auto words = split(*text, ' ');
  std::erase(words, "");
  if (!words.empty() && std::ranges::all_of(words, accepts)) {
    std::ranges::sort(words);
    words.erase(std::ranges::unique(words).begin(), words.end());
    into = join(words, " ");
  } else {
    problem(key, "has a word that is not known here");
  }
}

std::optional<std::vector<std::string>> AnnotationReader::cidrs(std::string_view key) const {
  const auto* text = find(key);
  if (!text || trim(*text).empty()) return std::nullopt;
  std::vector<std::string> ranges;
  for (const auto& item : parse_list(*text)) {
    if (auto range = parse_cidr(item))
      ranges.push_back(std::move(*range));
    else
      problem(key, "has an item that is no address and no range: " + item);
  }
  std::ranges::sort(ranges);
  ranges.erase(std::ranges::unique(ranges).begin(), ranges.end());
  return ranges;
}

Buffers AnnotationReader::buffers(std::string_view group, Buffers defaults) const {
  const std::string base(group);
  Buffers buffers = defaults;
  read(base + "proxyBuffers.enabled", buffers.enabled);
  read_count(base + "proxyBuffers.number", buffers.number, 1, 4096);
  read_size(base + "proxyBuffers.size", buffers.size);
  read_size(base + "proxyBuffers.busySize", buffers.busy_size);
  // nginx: "proxy_busy_buffers_size" must be at least one buffer, and leave one free.
  const bool fits = buffers.number >= 2 && buffers.size <= (16 << 20) && buffers.busy_size >= buffers.size &&
                    buffers.busy_size <= (buffers.number - 1) * buffers.size;
  if (fits) return buffers;
  problem(base + "proxyBuffers",
          "must have at least 2 buffers of at most 16m, and busySize between size and (number - 1) * size");
  defaults.enabled = buffers.enabled;
  return defaults;
}

void read_hsts(const AnnotationReader& reader, Hsts& into) {
  reader.read("ssl.hsts.enabled", into.enabled);
  reader.read("ssl.hsts.includeSubDomains", into.subdomains);
  reader.read("ssl.hsts.preload", into.preload);
  reader.read_count("ssl.hsts.maxAge", into.max_age, 1, 1LL << 40);
}

std::string hsts_text(const Hsts& hsts) {
  return "max-age=" + std::to_string(hsts.max_age) + (hsts.subdomains ? "; includeSubDomains" : "") +
         (hsts.preload ? "; preload" : "");
}

void read_referrer_policy(const AnnotationReader& reader, std::string& into) {
  reader.read_word("referrerPolicy", into,
                   {"no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin",
                    "strict-origin", "strict-origin-when-cross-origin", "unsafe-url", "none"});
}

RouterSettings router_settings(const Annotations& annotations, const std::string& service,
                               const std::string& platform_domain, std::vector<Problem>& problems) {
  const AnnotationReader reader(annotations, "nginx.", service, problems);
  RouterSettings settings;
  std::int64_t number = 0;
  if (const auto* text = reader.find("workerProcesses"); text && *text != "auto") {
    reader.read_count("workerProcesses", number, 1, 256);
    if (number > 0) settings.worker_processes = number;
  }
  number = 0;
  reader.read_count("maxWorkerConnections", number, 1, 1'000'000);
  if (number > 0) settings.worker_connections = number;
  reader.read("defaultTimeout", settings.default_timeout);
  read_gzip(reader, settings.gzip);
  reader.read_size("bodySize", settings.body_size, 0);
  reader.read_count("largeHeaderBuffersCount", settings.header_buffers, 1, 1024);
  reader.read_size("largeHeaderBuffersSize", settings.header_buffer_size, 512);
  if (settings.header_buffer_size > (1 << 20)) {
    reader.problem("largeHeaderBuffersSize", "must be at most 1m");
    settings.header_buffer_size = 32 << 10;
  }
  if (auto peers = reader.cidrs("proxyRealIpCidrs")) settings.trusted_peers = std::move(*peers);
  reader.read_word("errorLogLevel", settings.error_log_level,
                   {"debug", "info", "notice", "warn", "error", "crit", "alert", "emerg"});
  settings.platform_domain = lower(platform_domain);
  if (const auto* text = reader.find("platformDomain"); text && !text->empty()) {
    if (auto domain = parse_platform_domain(*text))
      settings.platform_domain = std::move(*domain);
    else
      reader.problem("platformDomain", "must be a domain name");
  }
  reader.read("useProxyProtocol", settings.proxy_protocol);
  reader.read("disableServerTokens", settings.hide_version);
  read_whitelists(reader, settings);
  reader.read("enableRegexDomains", settings.regex_domains);
  bool default_service = false;
  reader.read("defaultServiceEnabled", default_service);
  if (default_service) {
    const auto* address = reader.find("defaultServiceIP");
    const auto range = address && !address->contains('/') ? parse_cidr(*address) : std::nullopt;
    if (range)
      settings.default_service_address = range->substr(0, range->find('/'));
    else
      reader.problem("defaultServiceIP", "must be an address while defaultServiceEnabled is true");
    if (const auto* name = reader.find("defaultAppName"); name && parse_domain(*name))
      settings.default_app_name = *name;
  }
  bool modsecurity = false;
  reader.read("loadModsecurityModule", modsecurity);
  if (modsecurity) reader.problem("loadModsecurityModule", "is not supported: put a web application firewall in front");
  reader.read("requestIDs", settings.request_ids);
  reader.read("requestStartHeader", settings.request_start);
  reader.read("http2Enabled", settings.http2);
  if (const auto* text = reader.find("logFormat"); text && !text->empty()) {
    if (is_log_format(*text))
      settings.log_format = *text;
    else
      reader.problem("logFormat", "may only name the variables that docs/router.md lists");
  }
  settings.buffers = reader.buffers("", {});
  read_referrer_policy(reader, settings.referrer_policy);
  read_tls(reader, settings);
  return settings;
}

}  // namespace workflow::router
