// src/engine/controllers/housekeeping.h: the small controllers: namespaces, service accounts, claims, Services' status,
//   placement, events. Each is a pure decision.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/apiserver/quota.h"
#include "engine/controllers/action.h"
#include "engine/controllers/garbage.h"
#include "engine/controllers/workload.h"

namespace workflow::engine {

// A namespace on its way out: everything in it goes, then it may go. `contents`: every object in it.
Actions plan_namespace(const json::object& ns, const std::vector<Dependent>& contents, Time now);

// What every namespace has: the account `default` and the authority's certificate.
Actions plan_namespace_basics(const json::object& ns, const ObjectPtr& default_account, const ObjectPtr& root_ca,
                              const std::string& root_ca_pem);

// A claim is bound at once to a volume of its own, a folder. A claim on its way out waits for the pods that use it.
// `volume`: the PersistentVolume it names, or would name; `pods`: of its namespace.
Actions plan_claim(const json::object& claim, const ObjectPtr& volume, const Objects& pods,
                   const std::filesystem::path& volumes);
std::string volume_name(const json::object& claim);  // pvc-<uid>
// A volume whose claim is gone: released, and removed if it is to be deleted.
struct VolumePlan {
  Actions actions;
  std::optional<std::filesystem::path> remove_folder;
};
VolumePlan plan_volume(const json::object& volume, const ObjectPtr& claim);

// LoadBalancer Services show the host's address.
Actions plan_service_status(const json::object& service, const std::string& address);

// A pod that was not bound when it was made: bound now, or told why not.
// `pods`: all there are, for their share of the node.
Actions plan_placement(const ObjectPtr& pod, const ObjectPtr& node, const Objects& pods, Time now);

// Events are forgotten an hour after they last happened.
std::optional<Time> event_expires(const json::object& event);

// status.hard and status.used of a quota. `used`: in thousandths.
Actions plan_quota(const json::object& quota, const QuotaUse& used);

}  // namespace workflow::engine
