// src/engine/quantity.h: amounts of cpu, memory and storage as Kubernetes writes them. Pure.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "lib/json/json.h"

namespace workflow::engine {

// "0.5" → "500m", "1024Mi" → "1Gi"; nullopt when it is not a quantity.
std::optional<std::string> canonical_quantity(std::string_view text);
// Its value; kept in thousandths. nullopt as above, or when it does not fit.
std::optional<std::int64_t> quantity_in_thousandths(std::string_view text);
// The quantity at a path, as text or as a number; nullopt when it is absent or none.
std::optional<std::int64_t> thousandths_at(const json::object& object, std::initializer_list<std::string_view> path);

// What a pod requests (or is limited to), in thousandths: its containers together, or its largest init container if
// that is more; sidecars run beside both. `kind` is "requests" or "limits".
std::int64_t pod_amount(const json::object& pod, std::string_view kind, std::string_view resource);

}  // namespace workflow::engine
