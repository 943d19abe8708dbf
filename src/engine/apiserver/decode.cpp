#include "engine/apiserver/decode.h"

#include <cmath>
#include <set>

#include "engine/apiserver/api_error.h"
#include "engine/fields.h"
#include "engine/quantity.h"
#include "lib/base/clock.h"
#include "lib/base/encoding.h"

namespace workflow::engine {

namespace {

using Kind = FieldSchema::Kind;
using Shape = FieldSchema::Shape;

std::string_view json_kind(const json::value& value) {
  switch (value.kind()) {
    case json::kind::object: return "object";
    case json::kind::array: return "array";
    case json::kind::string: return "string";
    case json::kind::bool_: return "bool";
    case json::kind::null: return "null";
    default: return "number";
  }
}

std::string_view name_of(Kind kind) {
  switch (kind) {
    case Kind::int32: return "int32";
    case Kind::int64: return "int64";
    case Kind::number: return "float64";
    case Kind::boolean: return "bool";
    case Kind::object: return "object";
    case Kind::time: return "Time";
    case Kind::quantity: return "Quantity";
    case Kind::int_or_string: return "IntOrString";
    default: return "string";
  }
}

// Where in a body we are. A chain that becomes text only when somebody must be told: names come from outside, and a
// path made at every step would copy a long one as often as there are fields below it.
class Place {
 public:
  Place() = default;
  Place(const Place& parent, std::string_view name) : parent_(&parent), name_(name) {}
  Place(const Place& parent, std::size_t index) : parent_(&parent), index_(index) {}
  std::string text() const {
    if (parent_ == nullptr) return "";
    const auto before = parent_->text();
    if (name_.data() == nullptr) return before + "[" + std::to_string(index_) + "]";
    const auto name = shown(name_);
    return before.empty() ? name : before + "." + name;
  }

 private:
  // No legal name is longer than a label's key: 253 of the prefix, a slash, 63 of the name.
  static std::string shown(std::string_view name) {
    constexpr std::size_t longest = 317;
    if (name.size() <= longest) return std::string(name);
    auto end = longest;
    while (end > 0 && (static_cast<unsigned char>(name[end]) & 0xC0u) == 0x80u) --end;  // whole characters of UTF-8
    return std::string(name.substr(0, end)) + "…";
  }

  const Place* parent_ = nullptr;
  std::string_view name_;
  std::size_t index_ = 0;
};

constexpr std::size_t most_told = 100;  // fields in one answer, as Kubernetes

void tell(std::vector<std::string>& fields, const Place& place) {
  if (fields.size() < most_told) fields.push_back(place.text());
}

class Checker {
 public:
  explicit Checker(std::vector<std::string>& unknown) : unknown_(unknown) {}

  json::object object(const TypeSchema& type, const json::object& body, const Place& path) {
    json::object result;
    result.reserve(body.size());
    for (const auto& [name, value] : body) {
      const Place here(path, std::string_view(name));
      const auto* field = type.find(name);
      if (field == nullptr) {
        tell(unknown_, here);
        continue;
      }
      if (value.is_null()) continue;
      result[name] = shaped(*field, value, here);
    }
    return result;
  }

 private:
  [[noreturn]] static void wrong(const json::value& value, std::string_view wanted, const Place& path) {
    throw bad_request("json: cannot unmarshal " + std::string(json_kind(value)) + " into Go struct field " +
                      path.text() + " of type " + std::string(wanted));
  }

  json::value shaped(const FieldSchema& field, const json::value& value, const Place& path) {
    if (field.shape == Shape::list) {
      if (!value.is_array()) wrong(value, "[]" + std::string(name_of(field.kind)), path);
      json::array result;
      result.reserve(value.get_array().size());
      std::size_t i = 0;
      for (const auto& item : value.get_array()) {
        const Place here(path, i++);
        if (item.is_null()) throw bad_request(here.text() + ": null is not allowed in a list");
        result.push_back(single(field, item, here));
      }
      return result;
    }
    if (field.shape == Shape::map) {
      if (!value.is_object()) wrong(value, "map[string]" + std::string(name_of(field.kind)), path);
      json::object result;
      for (const auto& [name, item] : value.get_object()) {
        if (!item.is_null()) {
          result[name] = single(field, item, Place(path, std::string_view(name)));
        } else if (field.kind == Kind::text || field.kind == Kind::bytes) {
          result[name] = "";
        }
      }
      return result;
    }
    return single(field, value, path);
  }

