// src/controller/cluster/apply.h: writing objects so that doing it twice is doing it once.
#pragma once
#include "lib/kube/client.h"

namespace workflow::controller::cluster {

// Replaces the object, or creates it when it is absent. Returns it as the server has it now.
Task<json::object> put(kube::Client& client, const kube::Resource& r, std::string ns, json::object object);
// A merge patch; `fresh` is created when there is nothing to patch.
Task<json::object> patch_or_create(kube::Client& client, const kube::Resource& r, std::string ns, json::object patch,
                                   json::object fresh);

}  // namespace workflow::controller::cluster
