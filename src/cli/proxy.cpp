#include "cli/proxy.h"

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

namespace ip = boost::asio::ip;

std::string either_spelling(const Env& env, const std::string& capitals) {
  const auto found = env.find(capitals).value_or("");
  return found.empty() ? env.find(lower(capitals)).value_or("") : found;
}

std::optional<ip::address> address_of(std::string_view text) {
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  boost::system::error_code none;
  const auto address = ip::make_address(text, none);
  if (none) return std::nullopt;
  return address;
}

bool is_this_machine(std::string_view host) {
  if (host == "localhost" || host.ends_with(".localhost")) return true;  // RFC 6761, section 6.3
  const auto address = address_of(host);
  return address && address->is_loopback();
}

bool is_in_network(const ip::address& address, std::string_view network) {
  boost::system::error_code none;
  if (address.is_v4()) {
    const auto v4 = ip::make_network_v4(network, none);
    return !none && ip::network_v4(address.to_v4(), v4.prefix_length()).network() == v4.network();
  }
  const auto v6 = ip::make_network_v6(network, none);
  return !none && ip::network_v6(address.to_v6(), v6.prefix_length()).network() == v6.network();
}

// "example.com" means itself and what is below it, ".example.com" and "*.example.com" only what is below.
bool is_exception(std::string_view entry, const http::Url& target) {
  if (entry == "*") return true;
  if (entry.empty()) return false;
  const auto colon = entry.rfind(':');
  const bool is_v6 = colon != entry.find(':') && !entry.starts_with('[');
  if (colon != std::string_view::npos && !is_v6) {
    if (const auto port = parse_integer(entry.substr(colon + 1))) {
      if (*port != target.port) return false;
      entry = entry.substr(0, colon);
    }
  }
  const auto host = target.host;
  if (const auto address = address_of(host)) {
    if (const auto same = address_of(entry)) return *same == *address;
    return entry.find('/') != std::string_view::npos && is_in_network(*address, entry);
  }
  auto domain = lower(entry);
  if (domain.starts_with("*.")) domain.erase(0, 1);
  if (domain.starts_with('.')) return host.ends_with(domain);
  return host == domain || host.ends_with("." + domain);
}

}  // namespace

Proxies Proxies::from(const Env& env) {
  return {either_spelling(env, "HTTP_PROXY"), either_spelling(env, "HTTPS_PROXY"), either_spelling(env, "NO_PROXY")};
}

std::optional<std::string> proxy_for(const Proxies& proxies, const http::Url& target) {
  const auto& proxy = target.scheme == "https" ? proxies.for_https : proxies.for_http;
  if (proxy.empty() || is_this_machine(target.host)) return std::nullopt;
  for (const auto& entry : split(proxies.exceptions, ',')) {
    if (is_exception(trim(entry), target)) return std::nullopt;
  }
  return proxy;
}

http::Proxy parse_proxy(std::string_view text) {
  const auto mark = text.find("://");
  const auto scheme = mark == std::string_view::npos ? "http" : lower(text.substr(0, mark));
  auto rest = mark == std::string_view::npos ? text : text.substr(mark + 3);
  http::Proxy proxy;
  // Credentials end at the last "@" before the path: a password may hold one.
  if (const auto at = rest.substr(0, rest.find('/')).rfind('@'); at != std::string_view::npos) {
    const auto colon = std::min(rest.substr(0, at).find(':'), at);
    const auto user = percent_decode(rest.substr(0, colon));
    const auto password = percent_decode(colon < at ? rest.substr(colon + 1, at - colon - 1) : "");
    if (!user || !password) throw Error(ErrorKind::invalid, "the proxy's user or password has a bad %-escape");
    proxy.authorization = "Basic " + to_base64(*user + ":" + *password);
    rest.remove_prefix(at + 1);
  }
  const auto shown = scheme + "://" + std::string(rest);
  if (scheme != "http") {
    throw Error(ErrorKind::invalid,
                "the proxy " + shown + " of http_proxy or https_proxy is not supported: only http:// is");
  }
  auto url = http::Url::parse(shown);
  if (!url)
    throw Error(ErrorKind::invalid, "http_proxy or https_proxy: \"" + shown + "\" is no URL; try http://proxy:3128");
  proxy.url = std::move(*url);
  return proxy;
}

}  // namespace workflow::cli
