// src/controller/cluster/apply.h: writing objects so that doing it twice is doing it once.
#pragma once
#include "controller/cluster/spec.h"
#include "lib/kube/client.h"

namespace workflow::controller::cluster {

// Replaces the object, or creates it when it is absent. Returns it as the server has it now.
Task<json::object> put(kube::Client& client, const kube::Resource& r, std::string ns, json::object object);
// The same for what is usually not there yet: one request instead of two.
Task<json::object> put_new(kube::Client& client, const kube::Resource& r, std::string ns, json::object object);
// A merge patch; `fresh` is created when there is nothing to patch.
Task<json::object> patch_or_create(kube::Client& client, const kube::Resource& r, std::string ns, json::object patch,
                                   json::object fresh);

// What the containers of a release refer to: environment, slug URL, credentials of the registry.
Task<> write_secrets(kube::Client& client, const ReleaseSpec& release);

}  // namespace workflow::controller::cluster
