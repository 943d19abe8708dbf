// src/lib/json/json.h: JSON values (Boost.JSON) and the reader that turns request bodies into domain types.
#pragma once
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/domain.h"
#include "lib/base/error.h"

namespace workflow {
namespace json = boost::json;

// nullopt unless the whole text is one JSON value (RFC 8259), nested at most 64 deep.
std::optional<json::value> parse_json(std::string_view text);
std::string print_json(const json::value& value);         // compact
std::string print_json(const json::object& object);       // without the copy that a conversion to a value makes
std::string print_json_pretty(const json::value& value);  // two-space indent, final newline

// Reading without surprises: null and the wrong type count as absent. The result points into `value`. The overloads for
// objects are not mere comfort: an object that converts to a value is copied whole, and the result would dangle.
using Path = std::initializer_list<std::string_view>;
const json::value* find_path(const json::value& value, Path path);
const json::value* find_path(const json::object& object, Path path);
std::optional<std::string> find_string(const json::value& value, Path path);
std::optional<std::string> find_string(const json::object& object, Path path);
std::optional<std::int64_t> find_integer(const json::value& value, Path path);
std::optional<std::int64_t> find_integer(const json::object& object, Path path);
std::optional<bool> find_bool(const json::value& value, Path path);
std::optional<bool> find_bool(const json::object& object, Path path);
std::map<std::string, std::string> string_map(
    const json::value* value);  // {} when null or not an object; only string values

// Reads the fields of a JSON object, collecting every problem; `done()` throws one `invalid` that names every bad
// field.
class FieldReader {
 public:
  explicit FieldReader(const json::value& body);  // not an object → problem under "non_field_errors"

  std::optional<std::string> required_text(std::string_view name);
  std::optional<std::string> optional_text(std::string_view name);
  std::optional<std::int64_t> optional_integer(std::string_view name);
  std::optional<bool> optional_bool(std::string_view name);
  const json::value* optional_value(std::string_view name);
  template <typename T>
  std::optional<T> required(std::string_view name) {
    auto text = required_text(name);
    return text ? checked<T>(name, *text) : std::nullopt;
  }
  template <typename T>
  std::optional<T> optional(std::string_view name) {
    auto text = optional_text(name);
    return text ? checked<T>(name, *text) : std::nullopt;
  }
  void problem(std::string_view name, std::string what);
  void done() const;

 private:
  template <typename T>
  std::optional<T> checked(std::string_view name, const std::string& text) {
    auto value = T::parse(text);
    if (!value) problem(name, "must be " + std::string(T::rule()));
    return value;
  }
  const json::object* object_ = nullptr;
  Error::Fields problems_;
};

}  // namespace workflow
