// src/cli/ps_target.h: which processes `ps:restart` and `ps:scale` mean.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "lib/json/json.h"

namespace workflow::cli {

struct RestartTarget {
  std::string type;
  std::string pod;  // "": all of the type
  bool operator==(const RestartTarget&) const = default;
};
// `name` is a process type or the name of a pod, with or without the app's name before it. What runs decides first; the
// shape of the name only when nothing of that name runs.
RestartTarget restart_target(std::string_view app, std::string_view name, const json::array& pods);

struct ScaleTarget {
  std::string type;
  std::int64_t count = 0;
};
std::optional<ScaleTarget> parse_scale_target(std::string_view text);  // "web=2"
bool is_process_type(std::string_view text);

}  // namespace workflow::cli
