// src/controller/deploy_hooks.h: tells the operator's deploy hooks of a new release.
#pragma once
#include "controller/api.h"

namespace workflow::controller {

// One after the other; what fails is logged, by host, and not tried again.
Task<> tell_deploy_hooks(const Parts& parts, App app, Release release);

}  // namespace workflow::controller
