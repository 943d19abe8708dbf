#include "cli/profile.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "lib/json/json.h"

namespace workflow::cli {

namespace fs = std::filesystem;

fs::path profile_path(const Identity& identity, const std::string& name, const fs::path& home) {
  const auto slash = name.find_last_of("/\\");
  const bool is_path = slash != std::string::npos && name.size() > slash + 1 + 5 && name.ends_with(".json");
  return is_path ? fs::path(name) : home / identity.profile_folder / (name + ".json");
}

std::string print_profile(const Profile& profile) {
  return print_json(json::object{{"username", profile.username},
                                 {"ssl_verify", profile.ssl_verify},
                                 {"controller", profile.controller},
                                 {"token", profile.token},
                                 {"response_limit", profile.response_limit}});
}

std::optional<Profile> parse_profile(std::string_view text) {
  const auto value = parse_json(text);
  if (!value || !value->is_object()) return std::nullopt;
  Profile out;
  out.username = find_string(*value, {"username"}).value_or("");
  out.ssl_verify = find_bool(*value, {"ssl_verify"}).value_or(true);
  out.controller = find_string(*value, {"controller"}).value_or("");
  out.token = find_string(*value, {"token"}).value_or("");
  out.response_limit = find_integer(*value, {"response_limit"}).value_or(0);
  return out;
}

std::optional<Profile> find_profile(const fs::path& path) {
  const auto text = find_file(path);
  if (!text) return std::nullopt;
  auto profile = parse_profile(*text);
  if (!profile) throw Error(ErrorKind::invalid, path.string() + " is not a JSON object; remove it and log in again");
  return profile;
}

void save_profile(const fs::path& path, const fs::path& home_folder, const Profile& profile) {
  if (path.parent_path() == home_folder && ::mkdir(home_folder.c_str(), 0700) != 0 && errno != EEXIST) {
    throw Error(ErrorKind::unavailable, "cannot create the folder " + home_folder.string());
  }
  write_file_atomically(path, print_profile(profile), 0600);
}

namespace {

// A dotted name, localhost, or an IP address (IPv6 in brackets).
bool is_host(std::string_view host) {
  if (host == "localhost") return true;
  if (host.starts_with('[')) return host.size() > 2 && host.ends_with(']');
  if (host.find('.') == std::string_view::npos || host.starts_with('.') || host.ends_with('-')) return false;
  return std::ranges::all_of(host, [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '-' || c == '_'; });
}

}  // namespace

std::string controller_url(std::string_view typed) {
  std::string scheme = "http";
  if (const auto mark = typed.find("://"); mark != std::string_view::npos) {
    scheme = lower(typed.substr(0, mark));
    typed.remove_prefix(mark + 3);
  }
  if (scheme != "http" && scheme != "https") {
    throw Error(ErrorKind::invalid, "scheme \"" + scheme + "\": use http:// or https://");
  }
  const auto end = std::min(typed.find('/'), typed.size());
  const std::string authority = lower(typed.substr(0, end));
  const auto bracket = authority.find(']');
  const auto colon = authority.find(':', bracket == std::string::npos ? 0 : bracket);
  const auto host = authority.substr(0, colon);
  if (host.empty()) throw Error(ErrorKind::invalid, "host \"\": empty host");
  if (!is_host(host)) throw Error(ErrorKind::invalid, "host \"" + host + "\": invalid host");
  if (colon != std::string::npos) {
    const auto port = parse_integer(std::string_view(authority).substr(colon + 1));
    if (!port || *port < 1 || *port > 65535) {
      throw Error(ErrorKind::invalid, "port \"" + authority.substr(colon + 1) + "\": must be a number from 1 to 65535");
    }
  }
  return scheme + "://" + authority + std::string(typed.substr(end));
}

}  // namespace workflow::cli
