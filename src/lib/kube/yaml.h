// src/lib/kube/yaml.h: YAML as Kubernetes manifests use it, to and from JSON.
//   Scalars follow the core schema of YAML 1.2.2, section 10.3: quoted text stays text, `on` and `yes` are text. One
//   addition, because manifests rely on it: an integer with a leading zero is octal (`defaultMode: 0400`).
//   Throws  Error invalid with the line for text that is not YAML, duplicate keys, more than 64 levels, or aliases that
//           multiply the text beyond reason.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "lib/json/json.h"

namespace workflow::kube {

// One document; null when the text is empty.
json::value parse_yaml(std::string_view text);
// Every document that is not empty; `kind: List` is replaced by its items. Throws when one is not an object.
std::vector<json::object> parse_manifests(std::string_view text);

// Block style, two spaces, keys in the given order. parse_yaml(print_yaml(x)) == x.
std::string print_yaml(const json::value& value);
std::string print_manifests(const std::vector<json::object>& objects);  // each begins with ---

}  // namespace workflow::kube
