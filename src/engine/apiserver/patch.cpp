#include "engine/apiserver/patch.h"

#include <algorithm>
#include <set>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/element_index.h"
#include "engine/fields.h"
#include "lib/base/text.h"

namespace workflow::engine {

namespace {

ApiError misfit(std::string message) { return {422, "Invalid", std::move(message)}; }

const json::object& as_object(const json::value& patch) {
  if (!patch.is_object()) throw bad_request("error decoding patch: it must be a JSON object");
  return patch.get_object();
}

// --- RFC 6902

// What one patch may do, however long its text is: copies double an object, and inserting in front moves a whole list.
constexpr std::size_t most_operations = 10'000, most_copied_values = 1'000'000, most_moved_items = 20'000'000;

std::size_t count_of_values(const json::value& value) {
  std::size_t count = 1;
  if (const auto* array = value.if_array()) {
    for (const auto& item : *array) count += count_of_values(item);
  } else if (const auto* object = value.if_object()) {
    for (const auto& [name, item] : *object) count += count_of_values(item) + name.size() / sizeof(json::value);
  } else if (const auto* text = value.if_string()) {
    count += text->size() / sizeof(json::value);
  }
  return count;
}

std::string unescaped(std::string_view token) {
  return replace_all(replace_all(std::string(token), "~1", "/"), "~0", "~");
}

std::vector<std::string> tokens_of(std::string_view pointer) {
  if (pointer.empty()) return {};
  if (pointer.front() != '/') throw bad_request("a JSON pointer begins with /: " + std::string(pointer));
  std::vector<std::string> tokens;
  for (;;) {
    pointer.remove_prefix(1);
    const auto slash = pointer.find('/');
    tokens.push_back(unescaped(pointer.substr(0, slash)));
    if (slash == std::string_view::npos) return tokens;
    pointer.remove_prefix(slash);
  }
}

std::optional<std::size_t> index_of(const std::string& token, std::size_t size) {
  const auto number = parse_integer(token);
  if (!number || *number < 0 || static_cast<std::size_t>(*number) >= size) return std::nullopt;
  return static_cast<std::size_t>(*number);
}

json::value* step(json::value& at, const std::string& token) {
  if (at.is_object()) return at.get_object().if_contains(token);
  if (!at.is_array()) return nullptr;
  const auto index = index_of(token, at.get_array().size());
  return index ? &at.get_array()[*index] : nullptr;
}

class JsonPatch {
 public:
  explicit JsonPatch(json::value& document) : document_(document) {}

  void apply(const json::object& operation) {
    const auto op = text_at(operation, {"op"});
    const auto* pointer = operation.if_contains("path");
    if (pointer == nullptr || !pointer->is_string()) throw bad_request("a JSON patch operation needs a path");
    path_ = std::string(pointer->get_string());
    const auto tokens = tokens_of(path_);
    if (op == "add") return add(tokens, value_of(operation));
    if (op == "remove") return remove(tokens);
    if (op == "replace") return replace(tokens, value_of(operation));
    if (op == "test") return test(tokens, operation.if_contains("value"));
    if (op == "move" || op == "copy") {
      const auto from = text_at(operation, {"from"});
      const auto source = tokens_of(from);
      if (op == "copy") spend(copied_, count_of_values(at(source)), most_copied_values);
      json::value value = op == "copy" ? at(source) : std::move(at(source));
      if (op == "move") remove(source);
      return add(tokens, std::move(value));
    }
    throw bad_request("unknown JSON patch operation \"" + op + "\"; use add, remove, replace, move, copy or test");
  }

