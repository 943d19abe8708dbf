// src/lib/kube/selectors.h: label and field selectors, parsed once and matched many times.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/json/json.h"

namespace workflow::kube {

enum class SelectorOperator { equals, not_equals, in, not_in, exists, not_exists, greater_than, less_than };

struct LabelRequirement {
  std::string key;
  SelectorOperator op = SelectorOperator::exists;
  std::vector<std::string> values;  // sorted
  bool operator==(const LabelRequirement&) const = default;
};

// All requirements must hold; none at all matches everything.
class LabelSelector {
 public:
  LabelSelector() = default;
  explicit LabelSelector(std::vector<LabelRequirement> requirements) : requirements_(std::move(requirements)) {}
  // "app=shop,type in (web, cmd),!canary,version notin (v1)"; nullopt when malformed.
  static std::optional<LabelSelector> parse(std::string_view text);
  // {"matchLabels": …, "matchExpressions": …} (meta/v1 LabelSelector); nullopt when malformed.
  static std::optional<LabelSelector> from_object(const json::value& selector);
  // {"app": "shop"}: the selector of a Service or a ReplicationController.
  static LabelSelector from_map(const json::value* labels);

  // `labels` is metadata.labels; null means none. `notin` and != also match objects without the key.
  bool matches(const json::value* labels) const;
  bool matches(const std::map<std::string, std::string>& labels) const;
  bool empty() const { return requirements_.empty(); }
  const std::vector<LabelRequirement>& requirements() const { return requirements_; }
  std::string text() const;  // parse(text()) is the same selector
  bool operator==(const LabelSelector&) const = default;

 private:
  std::vector<LabelRequirement> requirements_;
};

struct FieldTerm {
  std::string field;  // "status.phase"
  std::string value;
  bool negated = false;
  bool operator==(const FieldTerm&) const = default;
};

class FieldSelector {
 public:
  FieldSelector() = default;
  // "metadata.name=a,status.phase!=Running"; backslash escapes , = and itself. nullopt when malformed.
  static std::optional<FieldSelector> parse(std::string_view text);
  // An absent field is "", numbers and booleans compare as text.
  bool matches(const json::object& object) const;
  bool empty() const { return terms_.empty(); }
  const std::vector<FieldTerm>& terms() const { return terms_; }  // whoever serves a resource decides which are allowed
  std::string text() const;
  bool operator==(const FieldSelector&) const = default;

 private:
  std::vector<FieldTerm> terms_;
};

}  // namespace workflow::kube
