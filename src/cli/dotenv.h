// src/cli/dotenv.h: KEY=value, as config:set takes it and .env files hold it.
//   A file's line is [export] KEY=value. A value in quotes may have several lines; what follows it, and what follows a
//   blank in a value without quotes, may be a # comment. Between ' everything is itself; between " the escapes are \n
//   \r \t
//   \" \\ \$ and \`. Nothing is expanded. What print_dotenv writes, parse_dotenv reads back byte for byte.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace workflow::cli {

using Settings = std::map<std::string, std::string>;

std::optional<std::pair<std::string, std::string>> parse_setting(std::string_view text);  // "KEY=value"
Settings parse_dotenv(std::string_view text);  // throws invalid with the number of the bad line; LF or CRLF
std::string print_dotenv(const Settings& settings);
[[noreturn]] void refuse_setting(std::string_view text);

// The value to send for SSH_KEY: base64 of the PEM text, which may be given itself, encoded, or as a file's name.
std::string ssh_key_value(const std::string& given);

}  // namespace workflow::cli