 private:
  static void spend(std::size_t& spent, std::size_t amount, std::size_t limit) {
    spent += amount;
    if (spent > limit)
      throw ApiError(413, "RequestEntityTooLarge", "the JSON patch copies or moves too much; split it");
  }
  static const json::value& value_of(const json::object& operation) {
    const auto* value = operation.if_contains("value");
    if (value == nullptr) throw bad_request("a JSON patch operation of this kind needs a value");
    return *value;
  }
  json::value& at(const std::vector<std::string>& tokens) {
    auto* place = find(tokens);
    if (place == nullptr) throw misfit("the path \"" + path_ + "\" of the JSON patch does not exist in the object");
    return *place;
  }
  json::value* find(const std::vector<std::string>& tokens) {
    auto* place = &document_;
    for (const auto& token : tokens) {
      place = step(*place, token);
      if (place == nullptr) return nullptr;
    }
    return place;
  }
  json::value& parent(const std::vector<std::string>& tokens) { return at({tokens.begin(), tokens.end() - 1}); }
  void add(const std::vector<std::string>& tokens, json::value value) {
    if (tokens.empty()) {
      document_ = std::move(value);
      return;
    }
    auto& place = parent(tokens);
    if (place.is_object()) {
      place.get_object()[tokens.back()] = std::move(value);
    } else if (place.is_array()) {
      auto& array = place.get_array();
      const auto index = tokens.back() == "-" ? std::optional(array.size()) : index_of(tokens.back(), array.size() + 1);
      if (!index) throw misfit("the index in \"" + path_ + "\" is beyond the list");
      spend(moved_, array.size() - *index, most_moved_items);
      array.insert(array.begin() + static_cast<std::ptrdiff_t>(*index), std::move(value));
    } else {
      throw misfit("the path \"" + path_ + "\" does not lead into an object or a list");
    }
  }
  void remove(const std::vector<std::string>& tokens) {
    if (tokens.empty()) throw bad_request("the whole object cannot be removed by a patch");
    at(tokens);
    auto& place = parent(tokens);
    if (place.is_object()) {
      place.get_object().erase(tokens.back());
    } else {
      auto& array = place.get_array();
      const auto index = *index_of(tokens.back(), array.size());
      spend(moved_, array.size() - index, most_moved_items);
      array.erase(array.begin() + static_cast<std::ptrdiff_t>(index));
    }
  }
  void replace(const std::vector<std::string>& tokens, json::value value) { at(tokens) = std::move(value); }
  void test(const std::vector<std::string>& tokens, const json::value* wanted) {
    const auto* found = find(tokens);
    const json::value null;
    const auto& expected = wanted == nullptr ? null : *wanted;
    if (found == nullptr ? expected.is_null() : *found == expected) return;
    throw misfit("the test of \"" + path_ + "\" in the JSON patch failed");
  }

