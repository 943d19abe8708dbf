// src/router/values.h: annotation values, checked character by character. Nothing here backtracks, and nothing that
// leaves here can change the meaning of a configuration file: names, numbers and addresses are written anew from what
// was read.
#pragma once
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::router {

std::optional<bool> parse_bool(std::string_view text);  // true, false, in any case
std::optional<std::int64_t> parse_count(std::string_view text, std::int64_t min, std::int64_t max);
// "30", "30s", "500ms", "5m", "1h", "1d", "1w", "1M" (30 days), "1y" (365 days); a bare number is seconds. At most a
// year.
std::optional<std::chrono::milliseconds> parse_time(std::string_view text);
std::optional<std::int64_t> parse_size(std::string_view text);  // bytes: "4096", "4k", "1m", "0"; at most 1 TiB

// An address range as nginx reads it: "10.0.0.0/8", "::1/128". Accepts IPv4 and IPv6, a prefix length or an IPv4
// netmask, and clears the host bits.
std::optional<std::string> parse_cidr(std::string_view text);

// Items between commas, trimmed, without empty ones.
std::vector<std::string> parse_list(std::string_view text);

// An entry of `domains`, in lower case: "foo", "www.foo.com" or "*.foo.com".
std::optional<std::string> parse_domain(std::string_view text);
bool is_bare(std::string_view domain);  // without a dot: completed by the platform domain
std::optional<std::string> parse_platform_domain(std::string_view text);

bool is_token(std::string_view text);  // a header's or cookie's name: letters, digits, - and _, at most 64

// The regular expressions that we let through to nginx: literals, classes, escapes, anchors, groups and alternatives,
// where nothing that repeats stands inside something that repeats. That is what paths and names need, and it cannot run
// away.
bool is_tame_regex(std::string_view text);

// An item of `proxyLocations`: "/prefix", "= /exact", "^~ /prefix", "~ regex" or "~* regex".
struct LocationPath {
  std::string modifier;  // "", "=", "^~", "~", "~*"
  std::string path;
  auto operator<=>(const LocationPath&) const = default;
};
std::optional<LocationPath> parse_location(std::string_view text);

// A list of OpenSSL cipher names: brackets of equal preference are opened, names of TLS 1.3 left out (they are always
// on). nullopt when OpenSSL knows none of the rest.
std::optional<std::string> parse_ciphers(std::string_view text);

// `text` as one quoted word of nginx's configuration.
std::string quoted(std::string_view text);

}  // namespace workflow::router
