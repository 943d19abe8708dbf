// src/controller/cluster/app_objects.h: the objects that an app has before, and beside, its releases.
#pragma once
#include <optional>

#include "controller/cluster/spec.h"

namespace workflow::controller::cluster {

std::map<std::string, std::string> app_labels(const AppName& app);  // app, heritage

json::object namespace_for(const AppName& app);
// `setting` (JSON) merged over the skeleton; nullopt when there is no quota.
std::optional<json::object> quota_for(const AppName& app, const Settings& settings);

// The Service that the router leads requests to has two owners (managers of server-side apply), who may write at the
// same time: the app's settings decide how the router treats it, its releases which process type it leads to:
// a selector is one field (`x-kubernetes-map-type: atomic`). What operators annotate is nobody's of ours.
json::object service_for(const AppSpec& app);
// Pods of releases from before the label of turnover.h existed do not carry it: they are selected without.
enum class Selected { pods_that_serve, all_pods };
json::object service_of_type_for(const AppName& app, const ProcessType& type, Selected selected);
inline constexpr const char* release_manager = "workflow-release";
// Annotations of ours on `live` that `app` has no use for, which somebody else than server-side apply wrote: a merge
// patch that removes them. Empty when there are none.
json::object service_leftovers(const AppSpec& app, const json::object& live);

std::string path_service_name(const AppName& app, const ProcessType& type);
json::object path_service_for(const AppSpec& app, const PathService& path);
json::object path_service_of_type_for(const AppName& app, const ProcessType& type, Selected selected);

json::object autoscaler_for(const AppName& app, const ProcessType& type, const Autoscale& rule);
std::optional<json::object> ingress_for(const AppName& app,
                                        const Settings& settings);  // nullopt without native ingress

std::string certificate_secret_name(const std::string& certificate);
json::object certificate_secret_for(const AppName& app, const Certificate& certificate);

}  // namespace workflow::controller::cluster