  json::value& document_;
  std::string path_;
  std::size_t copied_ = 0, moved_ = 0;
};

// --- strategic merge

constexpr std::string_view directive = "$patch", retain_keys = "$retainKeys", element_order = "$setElementOrder/",
                           delete_scalars = "$deleteFromPrimitiveList/";

json::value without_nulls(const json::value& value) {
  if (value.is_array()) {
    json::array result;
    for (const auto& item : value.get_array()) result.push_back(without_nulls(item));
    return result;
  }
  if (!value.is_object()) return value;
  json::object result;
  for (const auto& [name, item] : value.get_object()) {
    const std::string_view text = name;
    if (item.is_null() || text == directive || text == retain_keys || text.starts_with(element_order) ||
        text.starts_with(delete_scalars)) {
      continue;
    }
    result[name] = without_nulls(item);
  }
  return result;
}

std::string directive_of(const json::value& item) {
  return item.is_object() ? text_at(item.get_object(), {directive}) : std::string();
}

const json::value* key_of(const json::value& item, std::string_view name) {
  return item.is_object() ? item.get_object().if_contains(key(name)) : nullptr;
}

// By what an item of a list is known: the value of its key, or itself where the list has none. nullopt: by nothing.
std::optional<std::string> identity_of(const json::value& item, std::string_view merge_key) {
  if (merge_key.empty()) return json::serialize(item);
  const auto* value = key_of(item, merge_key);
  return value == nullptr ? std::nullopt : std::optional(json::serialize(*value));
}

ElementIndex index_of(const json::array& list, std::string_view merge_key) {
  ElementIndex index;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (auto identity = identity_of(list[i], merge_key)) index.add(std::move(*identity), i);
  }
  return index;
}

// Elements named by `order` in that order; the others stay where they were among them.
json::array ordered(json::array merged, const json::array& live, const json::array& order, std::string_view merge_key) {
  std::vector<std::size_t> named, others;
  std::vector<bool> is_named(merged.size());
  auto places = index_of(merged, merge_key);
  for (const auto& wanted : order) {
    const auto identity = identity_of(wanted, merge_key);
    const auto place = identity ? places.take(*identity) : std::nullopt;
    if (!place) continue;
    named.push_back(*place);
    is_named[*place] = true;
  }
  for (std::size_t i = 0; i < merged.size(); ++i) {
    if (!is_named[i]) others.push_back(i);
  }
  const auto before = index_of(live, merge_key);
  const auto position = [&](std::size_t i) {  // in the live list; its length for what is new
    const auto identity = identity_of(merged[i], merge_key);
    return identity ? before.find(*identity).value_or(live.size()) : live.size();
  };
  json::array result;
  result.reserve(merged.size());
  std::size_t n = 0, o = 0;
  while (n < named.size() || o < others.size()) {
    bool take_named = o == others.size();
    if (!take_named && n < named.size()) {
      const auto there = position(named[n]);
      take_named = there == live.size() || there < position(others[o]);
    }
    result.push_back(std::move(merged[take_named ? named[n++] : others[o++]]));
  }
  return result;
}

json::object strategic(const TypeSchema* type, json::object object, const json::object& patch);

json::array merged_objects(const FieldSchema& field, const json::array& live, const json::array& patch) {
  const auto merge_key = *field.merge_key;
  json::array result = live;
  auto places = index_of(result, merge_key);
  std::vector<bool> gone(result.size());
  for (const auto& item : patch) {
    if (!item.is_object()) throw bad_request("the list " + std::string(field.name) + " holds objects");
    const auto what = directive_of(item);
    if (what == "replace" && item.get_object().size() == 1) continue;  // handled by the caller
    const auto identity = identity_of(item, merge_key);
    if (!identity) {
      throw bad_request("map: an element of the list " + std::string(field.name) +
                        " does not contain declared merge key: " + std::string(merge_key));
    }
    if (what == "delete") {
      if (const auto place = places.take(*identity)) gone[*place] = true;
      continue;
    }
    const auto place = places.find(*identity);
    if (!place) {
      places.add(*identity, result.size());
      result.push_back(without_nulls(item));
      gone.push_back(false);
    } else if (what == "replace") {
      result[*place] = without_nulls(item);
    } else if (result[*place].is_object()) {
      result[*place] = strategic(field.type, std::move(result[*place].get_object()), item.get_object());
    }
  }
  json::array left;
  left.reserve(result.size());
  for (std::size_t i = 0; i < result.size(); ++i) {
    if (!gone[i]) left.push_back(std::move(result[i]));
  }
  return left;
}

json::value merged_list(const FieldSchema& field, const json::value* live, const json::array& patch,
                        const json::object& around) {
  const json::array none;
  const auto& before = live != nullptr && live->is_array() ? live->get_array() : none;
  const auto replaces = [](const json::value& v) { return directive_of(v) == "replace" && v.get_object().size() == 1; };
  if (std::any_of(patch.begin(), patch.end(), replaces)) {
    json::array whole;
    for (const auto& item : patch) {
      if (!replaces(item)) whole.push_back(without_nulls(item));
    }
    return whole;
  }
  json::array result;
  if (!field.merge_key->empty()) {
    result = merged_objects(field, before, patch);
  } else {
    std::set<std::string> deleted, present;
    for (const auto& item : array_at(around, {std::string(delete_scalars) + std::string(field.name)})) {
      deleted.insert(json::serialize(item));
    }
    for (const auto& item : before) {
      auto text = json::serialize(item);
      if (deleted.contains(text)) continue;
      present.insert(std::move(text));
      result.push_back(item);
    }
    for (const auto& item : patch) {
      if (present.insert(json::serialize(item)).second) result.push_back(item);
    }
  }
  const auto order_name = std::string(element_order) + std::string(field.name);
  if (!around.contains(order_name)) return result;
  // The order names whole elements by their key only: {"name": "web"}.
  return ordered(std::move(result), before, array_at(around, {order_name}), *field.merge_key);
}

// The lists that only directives of the patch mention: they are changed all the same.
std::vector<std::string_view> mentioned_lists(const TypeSchema* type, const json::object& patch) {
  std::vector<std::string_view> lists;
  if (type == nullptr) return lists;
  for (const auto& [name, value] : patch) {
    std::string_view list = name;
    if (list.starts_with(delete_scalars)) {
      list.remove_prefix(delete_scalars.size());
    } else if (list.starts_with(element_order)) {
      list.remove_prefix(element_order.size());
    } else {
      continue;
    }
    if (type->find(list) != nullptr && !patch.contains(key(list))) lists.push_back(list);
  }
  return lists;
}

void change_field(const TypeSchema* type, json::object& object, std::string_view name, const json::value& value,
                  const json::object& patch) {
  if (value.is_null()) {
    object.erase(key(name));
    return;
  }
  const auto* field = type == nullptr ? nullptr : type->find(name);
  auto* live = object.if_contains(key(name));
  if (value.is_object() && (field == nullptr || field->shape != FieldSchema::Shape::list)) {
    if (directive_of(value) == "delete") {
      object.erase(key(name));
      return;
    }
    const auto* inner = field != nullptr && field->shape == FieldSchema::Shape::single ? field->type : nullptr;
    auto before = live != nullptr && live->is_object() ? std::move(live->get_object()) : json::object();
    object[key(name)] = strategic(inner, std::move(before), value.get_object());
  } else if (value.is_array() && field != nullptr && field->merge_key) {
    auto merged = merged_list(*field, live, value.get_array(), patch);
    object[key(name)] = std::move(merged);
  } else {
    object[key(name)] = without_nulls(value);
  }
}

json::object strategic(const TypeSchema* type, json::object object, const json::object& patch) {
  const auto what = directive_of(patch);
  if (what == "replace") return without_nulls(patch).get_object();
  if (what == "delete") return {};
  if (!what.empty() && what != "merge") throw bad_request("unknown patch directive \"" + what + "\"");
  if (const auto* keys = patch.if_contains(key(retain_keys)); keys != nullptr && keys->is_array()) {
    std::set<std::string_view> retained;
    for (const auto& name : keys->get_array()) {
      if (name.is_string()) retained.insert(view(name.get_string()));
    }
    json::object kept;
    for (auto& [name, value] : object) {
      if (retained.contains(name)) kept[name] = std::move(value);
    }
    object = std::move(kept);
  }
  for (const auto& [name, value] : patch) {
    const std::string_view text = name;
    if (text == directive || text == retain_keys || text.starts_with(element_order) ||
        text.starts_with(delete_scalars)) {
      continue;
    }
    change_field(type, object, text, value, patch);
  }
  const json::value empty_list = json::array();
  for (const auto list : mentioned_lists(type, patch)) change_field(type, object, list, empty_list, patch);
  return object;
}

}  // namespace

