// src/controller/releases.h: what the builder's hooks share with the API's own build route.
#pragma once
#include "controller/api.h"
#include "controller/store.h"

namespace workflow::controller {

// Records the build that the call's body describes and deploys it; the release that came of it. Throws invalid with the
// deploy's reason when it failed.
Task<Release> deploy_build(Parts& parts, const Call& call, App app, User user);

}  // namespace workflow::controller
