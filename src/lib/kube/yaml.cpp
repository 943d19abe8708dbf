#include "lib/kube/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::kube {

namespace {
constexpr std::size_t max_depth = 64;
constexpr std::size_t max_values = 1'000'000;

[[noreturn]] void fail(const YAML::Mark& mark, const std::string& what) {
  const auto where = mark.is_null() ? std::string() : "line " + std::to_string(mark.line + 1) + ": ";
  throw Error(ErrorKind::invalid, where + what);
}

bool all_digits(std::string_view text, int base) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [base](char c) {
    const int value = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : 99;
    return value < base;
  });
}

enum class Sign { plus, minus };

json::value number_from(std::string_view digits, int base, Sign sign) {
  const bool negative = sign == Sign::minus;
  std::uint64_t magnitude = 0;
  const auto [stop, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), magnitude, base);
  constexpr std::uint64_t limit = std::uint64_t{1} << 63u;
  if (problem != std::errc() || (negative && magnitude > limit)) {
    const double value = std::strtod(std::string(digits).c_str(), nullptr);
    return negative ? -value : value;
  }
  if (negative) return static_cast<std::int64_t>(0 - magnitude);
  if (magnitude < limit) return static_cast<std::int64_t>(magnitude);
  return magnitude;
}

bool is_float(std::string_view text) {
  std::size_t i = 0;
  const auto digits = [&] {
    const auto begin = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i - begin;
  };
  auto count = digits();
  if (i < text.size() && text[i] == '.') {
    ++i;
    count += digits();
  }
  if (count == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

// What an unquoted scalar means; nullopt: text.
std::optional<json::value> resolve_plain(std::string_view text) {
  static const std::set<std::string_view> nulls{"", "~", "null", "Null", "NULL"};
  static const std::set<std::string_view> trues{"true", "True", "TRUE"};
  static const std::set<std::string_view> falses{"false", "False", "FALSE"};
  if (nulls.contains(text)) return json::value(nullptr);
  if (trues.contains(text)) return json::value(true);
  if (falses.contains(text)) return json::value(false);
  if (text.starts_with("0x") && all_digits(text.substr(2), 16)) return number_from(text.substr(2), 16, Sign::plus);
  if (text.starts_with("0o") && all_digits(text.substr(2), 8)) return number_from(text.substr(2), 8, Sign::plus);
  auto digits = text;
  const auto sign = digits.starts_with('-') ? Sign::minus : Sign::plus;
  if (digits.starts_with('-') || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.size() > 1 && digits.front() == '0' && all_digits(digits, 8)) return number_from(digits, 8, sign);
  if (all_digits(digits, 10)) return number_from(digits, 10, sign);
  if (is_float(digits)) {
    const double value = std::strtod(std::string(text).c_str(), nullptr);
    if (std::isfinite(value)) return json::value(value);
  }
  return std::nullopt;
}

std::size_t count_values(const json::value& value) {
  std::size_t count = 1;
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) count += count_values(member);
  } else if (const auto* array = value.if_array()) {
    for (const auto& member : *array) count += count_values(member);
  }
  return count;
}

// Builds JSON while the text is parsed, so that the limits hold for whatever it says.
class Builder : public YAML::EventHandler {
 public:
  std::vector<json::value> take_documents() { return std::move(documents_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++values_ > max_values) fail(mark, "too many values");
    anchors_.clear();
    root_ = nullptr;
  }
  void OnDocumentEnd() override { documents_.push_back(std::move(root_)); }
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    if (expects_key()) return take_key(mark, "null");
    put(mark, nullptr, anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) fail(mark, "an alias stands inside of what it names");
    if (!expects_key()) return put(mark, found->second, 0);
    if (!found->second.is_string()) fail(mark, "a key must be a scalar");
    take_key(mark, std::string(found->second.get_string()));
  }
  // `tag` is "?" for plain style, "!" for quoted and block style.
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    if (expects_key()) {
      if (anchor != 0) anchors_[anchor] = json::string(text);
      return take_key(mark, text);
    }
    const bool is_text = tag == "!" || tag == "tag:yaml.org,2002:str";
    auto value = is_text ? std::nullopt : resolve_plain(text);
    put(mark, value ? std::move(*value) : json::value(json::string(text)), anchor);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, json::array(), anchor);
  }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, json::object(), anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YAML::Mark mark;
    json::value value;
    YAML::anchor_t anchor;
    std::optional<std::string> key;
  };

  bool expects_key() const { return !open_.empty() && open_.back().value.is_object() && !open_.back().key; }
  void take_key(const YAML::Mark& mark, std::string key) {
    if (open_.back().value.get_object().contains(key)) fail(mark, "the key \"" + key + "\" is there twice");
    open_.back().key = std::move(key);
  }
  void open(const YAML::Mark& mark, json::value value, YAML::anchor_t anchor) {
    if (expects_key()) fail(mark, "a key must be a scalar");
    if (open_.size() >= max_depth) fail(mark, "nested more than 64 deep");
    open_.push_back({mark, std::move(value), anchor, std::nullopt});
  }
  void close() {
    auto done = std::move(open_.back());
    open_.pop_back();
    put(done.mark, std::move(done.value), done.anchor);
  }
  void put(const YAML::Mark& mark, json::value value, YAML::anchor_t anchor) {
    values_ += anchors_.empty() ? 1 : count_values(value);  // an alias may bring many
    if (values_ > max_values) fail(mark, "too many values");
    if (anchor != 0) anchors_[anchor] = value;
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (auto& parent = open_.back(); parent.value.is_array()) {
      parent.value.get_array().push_back(std::move(value));
    } else {
      parent.value.get_object().emplace(*std::exchange(parent.key, std::nullopt), std::move(value));
    }
  }

  std::vector<json::value> documents_;
  json::value root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, json::value> anchors_;
  std::size_t values_ = 0;
};

