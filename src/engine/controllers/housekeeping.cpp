#include "engine/controllers/housekeeping.h"

#include <algorithm>

#include "engine/fields.h"
#include "engine/placement.h"
#include "lib/kube/objects.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr const char* claim_finalizer = "kubernetes.io/pvc-protection";

bool uses_claim(const json::object& pod, const std::string& claim) {
  if (kube::is_pod_finished(pod)) return false;
  for (const auto& volume : array_at(pod, {"spec", "volumes"})) {
    if (volume.is_object() && text_at(volume.get_object(), {"persistentVolumeClaim", "claimName"}) == claim)
      return true;
  }
  return false;
}

}  // namespace

Actions plan_namespace(const json::object& ns, const std::vector<Dependent>& contents, Time now) {
  Actions actions;
  if (!kube::is_being_deleted(ns)) return actions;
  const auto name = kube::name_of(ns);
  for (const auto& d : contents) {
    if (kube::is_being_deleted(*d.object)) continue;
    actions.push_back(Remove{d.resource, name, kube::name_of(*d.object), kube::uid_of(*d.object)});
  }
  if (contents.empty()) {
    actions.push_back(Merge{&res::namespaces, "", name, kube::uid_of(ns),
                            json::object{{"spec", json::object{{"finalizers", nullptr}}}}});
    return actions;
  }
  auto status = object_at(ns, {"status"});
  auto conditions = array_at(status, {"conditions"});
  set_condition(conditions,
                {"NamespaceContentRemaining", "True", "SomeResourcesRemain",
                 "Some resources are remaining: they end within their grace periods"},
                now, false);
  status["conditions"] = std::move(conditions);
  merge_status(actions, res::namespaces, ns, status);
  return actions;
}

Actions plan_namespace_basics(const json::object& ns, const ObjectPtr& default_account, const ObjectPtr& root_ca,
                              const std::string& root_ca_pem) {
  Actions actions;
  if (kube::is_being_deleted(ns)) return actions;
  const auto name = kube::name_of(ns);
  if (!default_account) {
    actions.push_back(Create{&res::service_accounts, kube::make_object(res::service_accounts, name, "default")});
  }
  if (!root_ca) {
    auto map = kube::make_object(res::config_maps, name, "kube-root-ca.crt");
    map["data"] = json::object{{"ca.crt", root_ca_pem}};
    actions.push_back(Create{&res::config_maps, std::move(map)});
  } else if (text_at(*root_ca, {"data", "ca.crt"}) != root_ca_pem) {
    actions.push_back(Merge{&res::config_maps, name, "kube-root-ca.crt", kube::uid_of(*root_ca),
                            json::object{{"data", json::object{{"ca.crt", root_ca_pem}}}}});
  }
  return actions;
}

std::string volume_name(const json::object& claim) {
  const auto named = text_at(claim, {"spec", "volumeName"});
  return named.empty() ? "pvc-" + kube::uid_of(claim) : named;
}

Actions plan_claim(const json::object& claim, const ObjectPtr& volume, const Objects& pods,
                   const std::filesystem::path& volumes) {
  Actions actions;
  const auto ns = kube::namespace_of(claim), name = kube::name_of(claim), uid = kube::uid_of(claim);
  auto finalizers = array_at(claim, {"metadata", "finalizers"});
  const auto protection = std::find(finalizers.begin(), finalizers.end(), json::value(claim_finalizer));
  if (kube::is_being_deleted(claim)) {
    const bool used = std::any_of(pods.begin(), pods.end(), [&](const auto& pod) { return uses_claim(*pod, name); });
    if (used || protection == finalizers.end()) return actions;
    finalizers.erase(protection);
    actions.push_back(Merge{&res::persistent_volume_claims, ns, name, uid,
                            json::object{{"metadata", json::object{{"finalizers", std::move(finalizers)}}}}});
    return actions;
  }
  const auto own = "pvc-" + uid;
  const auto wanted = text_at(claim, {"spec", "volumeName"});
  const auto capacity = object_at(claim, {"spec", "resources", "requests"});
  if (!volume && (wanted.empty() || wanted == own)) {
    auto made = kube::make_object(res::persistent_volumes, "", own);
    child(made, "metadata")["annotations"] = json::object{{"pv.kubernetes.io/provisioned-by", "workflow/local-folder"}};
    made["spec"] = json::object{
        {"capacity", capacity},
        {"accessModes", array_at(claim, {"spec", "accessModes"})},
        {"claimRef",
         json::object{
             {"apiVersion", "v1"}, {"kind", "PersistentVolumeClaim"}, {"name", name}, {"namespace", ns}, {"uid", uid}}},
        {"hostPath", json::object{{"path", (volumes / (ns + "_" + name)).string()}, {"type", "DirectoryOrCreate"}}},
        {"persistentVolumeReclaimPolicy", "Delete"},
        {"storageClassName", text_at(claim, {"spec", "storageClassName"})},
        {"volumeMode", "Filesystem"}};
    made["status"] = json::object{{"phase", "Bound"}};
    actions.push_back(Create{&res::persistent_volumes, std::move(made)});
  }
  const bool bound =
      text_at(claim, {"status", "phase"}) == "Bound" && object_at(claim, {"status", "capacity"}) == capacity;
  if (!wanted.empty() && wanted != own && !volume) return actions;  // a volume that is not there yet
  json::object patch;
  if (protection == finalizers.end()) {
    finalizers.emplace_back(claim_finalizer);
    child(patch, "metadata")["finalizers"] = std::move(finalizers);
  }
  if (wanted.empty()) {
    child(patch, "spec")["volumeName"] = own;
    auto& annotations = child(child(patch, "metadata"), "annotations");
    annotations["pv.kubernetes.io/bind-completed"] = "yes";
    annotations["pv.kubernetes.io/bound-by-controller"] = "yes";
  }
  if (!bound) {
    patch["status"] = json::object{
        {"phase", "Bound"}, {"accessModes", array_at(claim, {"spec", "accessModes"})}, {"capacity", capacity}};
  }
  if (!patch.empty()) actions.push_back(Merge{&res::persistent_volume_claims, ns, name, uid, std::move(patch)});
  return actions;
}

