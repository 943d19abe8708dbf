// src/cli/dotenv.h: KEY=value lines, as config:set takes them and .env files hold them.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace workflow::cli {

using Settings = std::map<std::string, std::string>;

std::optional<std::pair<std::string, std::string>> parse_setting(std::string_view text);  // "KEY=value"
// One a line, LF or CRLF; empty lines and those that begin with # are skipped. Throws invalid, quoting the bad line.
Settings parse_dotenv(std::string_view text);
std::string print_dotenv(const Settings& settings);
[[noreturn]] void refuse_setting(std::string_view text);

// The value to send for SSH_KEY: base64 of the PEM text, which may be given itself, encoded, or as a file's name.
std::string ssh_key_value(const std::string& given);

}  // namespace workflow::cli
