#include "lib/json/json.h"

#include <limits>

namespace workflow {

namespace {
void print_pretty(std::string& out, const json::value& value, std::size_t depth) {
  const auto new_line = [&out](std::size_t levels) { out.append("\n").append(levels * 2, ' '); };
  if (const auto* object = value.if_object(); object != nullptr && !object->empty()) {
    out += '{';
    bool first = true;
    for (const auto& [key, member] : *object) {
      if (!first) out += ',';
      first = false;
      new_line(depth + 1);
      out += json::serialize(json::string_view(key));
      out += ": ";
      print_pretty(out, member, depth + 1);
    }
    new_line(depth);
    out += '}';
  } else if (const auto* array = value.if_array(); array != nullptr && !array->empty()) {
    out += '[';
    bool first = true;
    for (const auto& member : *array) {
      if (!first) out += ',';
      first = false;
      new_line(depth + 1);
      print_pretty(out, member, depth + 1);
    }
    new_line(depth);
    out += ']';
  } else {
    out += json::serialize(value);
  }
}

std::optional<std::int64_t> integer_of(const json::value& value) {
  if (const auto* number = value.if_int64()) return *number;
  if (const auto* number = value.if_uint64()) {
    if (*number <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return static_cast<std::int64_t>(*number);
    }
  }
  return std::nullopt;
}
}  // namespace

std::optional<json::value> parse_json(std::string_view text) {
  json::parse_options options;
  options.max_depth = 64;
  json::error_code problem;
  auto value = json::parse(json::string_view(text.data(), text.size()), problem, {}, options);
  if (problem) return std::nullopt;
  return value;
}

std::string print_json(const json::value& value) { return json::serialize(value); }
std::string print_json(const json::object& object) { return json::serialize(object); }

std::string print_json_pretty(const json::value& value) {
  std::string out;
  print_pretty(out, value, 0);
  out += '\n';
  return out;
}

namespace {

// The member at `path` below `object`; null counts as absent.
const json::value* walk(const json::object* object, Path path) {
  const json::value* at = nullptr;
  for (const auto& name : path) {
    at = object ? object->if_contains(name) : nullptr;
    if (!at || at->is_null()) return nullptr;
    object = at->if_object();
  }
  return at;
}

std::optional<std::string> as_string(const json::value* found) {
  if (!found || !found->is_string()) return std::nullopt;
  return std::string(found->get_string());
}

std::optional<std::int64_t> as_integer(const json::value* found) { return found ? integer_of(*found) : std::nullopt; }

std::optional<bool> as_bool(const json::value* found) {
  if (!found || !found->is_bool()) return std::nullopt;
  return found->get_bool();
}

}  // namespace

const json::value* find_path(const json::value& value, Path path) {
  if (path.size() == 0) return value.is_null() ? nullptr : &value;
  return walk(value.if_object(), path);
}
const json::value* find_path(const json::object& object, Path path) { return walk(&object, path); }
std::optional<std::string> find_string(const json::value& value, Path path) {
  return as_string(find_path(value, path));
}
std::optional<std::string> find_string(const json::object& object, Path path) { return as_string(walk(&object, path)); }
std::optional<std::int64_t> find_integer(const json::value& value, Path path) {
  return as_integer(find_path(value, path));
}
std::optional<std::int64_t> find_integer(const json::object& object, Path path) {
  return as_integer(walk(&object, path));
}
std::optional<bool> find_bool(const json::value& value, Path path) { return as_bool(find_path(value, path)); }
std::optional<bool> find_bool(const json::object& object, Path path) { return as_bool(walk(&object, path)); }

std::map<std::string, std::string> string_map(const json::value* value) {
  std::map<std::string, std::string> result;
  const auto* object = value == nullptr ? nullptr : value->if_object();
  if (object == nullptr) return result;
  for (const auto& [key, member] : *object) {
    if (const auto* text = member.if_string()) result.emplace(std::string(key), std::string(*text));
  }
  return result;
}

FieldReader::FieldReader(const json::value& body) : object_(body.if_object()) {
  if (object_ == nullptr) problem("non_field_errors", "Invalid data. Expected a JSON object.");
}

const json::value* FieldReader::optional_value(std::string_view name) {
  if (object_ == nullptr) return nullptr;
  const auto* value = object_->if_contains(json::string_view(name.data(), name.size()));
  return value == nullptr || value->is_null() ? nullptr : value;
}

std::optional<std::string> FieldReader::required_text(std::string_view name) {
  if (object_ == nullptr) return std::nullopt;
  if (optional_value(name) == nullptr) {
    problem(name, "This field is required.");
    return std::nullopt;
  }
  return optional_text(name);
}

std::optional<std::string> FieldReader::optional_text(std::string_view name) {
  const auto* value = optional_value(name);
  if (value == nullptr) return std::nullopt;
  if (const auto* text = value->if_string()) return std::string(text->data(), text->size());
  problem(name, "Not a valid string.");
  return std::nullopt;
}

std::optional<std::int64_t> FieldReader::optional_integer(std::string_view name) {
  const auto* value = optional_value(name);
  if (value == nullptr) return std::nullopt;
  auto number = integer_of(*value);
  if (!number) problem(name, "A valid integer is required.");
  return number;
}

std::optional<bool> FieldReader::optional_bool(std::string_view name) {
  const auto* value = optional_value(name);
  if (value == nullptr) return std::nullopt;
  if (const auto* flag = value->if_bool()) return *flag;
  problem(name, "Must be a valid boolean.");
  return std::nullopt;
}

void FieldReader::problem(std::string_view name, std::string what) {
  problems_[std::string(name)].push_back(std::move(what));
}

void FieldReader::done() const {
  if (!problems_.empty()) throw Error(problems_);
}

}  // namespace workflow
