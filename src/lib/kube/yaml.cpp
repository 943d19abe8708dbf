#include "lib/kube/yaml.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

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
    const int value = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
    return value < base;
  });
}

json::value number_from(std::string_view digits, int base, bool negative) {
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
  if (text.starts_with("0x") && all_digits(text.substr(2), 16)) return number_from(text.substr(2), 16, false);
  if (text.starts_with("0o") && all_digits(text.substr(2), 8)) return number_from(text.substr(2), 8, false);
  auto digits = text;
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.remove_prefix(1);
  if (digits.size() > 1 && digits.front() == '0' && all_digits(digits, 8)) return number_from(digits, 8, negative);
  if (all_digits(digits, 10)) return number_from(digits, 10, negative);
  if (is_float(digits)) {
    const double value = std::strtod(std::string(text).c_str(), nullptr);
    if (std::isfinite(value)) return json::value(value);
  }
  return std::nullopt;
}

class Reader {
 public:
  json::value read(const YAML::Node& node, std::size_t depth) {
    if (depth > max_depth) fail(node.Mark(), "nested more than 64 deep");
    if (++values_ > max_values) fail(node.Mark(), "too many values");
    switch (node.Type()) {
      case YAML::NodeType::Undefined:
      case YAML::NodeType::Null: return nullptr;
      case YAML::NodeType::Scalar: return scalar(node);
      case YAML::NodeType::Sequence: {
        json::array array;
        for (const auto& item : node) array.push_back(read(item, depth + 1));
        return array;
      }
      case YAML::NodeType::Map: {
        json::object object;
        for (const auto& entry : node) {
          if (!entry.first.IsScalar() && !entry.first.IsNull()) fail(entry.first.Mark(), "a key must be a scalar");
          const auto key = entry.first.IsNull() ? std::string("null") : entry.first.Scalar();
          if (object.contains(key)) fail(entry.first.Mark(), "the key \"" + key + "\" is there twice");
          object.emplace(key, read(entry.second, depth + 1));
        }
        return object;
      }
    }
    return nullptr;
  }

 private:
  static json::value scalar(const YAML::Node& node) {
    const std::string& text = node.Scalar();
    const std::string& tag = node.Tag();  // "?" plain, "!" quoted or block
    if (tag == "!" || tag == "tag:yaml.org,2002:str") return json::string(text);
    if (auto value = resolve_plain(text)) return std::move(*value);
    return json::string(text);
  }
  std::size_t values_ = 0;
};

std::vector<YAML::Node> load(std::string_view text) {
  try {
    return YAML::LoadAll(std::string(text));
  } catch (const YAML::Exception& e) {
    fail(e.mark, e.msg);
  }
}

std::vector<json::value> read_documents(std::string_view text) {
  std::vector<json::value> documents;
  for (const auto& node : load(text)) {
    try {
      documents.push_back(Reader().read(node, 0));
    } catch (const YAML::Exception& e) {
      fail(e.mark, e.msg);
    }
  }
  return documents;
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
  return is_safe_plain(text) ? std::string(text) : json::serialize(json::string_view(text.data(), text.size()));
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