json::object json_patched(const json::object& object, const json::value& patch) {
  if (!patch.is_array()) throw bad_request("error decoding patch: a JSON patch is a list of operations");
  if (patch.get_array().size() > most_operations) {
    throw ApiError(413, "RequestEntityTooLarge",
                   "a JSON patch may hold " + std::to_string(most_operations) + " operations, not " +
                       std::to_string(patch.get_array().size()));
  }
  json::value document = object;
  JsonPatch patching(document);
  for (const auto& operation : patch.get_array()) {
    if (!operation.is_object()) throw bad_request("error decoding patch: an operation must be a JSON object");
    patching.apply(operation.get_object());
  }
  if (!document.is_object()) throw misfit("the JSON patch leaves no object");
  return std::move(document.get_object());
}

void merge_into(json::value& target, const json::value& patch) {
  if (!patch.is_object()) {
    target = patch;
    return;
  }
  if (!target.is_object()) target.emplace_object();
  auto& object = target.get_object();
  for (const auto& [name, value] : patch.get_object()) {
    if (value.is_null()) {
      object.erase(name);
    } else {
      merge_into(object[name], value);
    }
  }
}

json::object merge_patched(const json::object& object, const json::value& patch) {
  as_object(patch);
  json::value result = object;
  merge_into(result, patch);
  return std::move(result.get_object());
}

json::object strategic_patched(const TypeSchema* type, const json::object& object, const json::value& patch) {
  return strategic(type, object, as_object(patch));
}

}  // namespace workflow::engine
