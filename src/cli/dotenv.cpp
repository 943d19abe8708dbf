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

namespace {

std::string pattern_mismatch(std::string_view text) {
  return "'" + std::string(text) + "' does not match the pattern 'key=var', ex: MODE=test\n";
}

}  // namespace

void refuse_setting(std::string_view text) { throw Error(ErrorKind::invalid, pattern_mismatch(text)); }

namespace {

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// One pass over a .env file.
class DotenvReader {
 public:
  explicit DotenvReader(std::string_view text) : rest_(text) {
    if (rest_.starts_with("\xef\xbb\xbf")) rest_.remove_prefix(3);  // a byte order mark, as some editors write
  }

  Settings read() {
    Settings settings;
    while (skip_to_entry()) {
      begun_at_ = line_;
      auto key = read_key();
      settings.insert_or_assign(std::move(key), read_value());
    }
    return settings;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorKind::invalid, "line " + std::to_string(begun_at_) + ": " + why);
  }

  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    if (c == '\n') ++line_;
    return c;
  }
  bool at_line_end() const { return rest_.empty() || rest_.front() == '\n' || rest_.starts_with("\r\n"); }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view take_line() {
    auto line = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(line.size());
    while (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  // Past empty lines and comments; false at the end of the file.
  bool skip_to_entry() {
    for (;;) {
      while (!rest_.empty() && (is_blank(rest_.front()) || rest_.front() == '\n' || rest_.front() == '\r')) take();
      if (rest_.empty()) return false;
      if (rest_.front() != '#') return true;
      take_line();
    }
  }

  std::string read_key() {
    const auto line = rest_.substr(0, rest_.find('\n'));
    auto name = line.substr(0, line.find('='));
    if (name.size() == line.size()) refuse_line(line);
    rest_.remove_prefix(name.size() + 1);
    if (name.starts_with("export") && name.size() > 6 && is_blank(name[6])) name.remove_prefix(7);
    auto setting = parse_setting(std::string(trim(name)) + "=");
    if (!setting) refuse_line(line);
    return std::move(setting->first);
  }
  [[noreturn]] void refuse_line(std::string_view line) const {
    throw Error(ErrorKind::invalid, pattern_mismatch(trim(line)) + "It is line " + std::to_string(line_) +
                                        "; a value of several lines stands between quotes.\n");
  }

  std::string read_value() {
    const bool after_blank = !rest_.empty() && is_blank(rest_.front());
    skip_blanks();
    if (!rest_.empty() && (rest_.front() == '"' || rest_.front() == '\'')) return read_quoted(take());
    auto value = take_line();
    if (after_blank && value.starts_with('#')) return "";
    for (std::size_t i = 1; i < value.size(); ++i) {
      if (value[i] == '#' && is_blank(value[i - 1])) value = value.substr(0, i);
    }
    while (!value.empty() && is_blank(value.back())) value.remove_suffix(1);
    return std::string(value);
  }

  std::string read_quoted(char quote) {
    std::string value;
    for (;;) {
      if (rest_.empty())
        refuse(std::string("the quote ") + quote + " is not closed; close it, or put the value between " +
               (quote == '"' ? "'" : "\"") + " if the quote belongs to it");
      if (rest_.starts_with("\r\n")) rest_.remove_prefix(1);  // the end of a line, as on Windows
      const char c = take();
      if (c == quote) break;
      value += c == '\\' && quote == '"' ? read_escape() : std::string(1, c);
    }
    skip_blanks();
    if (!at_line_end() && rest_.front() != '#') {
      refuse(std::string("text follows the closing ") + quote + "; put the whole value between quotes");
    }
    take_line();
    return value;
  }

  // What stands after a backslash between double quotes; one that escapes nothing is itself.
  std::string read_escape() {
    constexpr std::string_view names = "nrt\"\\$`", meanings = "\n\r\t\"\\$`";
    if (rest_.empty()) return "\\";
    const auto at = names.find(rest_.front());
    if (at == std::string_view::npos) return "\\";
    take();
    return std::string(1, meanings[at]);
  }

  std::string_view rest_;
  std::size_t line_ = 1, begun_at_ = 1;
};

// As it is where it can be, so that plain values look as they always did.
std::string dotenv_value(const std::string& value) {
  const bool blank_ends = !value.empty() && (is_blank(value.front()) || is_blank(value.back()));
  const bool special = value.find_first_of("\n\r") != std::string::npos || value.starts_with('#') ||
                       value.starts_with('"') || value.starts_with('\'') || value.find(" #") != std::string::npos ||
                       value.find("\t#") != std::string::npos;
  if (!blank_ends && !special) return value;
  if (value.find_first_of("'\r") == std::string::npos) return "'" + value + "'";
  std::string out = "\"";
  for (const char c : value) {
    if (c == '\r') {
      out += "\\r";
    } else {
      if (c == '"' || c == '\\' || c == '$' || c == '`') out += '\\';
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace

Settings parse_dotenv(std::string_view text) { return DotenvReader(text).read(); }

std::string print_dotenv(const Settings& settings) {
  std::string out;
  for (const auto& [key, value] : settings) out += key + "=" + dotenv_value(value) + "\n";
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
