#include "controller/rules.h"

#include <arpa/inet.h>
#include <idn2.h>

#include <algorithm>
#include <memory>

#include "lib/base/encoding.h"
#include "lib/base/image_name.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr std::string_view not_null = "This field may not be null.";
constexpr std::string_view no_nulls = "Null characters are not allowed.";
// What one variable may take of a process' environment (Linux: MAX_ARG_STRLEN), and all together of the Secret that
// carries them: 1 MiB in Kubernetes, less what the platform's own variables take.
constexpr std::size_t longest_variable = 128 * 1024 - 1, most_of_variables = 1000 * 1000;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alnum(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool all_digits(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_digit); }

// ([A-Za-z0-9][-.\w]{0,61})?[A-Za-z0-9]
bool is_tag_part(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_alnum(text.front()) && is_alnum(text.back()) &&
         std::ranges::all_of(text, [](char c) { return is_alnum(c) || c == '-' || c == '.' || c == '_'; });
}

using Problem = std::optional<std::string>;

Problem config_value(const std::string& key, const json::value& value) {
  if (!ConfigKey::parse(key)) return "Config keys must start with a letter or underscore and only contain [A-z0-9_]";
  const auto text = python_text(value);
  if (key == "PORT") {
    if (!all_digits(text)) return "PORT can only be a numeric value";
    const auto port = parse_integer(text);
    if (!port || *port < 1 || *port > 65535) return "PORT needs to be between 1 and 65535";
  } else if (key == "HEALTHCHECK_URL") {
    const auto host = text.find("://");
    const bool has_path =
        host == std::string::npos ? text.starts_with('/') : text.find('/', host + 3) != std::string::npos;
    if (!has_path) {
      return "HEALTHCHECK_URL is missing a URI path (such as /healthz). Without it no health check can be done";
    }
    const bool is_plain = std::ranges::all_of(text, [](char c) { return c > ' ' && c != 0x7f; });
    if (host != std::string::npos || text.find_first_of("?#") != std::string::npos || text.starts_with("//") ||
        !is_plain) {
      return "HEALTHCHECK_URL can only be a URI path (such as /healthz) that does not contain other things such as "
             "query params";
    }
  } else if (key.starts_with("HEALTHCHECK_") && !all_digits(text)) {
    return key + " can only be a numeric value";
  }
  return std::nullopt;
}

Problem type_key(const std::string& key) {
  if (is_process_type(key)) return std::nullopt;
  return "Process types can only contain lowercase alphanumeric characters";
}

Problem memory_value(const std::string& key, const json::value& value) {
  if (auto problem = type_key(key)) return problem;
  if (cluster::memory_limit(python_text(value))) return std::nullopt;
  return "Memory limit format: <number><unit> or <number><unit>/<number><unit>, where unit = B, K, M or G";
}

Problem cpu_value(const std::string& key, const json::value& value) {
  if (auto problem = type_key(key)) return problem;
  if (cluster::cpu_limit(python_text(value))) return std::nullopt;
  return "CPU limit format: <value> or <value>/<value>, where value must be a numeric";
}

Problem grace_value(const std::string& key, const json::value& value) {
  if (auto problem = type_key(key)) return problem;
  if (all_digits(python_text(value))) return std::nullopt;
  return "Termination Grace Period format: <value>, where value must be a numeric";
}

Problem tag_value(const std::string& key, const json::value& value) {
  auto name = std::string_view(key);
  if (const auto slash = name.find('/'); slash != std::string_view::npos) {
    const auto prefix = name.substr(0, slash);
    if (prefix.size() > 253) return "Tag key prefixes must 253 characters or less.";
    const auto domain = DomainName::parse(prefix);
    if (!domain || prefix.starts_with('*')) return "Tag key prefixes must be DNS subdomains.";
    name.remove_prefix(slash + 1);
  }
  if (!is_tag_part(name)) return "Tag keys must be alphanumeric or \"-_.\", and 1-63 characters.";
  const auto text = python_text(value);
  if (!text.empty() && !is_tag_part(text)) return "Tag values must be alphanumeric or \"-_.\", and 1-63 characters.";
  return std::nullopt;
}

Problem registry_value(const std::string& key, const json::value&) {
  if (ConfigKey::parse(key)) return std::nullopt;
  return "Config keys must start with a letter or underscore and only contain [A-z0-9_]";
}

Problem lifecycle_value(const std::string& key, const json::value& value) {
  if (auto problem = type_key(key)) return problem;
  return value.is_string() ? std::nullopt : Problem("must be a command");
}