VolumePlan plan_volume(const json::object& volume, const ObjectPtr& claim) {
  VolumePlan plan;
  const auto uid = text_at(volume, {"spec", "claimRef", "uid"});
  if (uid.empty() || (claim && kube::uid_of(*claim) == uid)) return plan;
  const bool ours = kube::annotation_of(volume, "pv.kubernetes.io/provisioned-by") == "workflow/local-folder";
  if (ours && text_at(volume, {"spec", "persistentVolumeReclaimPolicy"}) == "Delete") {
    // A claim of the same name that came meanwhile uses the same folder.
    if (!claim) plan.remove_folder = text_at(volume, {"spec", "hostPath", "path"});
    plan.actions.push_back(Remove{&res::persistent_volumes, "", kube::name_of(volume), kube::uid_of(volume)});
  } else if (text_at(volume, {"status", "phase"}) != "Released") {
    merge_status(plan.actions, res::persistent_volumes, volume, json::object{{"phase", "Released"}});
  }
  return plan;
}

Actions plan_service_status(const json::object& service, const std::string& address) {
  Actions actions;
  json::object balancer;
  if (text_at(service, {"spec", "type"}) == "LoadBalancer" && !address.empty()) {
    balancer["ingress"] = json::array{json::object{{"ip", address}, {"ipMode", "VIP"}}};
  }
  auto status = object_at(service, {"status"});
  status["loadBalancer"] = std::move(balancer);
  merge_status(actions, res::services, service, status);
  return actions;
}

Actions plan_placement(const ObjectPtr& pod, const ObjectPtr& node, const Objects& pods, Time now) {
  Actions actions;
  if (!is_pod_active(*pod)) return actions;
  const auto ns = kube::namespace_of(*pod), name = kube::name_of(*pod), uid = kube::uid_of(*pod);
  const auto scheduled = [&](const std::string& where) {
    actions.push_back(Emit{pod, "Normal", "Scheduled", "Successfully assigned " + ns + "/" + name + " to " + where});
  };
  if (const auto bound = text_at(*pod, {"spec", "nodeName"}); !bound.empty()) {  // bound when it was made
    scheduled(bound);
    return actions;
  }
  const auto why =
      node ? why_not_placed(*node, *pod, pods) : std::optional<std::string>("no nodes available to schedule pods");
  auto status = object_at(*pod, {"status"});
  auto conditions = array_at(status, {"conditions"});
  if (!why) {
    set_condition(conditions, {"PodScheduled", "True", "", ""}, now, false);
    for (auto& c : conditions) {
      if (text_at(c.get_object(), {"type"}) == "PodScheduled") {
        c.get_object().erase("reason");
        c.get_object().erase("message");
      }
    }
    actions.push_back(Merge{&res::pods, ns, name, uid,
                            json::object{{"spec", json::object{{"nodeName", kube::name_of(*node)}}},
                                         {"status", json::object{{"conditions", std::move(conditions)}}}}});
    scheduled(kube::name_of(*node));
    return actions;
  }
  if (!set_condition(conditions, {"PodScheduled", "False", "Unschedulable", *why}, now, false)) return actions;
  status["conditions"] = std::move(conditions);
  merge_status(actions, res::pods, *pod, status);
  actions.push_back(Emit{pod, "Warning", "FailedScheduling", *why});
  return actions;
}

std::optional<Time> event_expires(const json::object& event) {
  const auto last = kube::event_of(event).last;
  return last ? std::optional(*last + std::chrono::hours(1)) : std::nullopt;
}

Actions plan_quota(const json::object& quota, const QuotaUse& used) {
  Actions actions;
  json::object hard = object_at(quota, {"spec", "hard"}), counts;
  for (const auto& [name, limit] : hard) {
    const auto found = used.find(std::string(name));
    if (found != used.end()) counts[name] = quota_text(found->first, found->second);
  }
  merge_status(actions, res::resource_quotas, quota,
               json::object{{"hard", std::move(hard)}, {"used", std::move(counts)}});
  return actions;
}

}  // namespace workflow::engine