// UTF-8 without control characters (YAML 1.2.2, section 5.1). yaml-cpp would take other bytes for UTF-16 or UTF-32.
bool is_printable_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80                   ? 1
                               : lead >= 0xc2 && lead < 0xe0 ? 2
                               : lead >= 0xe0 && lead < 0xf0 ? 3
                               : lead >= 0xf0 && lead < 0xf5 ? 4
                                                             : 0;
    if (length == 0 || i + length > text.size()) return false;
    if (length == 1 && ((lead < 0x20 && lead != '\t' && lead != '\n' && lead != '\r') || lead == 0x7f)) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if ((static_cast<unsigned char>(text[i + k]) & 0xc0u) != 0x80) return false;
    }
    const auto second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    const bool overlong = (lead == 0xe0 && second < 0xa0) || (lead == 0xf0 && second < 0x90);
    if (overlong || (lead == 0xed && second >= 0xa0) || (lead == 0xf4 && second >= 0x90)) return false;
    i += length;
  }
  return true;
}

std::vector<json::value> read_documents(std::string_view text) {
  if (!is_printable_utf8(text))
    throw Error(ErrorKind::invalid, "not YAML: the text is not UTF-8, or has control characters");
  std::istringstream in{std::string(text)};
  Builder builder;
  try {
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const YAML::Exception& e) {
    fail(e.mark, e.msg);
  }
  return builder.take_documents();
}

// Plain style only for what every YAML reader takes as the same text, those of version 1.1 included.
bool is_safe_plain(std::string_view text) {
  static const std::set<std::string> words{"y", "n", "yes", "no", "on", "off", "true", "false", "null"};
  if (text.empty() || text.size() > 200 || words.contains(lower(text)) || resolve_plain(text)) return false;
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  const auto harmless = [letter](char c) {
    return letter(c) || (c >= '0' && c <= '9') || std::string_view("-_./").find(c) != std::string_view::npos;
  };
  return (letter(text.front()) || text.front() == '/') && std::all_of(text.begin(), text.end(), harmless);
}

std::string text_of(std::string_view text) {
  if (is_safe_plain(text)) return std::string(text);
  // JSON escapes all that YAML must not contain, but for this one.
  return replace_all(json::serialize(json::string_view(text.data(), text.size())), "\x7f", "\\u007f");
}

bool is_inline(const json::value& value) {
  if (const auto* object = value.if_object()) return object->empty();
  if (const auto* array = value.if_array()) return array->empty();
  return true;
}

std::string inline_text(const json::value& value) {
  if (const auto* text = value.if_string()) return text_of({text->data(), text->size()});
  return json::serialize(value);
}

// `first` is the indent that the first line has already.
void print_block(std::string& out, const json::value& value, std::size_t indent) {
  bool first = true;
  const auto line_start = [&] {
    if (!first) out.append(indent, ' ');
    first = false;
  };
  if (const auto* object = value.if_object()) {
    for (const auto& [key, member] : *object) {
      line_start();
      out += text_of({key.data(), key.size()});
      if (is_inline(member)) {
        out += ": " + inline_text(member) + "\n";
      } else {
        const std::size_t deeper = member.is_object() ? indent + 2 : indent;
        out += ":\n";
        out.append(deeper, ' ');
        print_block(out, member, deeper);
      }
    }
  } else if (const auto* array = value.if_array()) {
    for (const auto& member : *array) {
      line_start();
      out += "- ";
      if (is_inline(member)) {
        out += inline_text(member) + "\n";
      } else {
        print_block(out, member, indent + 2);
      }
    }
  }
}
}  // namespace

json::value parse_yaml(std::string_view text) {
  auto documents = read_documents(text);
  if (documents.empty()) return nullptr;
  if (documents.size() > 1) throw Error(ErrorKind::invalid, "one YAML document was expected, not several");
  return std::move(documents.front());
}

std::vector<json::object> parse_manifests(std::string_view text) {
  std::vector<json::object> objects;
  std::size_t number = 0;
  for (auto& document : read_documents(text)) {
    ++number;
    if (document.is_null()) continue;
    auto* object = document.if_object();
    if (object == nullptr) {
      throw Error(ErrorKind::invalid, "document " + std::to_string(number) + " is not an object");
    }
    const auto* items = find_path(document, {"items"});
    if (find_string(document, {"kind"}) != "List" || items == nullptr || !items->is_array()) {
      objects.push_back(std::move(*object));
      continue;
    }
    for (const auto& item : items->get_array()) {
      if (!item.is_object()) throw Error(ErrorKind::invalid, "an item of a List is not an object");
      objects.push_back(item.get_object());
    }
  }
  return objects;
}

std::string print_yaml(const json::value& value) {
  if (is_inline(value)) return inline_text(value) + "\n";
  std::string out;
  print_block(out, value, 0);
  return out;
}

std::string print_manifests(const std::vector<json::object>& objects) {
  std::string out;
  for (const auto& object : objects) out += "---\n" + print_yaml(object);
  return out;
}

}  // namespace workflow::kube
