#include "lib/kube/selectors.h"

#include <algorithm>

#include "lib/base/text.h"
#include "lib/kube/names.h"

namespace workflow::kube {

namespace {
using Operator = SelectorOperator;
constexpr auto npos = std::string_view::npos;

std::string_view view(const json::string& text) { return {text.data(), text.size()}; }

bool contains(const std::vector<std::string>& sorted, std::string_view value) {
  return std::binary_search(sorted.begin(), sorted.end(), value, std::less<>());
}

bool holds(const LabelRequirement& r, std::optional<std::string_view> value) {
  switch (r.op) {
    case Operator::exists: return value.has_value();
    case Operator::not_exists: return !value;
    case Operator::equals:
    case Operator::in: return value && contains(r.values, *value);
    case Operator::not_equals:
    case Operator::not_in: return !value || !contains(r.values, *value);
    case Operator::greater_than:
    case Operator::less_than: {
      const auto number = value ? parse_integer(*value) : std::nullopt;
      const auto bound = parse_integer(r.values.front());
      if (!number || !bound) return false;
      return r.op == Operator::greater_than ? *number > *bound : *number < *bound;
    }
  }
  return false;
}

// A requirement as Kubernetes validates it; nullopt when it may not exist.
std::optional<LabelRequirement> checked(LabelRequirement r) {
  if (!is_label_key(r.key)) return std::nullopt;
  const bool valueless = r.op == Operator::exists || r.op == Operator::not_exists;
  const bool single = r.op == Operator::equals || r.op == Operator::not_equals || r.op == Operator::greater_than ||
                      r.op == Operator::less_than;
  if (valueless != r.values.empty() || (single && r.values.size() != 1)) return std::nullopt;
  if (!std::all_of(r.values.begin(), r.values.end(), [](const auto& v) { return is_label_value(v); }))
    return std::nullopt;
  if ((r.op == Operator::greater_than || r.op == Operator::less_than) && !parse_integer(r.values.front())) {
    return std::nullopt;
  }
  std::sort(r.values.begin(), r.values.end());
  r.values.erase(std::unique(r.values.begin(), r.values.end()), r.values.end());
  return r;
}

// Cuts at top-level commas: those between parentheses separate values.
std::optional<std::vector<std::string_view>> terms_of(std::string_view text) {
  std::vector<std::string_view> terms;
  std::size_t begin = 0;
  bool inside = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '(') {
      if (inside) return std::nullopt;
      inside = true;
    } else if (text[i] == ')') {
      if (!inside) return std::nullopt;
      inside = false;
    } else if (text[i] == ',' && !inside) {
      terms.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  if (inside) return std::nullopt;
  terms.push_back(text.substr(begin));
  return terms;
}

// "key in (a, b)" and "key notin (a)"
std::optional<LabelRequirement> parse_set_term(std::string_view term, std::size_t open) {
  if (!term.ends_with(')')) return std::nullopt;
  auto head = trim(term.substr(0, open));
  LabelRequirement r;
  const auto space = head.find_last_of(" \t");
  if (space == npos) return std::nullopt;
  const auto word = head.substr(space + 1);
  if (word == "in") {
    r.op = Operator::in;
  } else if (word == "notin") {
    r.op = Operator::not_in;
  } else {
    return std::nullopt;
  }
  r.key = trim(head.substr(0, space));
  const auto inside = term.substr(open + 1, term.size() - open - 2);
  if (trim(inside).empty()) {
    r.values.emplace_back();  // "in ()" means the empty value, as in Kubernetes
  } else {
    for (const auto& value : split(inside, ',')) r.values.emplace_back(trim(value));
  }
  return checked(std::move(r));
}

std::optional<LabelRequirement> parse_term(std::string_view term) {
  term = trim(term);
  if (const auto open = term.find('('); open != npos) return parse_set_term(term, open);
  LabelRequirement r;
  if (term.starts_with('!')) {
    r.op = Operator::not_exists;
    r.key = trim(term.substr(1));
    return checked(std::move(r));
  }
  const auto at = term.find_first_of("=!<>");
  if (at == npos) {
    r.key = term;
    return checked(std::move(r));
  }
  r.key = trim(term.substr(0, at));
  auto rest = term.substr(at);
  std::size_t width = 1;
  if (rest.starts_with("!=")) {
    r.op = Operator::not_equals;
    width = 2;
  } else if (rest.starts_with("==")) {
    r.op = Operator::equals;
    width = 2;
  } else if (rest.starts_with('=')) {
    r.op = Operator::equals;
  } else if (rest.starts_with('>')) {
    r.op = Operator::greater_than;
  } else if (rest.starts_with('<')) {
    r.op = Operator::less_than;
  } else {
    return std::nullopt;
  }
  r.values.emplace_back(trim(rest.substr(width)));
  return checked(std::move(r));
}

std::optional<LabelRequirement> requirement_from_json(const json::value& expression) {
  const auto key = find_string(expression, {"key"});
  const auto op = find_string(expression, {"operator"});
  if (!key || !op) return std::nullopt;
  LabelRequirement r;
  r.key = *key;
  if (*op == "In") {
    r.op = Operator::in;
  } else if (*op == "NotIn") {
    r.op = Operator::not_in;
  } else if (*op == "Exists") {
    r.op = Operator::exists;
  } else if (*op == "DoesNotExist") {
    r.op = Operator::not_exists;
  } else {
    return std::nullopt;
  }
  if (const auto* values = find_path(expression, {"values"})) {
    const auto* array = values->if_array();
    if (array == nullptr) return std::nullopt;
    for (const auto& value : *array) {
      const auto* text = value.if_string();
      if (text == nullptr) return std::nullopt;
      r.values.emplace_back(view(*text));
    }
  }
  return checked(std::move(r));
}

// The value of a field as a selector compares it.
std::string field_text(const json::object& object, std::string_view path) {
  const json::object* at = &object;
  for (;;) {
    const auto dot = path.find('.');
    const auto name = path.substr(0, dot);
    const auto* value = at->if_contains(json::string_view(name.data(), name.size()));
    if (value == nullptr) return {};
    if (dot == npos) {
      if (value->is_string()) return std::string(view(value->get_string()));
      if (value->is_null() || value->is_structured()) return {};
      return print_json(*value);
    }
    at = value->if_object();
    if (at == nullptr) return {};
    path.remove_prefix(dot + 1);
  }
}

void append_escaped(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == ',' || c == '=' || c == '\\') out += '\\';
    out += c;
  }
}

