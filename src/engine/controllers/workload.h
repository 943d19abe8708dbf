// src/engine/controllers/workload.h: what deployments, replica sets, daemon sets and jobs share. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/store_rules.h"

namespace workflow::engine {

using Objects = std::vector<ObjectPtr>;

std::string owner_named(const json::object& object,
                        std::string_view kind);                       // name of the owner of this kind, "" when none
bool selects(const json::object& owner, const json::object& object);  // spec.selector, matchLabels and -Expressions

// Ready for `min_ready_seconds`. `ready_at`: when it will be, if time alone is missing.
bool is_pod_available(const json::object& pod, std::int64_t min_ready_seconds, Time now,
                      std::optional<Time>* ready_at = nullptr);
bool is_pod_active(const json::object& pod);  // neither finished nor on its way out

// A pod made from spec.template of `owner`, in its namespace, named after it.
json::object pod_from_template(const json::object& owner, const std::string& generate_name);

// A short name for a template's content: lower-case letters without vowels, and digits.
std::string template_hash(const json::value& pod_template, std::int64_t collisions);

// "25%" of `total`, or the number itself.
enum class Rounding { up, down };
std::int64_t share_of(const json::value* value, std::int64_t total, Rounding rounding);

// A condition of status.conditions, set as Kubernetes does: the transition time stays while the status stays.
struct ConditionChange {
  std::string type, status, reason, message;
};
// Whether anything but the times changed.
bool set_condition(json::array& conditions, const ConditionChange& change, Time now, bool with_update_time);
const json::object* find_condition(const json::array& conditions, std::string_view type);

// The order in which pods are given up: what serves least goes first.
bool is_given_up_before(const json::object& a, const json::object& b);

void set_counter(json::object& status, std::string_view name, std::int64_t value);  // zero: left out

}  // namespace workflow::engine