Problem probe_problem(std::string_view kind, const json::value& probe) {
  auto bad = [&](const std::string& why) { return "could not validate " + json::serialize(probe) + ": " + why; };
  if (!probe.is_object()) return bad("it must be an object");
  const auto& object = probe.get_object();
  if (const auto* exec = object.if_contains("exec")) {
    const auto* command = find_path(*exec, {"command"});
    if (!command || !command->is_array() || command->get_array().empty() ||
        !std::ranges::all_of(command->get_array(), &json::value::is_string)) {
      return bad("exec needs a command, a list of words");
    }
  }
  for (const char* handler : {"httpGet", "tcpSocket"}) {
    if (!object.contains(handler)) continue;
    const auto port = find_integer(object, {handler, "port"});
    if (!port || *port < 1 || *port > 65535) return bad(std::string(handler) + " needs a port");
  }
  for (const char* name : {"path", "host", "scheme"}) {
    const auto* text = find_path(probe, {"httpGet", name});
    if (text && !text->is_string()) return bad(std::string("httpGet's ") + name + " must be text");
  }
  if (const auto* headers = find_path(probe, {"httpGet", "httpHeaders"})) {
    auto is_header = [](const json::value& header) {
      return find_string(header, {"name"}).has_value() && find_string(header, {"value"}).has_value();
    };
    if (!headers->is_array() || !std::ranges::all_of(headers->get_array(), is_header))
      return bad("httpHeaders must be a list of objects with a name and a value");
  }
  for (const char* name :
       {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}) {
    if (object.contains(name) && !find_integer(object, {name}))
      return bad(std::string(name) + " must be a whole number");
  }
  if (kind == "livenessProbe" && find_integer(object, {"successThreshold"}).value_or(1) != 1) {
    return "livenessProbe successThreshold can only be 1";
  }
  return std::nullopt;
}

Problem healthcheck_value(const std::string& key, const json::value& value) {
  if (key != "web/cmd") {
    if (key == "livenessProbe" || key == "readinessProbe") {
      return "Healthcheck keys must be process types, such as web/cmd, that hold livenessProbe or readinessProbe";
    }
    if (auto problem = type_key(key)) return problem;
  }
  if (!value.is_object()) return "could not validate " + json::serialize(value) + ": it must be an object";
  for (const auto& [kind, probe] : value.get_object()) {
    if (kind != "livenessProbe" && kind != "readinessProbe" && kind != "startupProbe") {
      return "Healthcheck keys must be either livenessProbe or readinessProbe";
    }
    if (probe.is_null()) continue;
    if (auto problem = probe_problem(kind, probe)) return problem;
  }
  return std::nullopt;
}

struct MapRule {
  std::string_view map;
  Problem (*check)(const std::string& key, const json::value& value);
};
constexpr MapRule map_rules[] = {{"values", config_value},
                                 {"memory", memory_value},
                                 {"cpu", cpu_value},
                                 {"termination_grace_period", grace_value},
                                 {"tags", tag_value},
                                 {"registry", registry_value},
                                 {"healthcheck", healthcheck_value},
                                 {"lifecycle_post_start", lifecycle_value},
                                 {"lifecycle_pre_stop", lifecycle_value}};

[[noreturn]] void bad_domain(std::string what) { throw Error(Error::Fields{{"domain", {std::move(what)}}}); }

}  // namespace

std::size_t characters(std::string_view utf8) {
  return static_cast<std::size_t>(std::ranges::count_if(utf8, [](char c) { return (c & 0xc0) != 0x80; }));
}

bool Fields::is_null(std::string_view name) const {
  const auto* value = body_.if_contains(name);
  return value && value->is_null();
}

std::optional<std::string> Fields::text(std::string_view name, Text rule) {
  const auto* value = body_.if_contains(name);
  if (!value) {
    if (rule.required) problem(name, "This field is required.");
    return std::nullopt;
  }
  if (value->is_null()) {
    problem(name, std::string(not_null));
    return std::nullopt;
  }
  if (value->is_structured() || value->is_bool()) {
    problem(name, "Not a valid string.");
    return std::nullopt;
  }
  auto out = python_text(*value);
  if (rule.stripped) out = trim(out);
  if (out.find('\0') != std::string::npos) {
    problem(name, std::string(no_nulls));
    return std::nullopt;
  }
  if (out.empty() && !rule.blank_allowed) {
    problem(name, "This field may not be blank.");
    return std::nullopt;
  }
  if (rule.max && characters(out) > rule.max) {
    problem(name, "Ensure this field has no more than " + std::to_string(rule.max) + " characters.");
  }
  return out;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const auto* value = body_.if_contains(name);
  if (!value || value->is_null()) return std::nullopt;
  if (value->is_bool()) return value->get_bool();
  const auto word = lower(value->is_structured() ? "" : python_text(*value));
  for (const char* yes : {"t", "true", "y", "yes", "on", "1"})
    if (word == yes) return true;
  for (const char* no : {"f", "false", "n", "no", "off", "0"})
    if (word == no) return false;
  problem(name, "Must be a valid boolean.");
  return std::nullopt;
}

