// src/engine/apiserver/quota.h: what objects use of the quantities that ResourceQuotas limit. Pure; used by admission,
//   which refuses what would be too much, and by the controller that writes the quota's status.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/store.h"

namespace workflow::engine {

using QuotaUse = std::map<std::string, std::int64_t>;  // by the name in spec.hard, in thousandths

// What one object uses; a finished pod uses nothing.
QuotaUse quota_use_of(const kube::Resource& r, const json::object& object);
// Whether the quota's scopes include the object.
bool quota_covers(const json::object& quota, const kube::Resource& r, const json::object& object);
// Whether the quota names a quantity that objects of this type use.
bool quota_concerns(const json::object& quota, const kube::Resource& r);

// The sum over what the quota covers, of the quantities that it names.
using ListObjects = std::function<std::vector<ObjectPtr>(const kube::Resource& r, const std::string& ns)>;
QuotaUse quota_used(const json::object& quota, const ListObjects& list);

// "3", "500m", "64Mi".
std::string quota_text(const std::string& name, std::int64_t thousandths);

// Why the object may not be created, as Kubernetes says it; nullopt: it may.
std::optional<std::string> why_over_quota(const json::object& quota, const kube::Resource& r,
                                          const json::object& object, const ListObjects& list);

}  // namespace workflow::engine
