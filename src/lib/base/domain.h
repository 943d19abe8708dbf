// src/lib/base/domain.h: the words of the platform as types. Text from outside is parsed once, at the door.
#pragma once
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace workflow {

// A string that satisfied `Rule::valid`. Two of different rules cannot be mixed up.
template <typename Rule>
class Checked {
 public:
  static std::optional<Checked> parse(std::string_view text) {
    if (!Rule::valid(text)) return std::nullopt;
    return Checked(std::string(text));
  }
  const std::string& text() const { return text_; }
  auto operator<=>(const Checked&) const = default;
  static constexpr std::string_view rule() { return Rule::description; }  // what to tell who got it wrong

 private:
  explicit Checked(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

// A DNS label that starts with a letter (RFC 1035, section 2.3.1): it names a namespace, a Service and a host.
struct AppNameRule {
  static bool valid(std::string_view text);
  static constexpr std::string_view description =
      "a lower-case letter, then up to 62 lower-case letters, digits or hyphens, not ending in a hyphen";
};
// 1 to 150 of letters and digits of any script and @ . + - _ (the original's rule); UTF-8.
struct UserNameRule {
  static bool valid(std::string_view text);
  static constexpr std::string_view description = "1 to 150 letters, digits or @ . + - _";
};
// A process type of a Procfile: becomes part of a Deployment's name.
struct ProcessTypeRule {
  static bool valid(std::string_view text);
  static constexpr std::string_view description =
      "lower-case letters, digits and hyphens, starting and ending with a letter or digit, at most 63";
};
// The name of an environment variable (POSIX.1, section 8.1, lower case allowed).
struct ConfigKeyRule {
  static bool valid(std::string_view text);
  static constexpr std::string_view description = "letters, digits and underscores, not starting with a digit";
};
// A host name of at most 253 characters, labels per RFC 1123, optionally a leading "*.".
struct DomainNameRule {
  static bool valid(std::string_view text);
  static constexpr std::string_view description = "a host name such as www.example.com, optionally with a leading *.";
};

using AppName = Checked<AppNameRule>;
using UserName = Checked<UserNameRule>;
using ProcessType = Checked<ProcessTypeRule>;
using ConfigKey = Checked<ConfigKeyRule>;
using DomainName = Checked<DomainNameRule>;

// "v3" names the third release of an app.
struct ReleaseVersion {
  std::int64_t number = 0;
  static std::optional<ReleaseVersion> parse(std::string_view text);  // "v3" or "3"
  std::string text() const { return "v" + std::to_string(number); }
  auto operator<=>(const ReleaseVersion&) const = default;
};

// Text that never shows in a log, a URL or an argument list: it prints as ***.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  const std::string& reveal() const { return value_; }
  bool empty() const { return value_.empty(); }
  std::string text() const { return "***"; }
  bool operator==(const Secret&) const = default;

 private:
  std::string value_;
};

}  // namespace workflow