std::optional<json::object> Fields::map(std::string_view name) {
  const auto* value = body_.if_contains(name);
  if (!value) return std::nullopt;
  if (value->is_null()) {
    problem(name, std::string(not_null));
    return std::nullopt;
  }
  if (const auto* object = value->if_object()) return *object;
  if (const auto* text = value->if_string()) {
    auto parsed = parse_json(*text);
    if (parsed && parsed->is_object()) return std::move(parsed->get_object());
  }
  problem(name, "must be an object");
  return std::nullopt;
}

void Fields::done() const {
  if (!problems_.empty()) throw Error(problems_);
}

std::vector<std::string> app_name_problems(const std::string& name, const std::set<std::string>& reserved) {
  std::vector<std::string> problems;
  const bool is_slug = std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '_' || c == '-'; });
  if (!AppName::parse(name.substr(0, 63)) || !is_slug) {
    problems.emplace_back(
        "App name must start with an alphabetic character, cannot end with a hyphen and can only contain a-z "
        "(lowercase), 0-9 and hyphens.");
  }
  if (reserved.contains(name)) problems.emplace_back(name + " is a reserved name.");
  if (characters(name) > 63) problems.emplace_back("Ensure this field has no more than 63 characters.");
  if (!is_slug) problems.emplace_back("Enter a valid \"slug\" consisting of letters, numbers, underscores or hyphens.");
  return problems;
}

bool is_email(std::string_view text) {
  const auto at = text.rfind('@');
  if (at == std::string_view::npos || at == 0 || text.size() > 254) return false;
  const auto local = text.substr(0, at), domain = text.substr(at + 1);
  const bool sane = std::ranges::all_of(local, [](char c) {
    return is_alnum(c) || std::string_view("!#$%&'*+/=?^_`{}|~.-").find(c) != std::string_view::npos;
  });
  if (!sane || local.front() == '.' || local.back() == '.' || local.find("..") != std::string_view::npos) return false;
  return domain == "localhost" ||
         (domain.find('.') != std::string_view::npos && !domain.starts_with('*') && DomainName::parse(domain));
}

std::string reserved_repository(const std::string& image) {
  static const std::set<std::string, std::less<>> components = {
      "builder",        "controller", "database",    "dockerbuilder", "fluentd",  "grafana",
      "influxdb",       "logger",     "minio",       "monitor",       "nsq",      "registry",
      "registry-proxy", "router",     "slugbuilder", "slugrunner",    "telegraf", "workflow-manager"};
  const auto parts = split(ImageName::split(image).repository, '/');
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    if (parts[i] == "deis" && components.contains(parts[i + 1])) return parts[i] + "/" + parts[i + 1];
  }
  return "";
}

bool is_process_type(std::string_view text) {
  return ProcessType::parse(text) && text.find("--") == std::string_view::npos;
}

json::object config_change(Fields& fields, std::string_view map_name) {
  auto change = fields.map(map_name);
  if (!change) return {};
  for (const auto& rule : map_rules) {
    if (rule.map != map_name) continue;
    for (auto& [key, value] : *change) {
      if (value.is_null()) continue;
      if (python_text(value).contains('\0'))
        fields.problem(map_name, std::string(no_nulls));
      else if (auto problem = rule.check(std::string(key), value))
        fields.problem(map_name, *problem);
      // Everything but probes is text to whoever reads it back.
      else if (map_name != "healthcheck")
        value = json::string(python_text(value));
    }
  }
  return *std::move(change);
}

Error::Fields problems_of_sizes(const json::object& values) {
  std::size_t all = 0;
  for (const auto& [key, value] : values) {
    const auto size = key.size() + 1 + python_text(value).size();
    all += size;
    if (size > longest_variable) {
      return {{"values",
               {std::string(key) + " has " + std::to_string(size) + " bytes with its name: a process gets at most " +
                std::to_string(longest_variable) + " in one variable. Keep it in a file or a store instead"}}};
    }
  }
  if (all <= most_of_variables) return {};
  return {{"values",
           {"The config has " + std::to_string(all) + " bytes, names included: it may have at most " +
            std::to_string(most_of_variables) + ". Keep what is large in a file or a store instead"}}};
}

std::string host_of_domain(const std::string& domain, const std::string& platform_domain) {
  return domain.contains('.') || platform_domain.empty() ? domain : domain + "." + platform_domain;
}

std::optional<std::string> owning_label(const std::string& domain, const std::string& platform_domain) {
  if (!domain.contains('.')) return domain;
  if (platform_domain.empty()) return std::nullopt;
  if (domain == platform_domain) return "";
  if (!domain.ends_with("." + platform_domain)) return std::nullopt;
  const auto label = domain.substr(0, domain.size() - platform_domain.size() - 1);
  return label.substr(label.rfind('.') + 1);
}