// "field=value", "field==value", "field!=value"; text[0…) is consumed up to the next unescaped comma.
std::optional<FieldTerm> take_field_term(std::string_view& text) {
  FieldTerm term;
  const auto at = text.find_first_of("=!,");
  if (at == npos || at == 0 || text[at] == ',') return std::nullopt;
  term.field = text.substr(0, at);
  if (text.substr(at).starts_with("!=")) {
    term.negated = true;
    text.remove_prefix(at + 2);
  } else if (text.substr(at).starts_with("==")) {
    text.remove_prefix(at + 2);
  } else if (text[at] == '=') {
    text.remove_prefix(at + 1);
  } else {
    return std::nullopt;
  }
  while (!text.empty() && text.front() != ',') {
    if (text.front() == '=') return std::nullopt;
    if (text.front() == '\\') {
      text.remove_prefix(1);
      if (text.empty() || std::string_view(",=\\").find(text.front()) == npos) return std::nullopt;
    }
    term.value += text.front();
    text.remove_prefix(1);
  }
  return term;
}
}  // namespace

std::optional<LabelSelector> LabelSelector::parse(std::string_view text) {
  if (trim(text).empty()) return LabelSelector();
  const auto terms = terms_of(text);
  if (!terms) return std::nullopt;
  std::vector<LabelRequirement> requirements;
  for (const auto term : *terms) {
    auto requirement = parse_term(term);
    if (!requirement) return std::nullopt;
    requirements.push_back(std::move(*requirement));
  }
  return LabelSelector(std::move(requirements));
}

