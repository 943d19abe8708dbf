// src/engine/controllers/adoption.h: whose a pod is: controllers take on what they select, and let go of what they no
// longer do. Pure.
#pragma once
#include <string>

#include "engine/controllers/action.h"

namespace workflow::engine {

// It belongs to nobody, and is `owner`'s from now on.
Merge adopt(const json::object& pod, const json::object& owner);
// It runs on, and belongs to nobody.
Merge let_go(const json::object& pod, const std::string& uid);

}  // namespace workflow::engine
