#include "engine/apiserver/quota.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/quantity.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;

std::string count_name(const kube::Resource& r) { return "count/" + r.plural + (r.group.empty() ? "" : "." + r.group); }

constexpr std::string_view counted_plainly[] = {
    "pods", "services", "secrets", "configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas"};
constexpr std::string_view pod_resources[] = {"cpu", "memory", "ephemeral-storage"};

bool is_best_effort(const json::object& pod) {
  for (const auto* kind : {"requests", "limits"}) {
    for (const auto* resource : {"cpu", "memory"}) {
      if (pod_amount(pod, kind, resource) > 0) return false;
    }
  }
  return true;
}

bool scope_holds(std::string_view scope, std::string_view op, const json::array& values, const json::object& pod) {
  if (scope == "Terminating") return value_at(pod, {"spec", "activeDeadlineSeconds"}) != nullptr;
  if (scope == "NotTerminating") return value_at(pod, {"spec", "activeDeadlineSeconds"}) == nullptr;
  if (scope == "BestEffort") return is_best_effort(pod);
  if (scope == "NotBestEffort") return !is_best_effort(pod);
  if (scope == "PriorityClass") {
    const auto name = text_at(pod, {"spec", "priorityClassName"});
    const bool listed = std::find(values.begin(), values.end(), json::value(name)) != values.end();
    if (op == "In") return listed;
    if (op == "NotIn") return !listed;
    return (op == "DoesNotExist") == name.empty();
  }
  return false;
}

QuotaUse use_of_pod(const json::object& pod) {
  QuotaUse use;
  for (const auto resource : pod_resources) {
    const std::string name(resource);
    const auto request = pod_amount(pod, "requests", resource), limit = pod_amount(pod, "limits", resource);
    if (request > 0) use[name] = use["requests." + name] = request;
    if (limit > 0) use["limits." + name] = limit;
  }
  return use;
}

QuotaUse use_of_service(const json::object& service) {
  QuotaUse use;
  const auto type = text_at(service, {"spec", "type"});
  std::int64_t ports = 0;
  if (type == "NodePort" || type == "LoadBalancer")
    ports = static_cast<std::int64_t>(array_at(service, {"spec", "ports"}).size());
  if (ports > 0) use["services.nodeports"] = ports * 1000;
  if (type == "LoadBalancer") use["services.loadbalancers"] = 1000;
  return use;
}

// A quota of cpu or memory asks every container to say how much it wants.
std::string unspecified(const json::object& quota, const json::object& pod) {
  std::vector<std::string> missing;
  for (const auto& [name, limit] : object_at(quota, {"spec", "hard"})) {
    std::string full(name);
    if (std::find(std::begin(pod_resources), std::end(pod_resources), std::string_view(full)) !=
        std::end(pod_resources))
      full = "requests." + full;
    const auto dot = full.find('.');
    const auto kind = full.substr(0, dot), resource = dot == full.npos ? "" : full.substr(dot + 1);
    if ((kind != "requests" && kind != "limits") || resource == "storage" || resource == "ephemeral-storage") continue;
    for (const auto& item : array_at(pod, {"spec", "containers"})) {
      if (!item.is_object() || value_at(item.get_object(), {"resources", kind, resource}) != nullptr) continue;
      missing.push_back(std::string(name) + " for: " + text_at(item.get_object(), {"name"}));
      break;
    }
  }
  return join(missing, "; ");
}

}  // namespace

QuotaUse quota_use_of(const kube::Resource& r, const json::object& object) {
  QuotaUse use;
  use[count_name(r)] = 1000;
  if (&r == &res::pods && kube::is_pod_finished(object)) return use;
  if (std::find(std::begin(counted_plainly), std::end(counted_plainly), r.plural) != std::end(counted_plainly))
    use[r.plural] = 1000;
  if (&r == &res::pods) use.merge(use_of_pod(object));
  if (&r == &res::services) use.merge(use_of_service(object));
  if (&r == &res::persistent_volume_claims) {
    use["requests.storage"] = thousandths_at(object, {"spec", "resources", "requests", "storage"}).value_or(0);
    const auto storage_class = text_at(object, {"spec", "storageClassName"});
    if (!storage_class.empty()) {
      use[storage_class + ".storageclass.storage.k8s.io/requests.storage"] = use["requests.storage"];
      use[storage_class + ".storageclass.storage.k8s.io/persistentvolumeclaims"] = 1000;
    }
  }
  return use;
}