  json::value single(const FieldSchema& field, const json::value& value, const Place& path) {
    switch (field.kind) {
      case Kind::any: return value;
      case Kind::object:
        if (!value.is_object()) wrong(value, field.type->name.substr(field.type->name.rfind('.') + 1), path);
        return object(*field.type, value.get_object(), path);
      case Kind::boolean:
        if (!value.is_bool()) wrong(value, "bool", path);
        return value;
      case Kind::int32:
      case Kind::int64: return integer(field.kind, value, path);
      case Kind::number:
        if (!value.is_number()) wrong(value, "float64", path);
        return value;
      case Kind::quantity: return quantity(value, path);
      case Kind::int_or_string:
        if (value.is_string()) return value;
        return integer(Kind::int32, value, path);
      case Kind::bytes:
        if (!value.is_string()) wrong(value, "[]uint8", path);
        if (!from_base64(view(value.get_string()))) {
          throw bad_request(path.text() + ": illegal base64 data; encode the value with base64, or use stringData");
        }
        return value;
      case Kind::time:
      case Kind::micro_time:
        if (!value.is_string()) wrong(value, "Time", path);
        if (!parse_rfc3339(view(value.get_string()))) {
          throw bad_request(path.text() + ": parsing time \"" + std::string(value.get_string()) +
                            "\" failed; write it as 2006-01-02T15:04:05Z");
        }
        return value;
      case Kind::text:
      case Kind::duration:
        if (!value.is_string()) wrong(value, "string", path);
        return value;
    }
    return value;
  }

  static json::value integer(Kind kind, const json::value& value, const Place& path) {
    std::int64_t number = 0;
    if (value.is_int64()) {
      number = value.get_int64();
    } else if (value.is_uint64() && value.get_uint64() <= INT64_MAX) {
      number = static_cast<std::int64_t>(value.get_uint64());
    } else if (value.is_double() && std::abs(value.get_double()) < 9e15 &&
               value.get_double() == std::trunc(value.get_double())) {
      number = static_cast<std::int64_t>(value.get_double());
    } else {
      wrong(value, name_of(kind), path);
    }
    if (kind == Kind::int32 && (number > INT32_MAX || number < INT32_MIN)) wrong(value, "int32", path);
    return number;
  }

  static json::value quantity(const json::value& value, const Place& path) {
    const auto text = value.is_string()   ? std::string(value.get_string())
                      : value.is_number() ? json::serialize(value)
                                          : "";
    const auto canonical = canonical_quantity(text);
    if (!canonical) {
      throw bad_request(path.text() +
                        ": quantities must match the regular expression "
                        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    }
    return json::value(*canonical);
  }

  std::vector<std::string>& unknown_;
};

// Walks JSON text that is known to be valid and notes keys that come twice.
class DuplicateFinder {
 public:
  explicit DuplicateFinder(std::string_view text) : text_(text) {}
  std::vector<std::string> run() {
    value({});
    return std::move(found_);
  }

 private:
  void space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  std::string string() {
    std::string result;
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] == '\\') result += text_[at_++];
      if (at_ < text_.size()) result += text_[at_];
    }
    ++at_;
    return result;
  }
  void value(const Place& path) {
    space();
    if (at_ >= text_.size()) return;
    if (text_[at_] == '{') {
      object(path);
    } else if (text_[at_] == '[') {
      array(path);
    } else if (text_[at_] == '"') {
      string();
    } else {
      while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == std::string_view::npos) ++at_;
    }
  }
  void object(const Place& path) {
    std::set<std::string> seen;
    for (++at_, space(); at_ < text_.size() && text_[at_] != '}'; space()) {
      const auto name = string();
      const Place here(path, name);
      if (!seen.insert(name).second) tell(found_, here);
      space();
      ++at_;  // :
      value(here);
      space();
      if (at_ < text_.size() && text_[at_] == ',') ++at_;
    }
    ++at_;
  }
  void array(const Place& path) {
    std::size_t i = 0;
    for (++at_, space(); at_ < text_.size() && text_[at_] != ']'; space()) {
      value(Place(path, i++));
      space();
      if (at_ < text_.size() && text_[at_] == ',') ++at_;
    }
    ++at_;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::string> found_;
};

}  // namespace

json::object checked_against(const TypeSchema& type, const json::object& body, std::vector<std::string>& unknown) {
  return Checker(unknown).object(type, body, {});
}

std::vector<std::string> duplicate_fields(std::string_view text) { return DuplicateFinder(text).run(); }

}  // namespace workflow::engine
