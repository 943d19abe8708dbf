// src/controller/cluster/app_objects.h: the objects that an app has before, and beside, its releases.
#pragma once
#include <optional>

#include "controller/cluster/spec.h"

namespace workflow::controller::cluster {

std::map<std::string, std::string> app_labels(const AppName& app);  // app, heritage

json::object namespace_for(const AppName& app);
// `setting` (JSON) merged over the skeleton; nullopt when there is no quota.
std::optional<json::object> quota_for(const AppName& app, const Settings& settings);

// The Service that the router leads requests to, as it is created: nothing serves until the first release.
json::object service_for(const AppSpec& app);
// What makes an existing Service match `app`: a JSON merge patch that leaves alone what operators annotated.
json::object service_patch_for(const AppSpec& app);
// Leads requests to the routed type of `release`; a release without one is not routable. How the router treats the app
// is not in it: that may have changed since the deploy began.
json::object service_patch_for(const AppSpec& app, const ReleaseSpec& release);

std::string path_service_name(const AppName& app, const ProcessType& type);
json::object path_service_for(const AppSpec& app, const PathService& path);

json::object autoscaler_for(const AppName& app, const ProcessType& type, const Autoscale& rule);
std::optional<json::object> ingress_for(const AppName& app,
                                        const Settings& settings);  // nullopt without native ingress

std::string certificate_secret_name(const std::string& certificate);
json::object certificate_secret_for(const AppName& app, const Certificate& certificate);

}  // namespace workflow::controller::cluster
