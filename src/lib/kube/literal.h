// src/lib/kube/literal.h: text of a user that reaches a container as it is.
//   Kubernetes replaces $(NAME) in commands, arguments, values of variables and the words of exec probes, and makes $
//   of
//   $$. It leaves lifecycle hooks, Secrets and ConfigMaps alone.
#pragma once
#include <string>

#include "lib/base/text.h"

namespace workflow::kube {

inline std::string literal(const std::string& text) { return replace_all(text, "$", "$$"); }

}  // namespace workflow::kube
