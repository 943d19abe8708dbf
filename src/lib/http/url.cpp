#include <algorithm>
#include <charconv>

#include "lib/base/text.h"
#include "lib/http/http.h"

namespace workflow::http {

namespace {

std::uint16_t default_port(std::string_view scheme) { return scheme == "https" || scheme == "wss" ? 443 : 80; }

bool is_host(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
    return std::isalnum(c) || c == '.' || c == '-' || c == '_' || c == ':';
  });
}

}  // namespace

std::optional<Url> Url::parse(std::string_view text) {
  Url url;
  const auto colon = text.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  url.scheme = lower(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https" && url.scheme != "ws" && url.scheme != "wss") return std::nullopt;
  text.remove_prefix(colon + 3);
  if (std::ranges::any_of(text, [](unsigned char c) { return c <= ' ' || c == 0x7f; })) return std::nullopt;
  text = text.substr(0, text.find('#'));

  const auto end = text.find_first_of("/?");
  auto authority = text.substr(0, end);
  auto rest = end == std::string_view::npos ? std::string_view() : text.substr(end);
  if (authority.find('@') != std::string_view::npos) return std::nullopt;  // credentials never stand in a URL

  std::string_view port;
  if (authority.starts_with('[')) {  // RFC 3986, section 3.2.2: an IPv6 literal
    const auto close = authority.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    url.host = authority.substr(1, close - 1);
    if (url.host.find(':') == std::string::npos) return std::nullopt;
    auto after = authority.substr(close + 1);
    if (!after.empty() && after.front() != ':') return std::nullopt;
    if (!after.empty()) port = after.substr(1);
  } else {
    const auto separator = authority.find(':');
    url.host = lower(authority.substr(0, separator));
    if (separator != std::string_view::npos) port = authority.substr(separator + 1);
    if (url.host.find(':') != std::string::npos) return std::nullopt;
  }
  if (!is_host(url.host)) return std::nullopt;
  url.port = default_port(url.scheme);
  if (!port.empty()) {
    const auto [stop, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
    if (error != std::errc() || stop != port.data() + port.size() || url.port == 0) return std::nullopt;
  }
  const auto mark = rest.find('?');
  if (mark != std::string_view::npos) url.query = rest.substr(mark + 1);
  url.path = rest.substr(0, mark);
  if (url.path.empty()) url.path = "/";
  return url;
}

std::string Url::authority() const {
  std::string text = host.find(':') == std::string::npos ? host : "[" + host + "]";
  if (port != 0 && port != default_port(scheme)) text += ":" + std::to_string(port);
  return text;
}

std::string Url::text() const { return scheme + "://" + authority() + path + (query.empty() ? "" : "?" + query); }

}  // namespace workflow::http