bool quota_covers(const json::object& quota, const kube::Resource& r, const json::object& object) {
  const auto& scopes = array_at(quota, {"spec", "scopes"});
  const auto& expressions = array_at(quota, {"spec", "scopeSelector", "matchExpressions"});
  if (scopes.empty() && expressions.empty()) return true;
  if (&r != &res::pods) return false;
  for (const auto& scope : scopes) {
    if (!scope.is_string() || !scope_holds(view(scope.get_string()), "Exists", {}, object)) return false;
  }
  for (const auto& item : expressions) {
    if (!item.is_object()) return false;
    const auto& e = item.get_object();
    if (!scope_holds(text_at(e, {"scopeName"}), text_at(e, {"operator"}), array_at(e, {"values"}), object))
      return false;
  }
  return true;
}

bool quota_concerns(const json::object& quota, const kube::Resource& r) {
  for (const auto& [key_of_limit, limit] : object_at(quota, {"spec", "hard"})) {
    const std::string_view name(key_of_limit);
    if (name == r.plural || name == count_name(r)) return true;
    if (&r == &res::services && name.starts_with("services.")) return true;
    const bool storage = name.ends_with("requests.storage") || name.ends_with("/persistentvolumeclaims");
    if (&r == &res::persistent_volume_claims && storage) return true;
    const bool of_pods = name == "cpu" || name == "memory" || name == "ephemeral-storage" ||
                         name.starts_with("requests.") || name.starts_with("limits.");
    if (&r == &res::pods && of_pods && !storage) return true;
  }
  return false;
}

namespace {

// Adds what the objects of one resource use of what `sum` has.
void add_used(QuotaUse& sum, const json::object& quota, const kube::Resource& r, const ListObjects& list) {
  for (const auto& object : list(r, kube::namespace_of(quota))) {
    if (!quota_covers(quota, r, *object)) continue;
    for (const auto& [name, amount] : quota_use_of(r, *object)) {
      if (const auto found = sum.find(name); found != sum.end()) found->second += amount;
    }
  }
}

}  // namespace

QuotaUse quota_used(const json::object& quota, const ListObjects& list) {
  QuotaUse sum;
  const auto& hard = object_at(quota, {"spec", "hard"});
  for (const auto& [name, limit] : hard) sum[std::string(name)] = 0;
  for (const auto* r : kube::all_resources()) {
    if (r->namespaced && quota_concerns(quota, *r)) add_used(sum, quota, *r, list);
  }
  return sum;
}

std::string quota_text(const std::string& name, std::int64_t thousandths) {
  const bool bytes = name.ends_with("memory") || name.ends_with("storage");
  const auto whole = thousandths / 1000;
  if (bytes && thousandths % 1'024'000 == 0 && thousandths > 0) {
    return canonical_quantity(std::to_string(whole / 1024) + "Ki").value_or(std::to_string(whole));
  }
  return thousandths % 1000 == 0 ? std::to_string(whole) : std::to_string(thousandths) + "m";
}

std::optional<std::string> why_over_quota(const json::object& quota, const kube::Resource& r,
                                          const json::object& object, const ListObjects& list) {
  if (!quota_concerns(quota, r) || !quota_covers(quota, r, object)) return std::nullopt;
  const auto quota_name = kube::name_of(quota);
  if (&r == &res::pods) {
    if (const auto missing = unspecified(quota, object); !missing.empty()) {
      return "failed quota: " + quota_name + ": must specify " + missing;
    }
  }
  const auto asked = quota_use_of(r, object);
  // What it counts in nothing else does: of a quota of many kinds only this one is added up.
  QuotaUse used;
  for (const auto& [name, limit] : object_at(quota, {"spec", "hard"})) used[std::string(name)] = 0;
  add_used(used, quota, r, list);
  std::vector<std::string> requested, present, limited;
  for (const auto& [limit_name, limit] : object_at(quota, {"spec", "hard"})) {
    const std::string name(limit_name);
    const auto amount = asked.find(name);
    if (amount == asked.end() || amount->second == 0) continue;
    const auto text = limit.is_string() ? std::string(limit.get_string()) : json::serialize(limit);
    const auto most = quantity_in_thousandths(text);
    if (!most || used.at(name) + amount->second <= *most) continue;
    requested.push_back(name + "=" + quota_text(name, amount->second));
    present.push_back(name + "=" + quota_text(name, used.at(name)));
    limited.push_back(name + "=" + text);
  }
  if (requested.empty()) return std::nullopt;
  return "exceeded quota: " + quota_name + ", requested: " + join(requested, ",") + ", used: " + join(present, ",") +
         ", limited: " + join(limited, ",");
}

}  // namespace workflow::engine