std::string checked_domain(const std::string& text) {
  std::string domain(trim(text));
  if (domain.ends_with('.')) domain.pop_back();
  if (domain.empty()) bad_domain("This field may not be blank.");
  if (domain.contains('\0')) bad_domain(std::string(no_nulls));
  if (domain == "*") bad_domain("Hostname can't only be a wildcard");
  const bool wildcard = domain.starts_with("*.");
  const auto rest = wildcard ? domain.substr(2) : domain;
  char* converted = nullptr;
  const int failed = idn2_lookup_u8(reinterpret_cast<const uint8_t*>(rest.c_str()),
                                    reinterpret_cast<uint8_t**>(&converted), IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
  const std::unique_ptr<char, void (*)(void*)> owner(converted, idn2_free);
  const std::string too_long = "Hostname must be 253 characters or less.";
  if (failed == IDN2_TOO_BIG_DOMAIN) bad_domain(too_long);
  if (failed != IDN2_OK) {
    bad_domain("Hostname does not look valid, could not convert to ACE " + domain + ": " + idn2_strerror(failed));
  }
  const auto ascii = (wildcard ? "*." : "") + lower(converted);
  if (!DomainName::parse(ascii)) {
    bad_domain(ascii.size() > 253
                   ? too_long
                   : "Hostname does not look valid, could not convert to ACE " + domain + ": not a host name");
  }
  if (all_digits(ascii.substr(ascii.rfind('.') + 1))) bad_domain("Hostname does not look valid.");
  return ascii;
}

bool is_network(const std::string& text) {
  const auto slash = text.find('/');
  const auto address = text.substr(0, slash);
  if (text.contains('\0')) return false;
  unsigned char bytes[16];
  const bool v4 = inet_pton(AF_INET, address.c_str(), bytes) == 1;
  const bool v6 = !v4 && inet_pton(AF_INET6, address.c_str(), bytes) == 1;
  if (!v4 && !v6) return false;
  if (slash == std::string::npos) return true;
  const auto bits = all_digits(text.substr(slash + 1)) ? parse_integer(text.substr(slash + 1)) : std::nullopt;
  return bits && *bits <= (v4 ? 32 : 128);
}

std::optional<PublicKey> parse_public_key(std::string_view text) {
  // One line: what follows it would be another key to whoever reads it.
  const bool is_line = std::ranges::all_of(trim(text), [](char c) { return static_cast<unsigned char>(c) >= ' '; });
  const auto words = split(std::string(trim(text)), ' ');
  if (words.size() < 2 || !is_line) return std::nullopt;
  const auto blob = from_base64(words[1]);
  // RFC 4253, section 6.6: the blob begins with its own type, as a string; it must be the type that the line names.
  if (!blob || blob->size() < 4) return std::nullopt;
  const auto length =
      static_cast<std::size_t>(static_cast<unsigned char>((*blob)[2])) << 8 | static_cast<unsigned char>((*blob)[3]);
  if ((*blob)[0] != 0 || (*blob)[1] != 0 || blob->size() < 4 + length || blob->substr(4, length) != words[0])
    return std::nullopt;
  const auto hex = to_hex(md5(*blob));
  PublicKey key;
  for (std::size_t i = 0; i < hex.size(); i += 2) key.md5 += (i ? ":" : "") + hex.substr(i, 2);
  auto digest = to_base64(sha256(*blob));
  while (digest.ends_with('=')) digest.pop_back();
  key.sha256 = "SHA256:" + digest;
  return key;
}

std::int64_t scale_count(const json::value& value) {
  constexpr std::int64_t most = 1000;
  std::optional<std::int64_t> count;
  if (value.is_bool()) {
    count = value.get_bool() ? 1 : 0;
  } else if (value.is_double()) {
    // Clamped first: a conversion of what no integer can hold is undefined.
    count = static_cast<std::int64_t>(std::clamp(value.get_double(), -1.0, most + 1.0));
  } else if (!value.is_structured()) {
    count = parse_integer(trim(python_text(value)));
  }
  if (!count) {
    throw Error(ErrorKind::invalid,
                "Invalid scaling format: invalid literal for int() with base 10: '" + python_text(value) + "'");
  }
  if (*count < 0) {
    throw Error(
        ErrorKind::invalid,
        "Invalid scaling format: [ErrorDetail(string='Must be greater than or equal to zero', code='invalid')]");
  }
  if (*count > most)
    throw Error(ErrorKind::invalid, "Invalid scaling format: at most " + std::to_string(most) + " processes of a type");
  return *count;
}

}  // namespace workflow::controller
