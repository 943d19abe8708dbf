#include "cli/dotenv.h"

#include <cctype>

#include "cli/grammar.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::cli {

std::optional<std::pair<std::string, std::string>> parse_setting(std::string_view text) {
  const auto equals = text.find('=');
  if (equals == 0 || equals == std::string_view::npos) return std::nullopt;
  const auto key = text.substr(0, equals);
  if (std::isdigit(static_cast<unsigned char>(key[0]))) return std::nullopt;
  for (const char c : key) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') return std::nullopt;
  }
  return std::pair(std::string(key), std::string(text.substr(equals + 1)));
}

void refuse_setting(std::string_view text) {
  throw Error(ErrorKind::invalid, "'" + std::string(text) + "' does not match the pattern 'key=var', ex: MODE=test\n");
}

Settings parse_dotenv(std::string_view text) {
  Settings settings;
  for (std::string_view line : split(text, '\n')) {
    while (line.starts_with('\r')) line.remove_prefix(1);
    while (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    auto setting = parse_setting(line);
    if (!setting) refuse_setting(line);
    settings.insert_or_assign(std::move(setting->first), std::move(setting->second));
  }
  return settings;
}

std::string print_dotenv(const Settings& settings) {
  std::string out;
  for (const auto& [key, value] : settings) out += key + "=" + value + "\n";
  return out;
}

namespace {

bool is_private_key(std::string_view text) {
  for (const std::string_view kind : {"DSA", "RSA", "EC", "OPENSSH"}) {
    if (text.find("-----BEGIN " + std::string(kind) + " PRIVATE KEY-----") != std::string_view::npos) return true;
  }
  return false;
}

}  // namespace

std::string ssh_key_value(const std::string& given) {
  if (is_private_key(given)) return to_base64(given);
  if (const auto decoded = from_base64(given); decoded && is_private_key(*decoded)) return given;
  std::optional<std::string> file;
  try {
    file = find_file(given);
  } catch (const Error&) {
    // a name that cannot be read is reported like one that holds no key
  }
  if (file && is_private_key(*file)) return to_base64(*file);
  throw Error(ErrorKind::invalid,
              "Could not parse SSH private key:\n give SSH_KEY the text of a PEM file, its base64, or the file's name");
}

}  // namespace workflow::cli