std::optional<LabelSelector> LabelSelector::from_object(const json::value& selector) {
  if (!selector.is_object()) return std::nullopt;
  std::vector<LabelRequirement> requirements;
  if (const auto* labels = find_path(selector, {"matchLabels"})) {
    if (!labels->is_object()) return std::nullopt;
    for (const auto& [key, value] : labels->get_object()) {
      const auto* text = value.if_string();
      if (text == nullptr) return std::nullopt;
      auto requirement = checked({std::string(key), Operator::equals, {std::string(view(*text))}});
      if (!requirement) return std::nullopt;
      requirements.push_back(std::move(*requirement));
    }
  }
  if (const auto* expressions = find_path(selector, {"matchExpressions"})) {
    if (!expressions->is_array()) return std::nullopt;
    for (const auto& expression : expressions->get_array()) {
      auto requirement = requirement_from_json(expression);
      if (!requirement) return std::nullopt;
      requirements.push_back(std::move(*requirement));
    }
  }
  return LabelSelector(std::move(requirements));
}

LabelSelector LabelSelector::from_map(const json::value* labels) {
  std::vector<LabelRequirement> requirements;
  for (auto& [key, value] : string_map(labels)) requirements.push_back({key, Operator::equals, {value}});
  return LabelSelector(std::move(requirements));
}

bool LabelSelector::matches(const json::value* labels) const {
  const auto* object = labels == nullptr ? nullptr : labels->if_object();
  return std::all_of(requirements_.begin(), requirements_.end(), [object](const LabelRequirement& r) {
    const auto* value = object == nullptr ? nullptr : object->if_contains(r.key);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return holds(r, text == nullptr ? std::nullopt : std::optional(view(*text)));
  });
}

bool LabelSelector::matches(const std::map<std::string, std::string>& labels) const {
  return std::all_of(requirements_.begin(), requirements_.end(), [&labels](const LabelRequirement& r) {
    const auto found = labels.find(r.key);
    return holds(r, found == labels.end() ? std::nullopt : std::optional<std::string_view>(found->second));
  });
}

std::string LabelSelector::text() const {
  std::string out;
  for (const auto& r : requirements_) {
    if (!out.empty()) out += ',';
    switch (r.op) {
      case Operator::exists: out += r.key; break;
      case Operator::not_exists: out += "!" + r.key; break;
      case Operator::equals: out += r.key + "=" + r.values.front(); break;
      case Operator::not_equals: out += r.key + "!=" + r.values.front(); break;
      case Operator::greater_than: out += r.key + ">" + r.values.front(); break;
      case Operator::less_than: out += r.key + "<" + r.values.front(); break;
      case Operator::in: out += r.key + " in (" + join(r.values, ",") + ")"; break;
      case Operator::not_in: out += r.key + " notin (" + join(r.values, ",") + ")"; break;
    }
  }
  return out;
}

std::optional<FieldSelector> FieldSelector::parse(std::string_view text) {
  FieldSelector selector;
  if (text.empty()) return selector;
  for (;;) {
    auto term = take_field_term(text);
    if (!term) return std::nullopt;
    selector.terms_.push_back(std::move(*term));
    if (text.empty()) return selector;
    text.remove_prefix(1);  // the comma
  }
}

bool FieldSelector::matches(const json::object& object) const {
  return std::all_of(terms_.begin(), terms_.end(), [&object](const FieldTerm& term) {
    return (field_text(object, term.field) == term.value) != term.negated;
  });
}

std::string FieldSelector::text() const {
  std::string out;
  for (const auto& term : terms_) {
    if (!out.empty()) out += ',';
    out += term.field + (term.negated ? "!=" : "=");
    append_escaped(out, term.value);
  }
  return out;
}

}  // namespace workflow::kube
