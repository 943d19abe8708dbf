#include "engine/controllers/endpoints.h"

#include <algorithm>
#include <map>

#include "engine/fields.h"
#include "lib/base/encoding.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
constexpr const char* service_label = "kubernetes.io/service-name";
constexpr const char* managed_label = "endpointslice.kubernetes.io/managed-by";
constexpr const char* manager = "endpointslice-controller.k8s.io";
constexpr const char* managed_annotation = "endpoints.kubernetes.io/managed-by";
constexpr const char* endpoints_manager = "endpoint-controller";
constexpr std::size_t slice_size = 1000;

// The number that a Service's port has in a pod: its targetPort, or the container port of that name.
std::optional<std::int64_t> port_in(const json::object& pod, const json::object& port) {
  const auto* target = value_at(port, {"targetPort"});
  if (target == nullptr) return integer_at(port, {"port"});
  if (target->is_int64()) return target->get_int64();
  if (!target->is_string()) return std::nullopt;
  const auto protocol = text_at(port, {"protocol"});
  for (const auto* kind : {"containers", "initContainers"}) {
    for (const auto& c : array_at(pod, {"spec", kind})) {
      if (!c.is_object()) continue;
      for (const auto& p : array_at(c.get_object(), {"ports"})) {
        if (!p.is_object() || text_at(p.get_object(), {"name"}) != view(target->get_string())) continue;
        const auto has = text_at(p.get_object(), {"protocol"});
        if ((has.empty() ? "TCP" : has) == (protocol.empty() ? "TCP" : protocol))
          return integer_at(p.get_object(), {"containerPort"});
      }
    }
  }
  return std::nullopt;
}

struct Member {
  ObjectPtr pod;
  bool ready = false, serving = false, terminating = false;
};

json::object pod_reference(const json::object& pod) {
  return {{"kind", "Pod"},
          {"namespace", kube::namespace_of(pod)},
          {"name", kube::name_of(pod)},
          {"uid", kube::uid_of(pod)}};
}

bool condition_ready(const json::object& pod) {
  const auto conditions = kube::conditions_of(pod);
  const auto* c = kube::find_condition(conditions, "Ready");
  return c != nullptr && c->status == "True";
}

// Pods by the ports that they have: a named port may be another number in another pod.
std::map<std::string, std::pair<json::array, std::vector<Member>>> groups_of(const json::object& service,
                                                                             const Objects& pods) {
  std::map<std::string, std::pair<json::array, std::vector<Member>>> groups;
  const auto selector = kube::LabelSelector::from_map(value_at(service, {"spec", "selector"}));
  const bool unready_too = flag_at(service, {"spec", "publishNotReadyAddresses"});
  for (const auto& pod : pods) {
    if (kube::is_pod_finished(*pod) || text_at(*pod, {"status", "podIP"}).empty()) continue;
    if (!selector.matches(value_at(*pod, {"metadata", "labels"}))) continue;
    json::array ports;
    for (const auto& item : array_at(service, {"spec", "ports"})) {
      const auto& port = item.get_object();
      const auto number = port_in(*pod, port);
      if (!number) continue;
      json::object entry{
          {"name", text_at(port, {"name"})}, {"port", *number}, {"protocol", text_at(port, {"protocol"})}};
      if (const auto app = text_at(port, {"appProtocol"}); !app.empty()) entry["appProtocol"] = app;
      ports.push_back(std::move(entry));
    }
    if (ports.empty() && !array_at(service, {"spec", "ports"}).empty()) continue;
    const bool terminating = kube::is_being_deleted(*pod), serving = condition_ready(*pod);
    auto& group = groups[json::serialize(ports)];
    group.first = std::move(ports);
    group.second.push_back({pod, unready_too || (serving && !terminating), serving, terminating});
  }
  return groups;
}

json::object slice_endpoint(const Member& member) {
  json::object endpoint{
      {"addresses", json::array{text_at(*member.pod, {"status", "podIP"})}},
      {"conditions",
       json::object{{"ready", member.ready}, {"serving", member.serving}, {"terminating", member.terminating}}},
      {"targetRef", pod_reference(*member.pod)}};
  if (const auto node = text_at(*member.pod, {"spec", "nodeName"}); !node.empty()) endpoint["nodeName"] = node;
  if (const auto host = text_at(*member.pod, {"spec", "hostname"}); !host.empty()) endpoint["hostname"] = host;
  return endpoint;
}

json::object slice_of(const json::object& service, const std::string& suffix, json::array ports,
                      json::array endpoints) {
  auto slice =
      kube::make_object(res::endpoint_slices, kube::namespace_of(service), kube::name_of(service) + "-" + suffix,
                        {{service_label, kube::name_of(service)}, {managed_label, manager}});
  auto& metadata = child(slice, "metadata");
  metadata["ownerReferences"] = json::array{kube::owner_reference_to(service)};
  if (text_at(service, {"spec", "clusterIP"}) == "None")
    child(metadata, "labels")["service.kubernetes.io/headless"] = "";
  slice["addressType"] = "IPv4";
  slice["endpoints"] = std::move(endpoints);
  slice["ports"] = std::move(ports);
  return slice;
}

json::object address_of(const Member& member) {
  json::object address{{"ip", text_at(*member.pod, {"status", "podIP"})}, {"targetRef", pod_reference(*member.pod)}};
  if (const auto node = text_at(*member.pod, {"spec", "nodeName"}); !node.empty()) address["nodeName"] = node;
  if (const auto host = text_at(*member.pod, {"spec", "hostname"}); !host.empty()) address["hostname"] = host;
  return address;
}

// Creates, changes and removes slices so that exactly `wanted` are left.
void settle_slices(Actions& actions, std::vector<json::object> wanted, const Objects& slices) {
  std::map<std::string, ObjectPtr> present;
  for (const auto& slice : slices) {
    const auto by = kube::label_of(*slice, managed_label);
    if (by == manager && !kube::is_being_deleted(*slice)) present[kube::name_of(*slice)] = slice;
  }
  for (auto& slice : wanted) {
    const auto found = present.find(kube::name_of(slice));
    if (found == present.end()) {
      actions.push_back(Create{&res::endpoint_slices, std::move(slice)});
      continue;
    }
    json::object patch;
    for (const auto* field : {"endpoints", "ports"}) {
      if (array_at(*found->second, {field}) != array_at(slice, {field})) patch[field] = slice.at(field);
    }
    if (!patch.empty()) {
      actions.push_back(Merge{&res::endpoint_slices, kube::namespace_of(slice), kube::name_of(slice),
                              kube::uid_of(*found->second), patch});
    }
    present.erase(found);
  }
  for (const auto& [name, slice] : present) {
    actions.push_back(Remove{&res::endpoint_slices, kube::namespace_of(*slice), name, kube::uid_of(*slice)});
  }
}

void settle_endpoints(Actions& actions, json::object wanted, const ObjectPtr& present) {
  if (!present) {
    actions.push_back(Create{&res::endpoints, std::move(wanted)});
    return;
  }
  const auto& subsets = array_at(wanted, {"subsets"});
  if (array_at(*present, {"subsets"}) == subsets) return;
  json::object patch;
  if (subsets.empty()) {
    patch["subsets"] = nullptr;
  } else {
    patch["subsets"] = subsets;
  }
  actions.push_back(
      Merge{&res::endpoints, kube::namespace_of(*present), kube::name_of(*present), kube::uid_of(*present), patch});
}

}  // namespace

Actions plan_endpoints(const std::string& ns, const std::string& name, const ObjectPtr& service, const Objects& pods,
                       const Objects& slices, const ObjectPtr& endpoints) {
  Actions actions;
  if (!service || kube::is_being_deleted(*service)) {
    settle_slices(actions, {}, slices);
    // Those that somebody made by hand are theirs: there may never have been a Service.
    if (endpoints && kube::annotation_of(*endpoints, managed_annotation) == endpoints_manager) {
      actions.push_back(Remove{&res::endpoints, ns, name, kube::uid_of(*endpoints)});
    }
    return actions;
  }
  if (object_at(*service, {"spec", "selector"}).empty() || text_at(*service, {"spec", "type"}) == "ExternalName")
    return actions;
  auto groups = groups_of(*service, pods);
  if (groups.empty()) groups["[]"];  // an empty slice says that there is nobody
  std::vector<json::object> wanted;
  json::array subsets;
  for (auto& [id, group] : groups) {
    auto& [ports, members] = group;
    const auto hash = to_hex(sha256(id)).substr(0, 5);
    for (std::size_t from = 0; from == 0 || from < members.size(); from += slice_size) {
      json::array list;
      for (std::size_t i = from; i < std::min(members.size(), from + slice_size); ++i)
        list.push_back(slice_endpoint(members[i]));
      wanted.push_back(slice_of(*service, hash + (from == 0 ? "" : "-" + std::to_string(from / slice_size)), ports,
                                std::move(list)));
    }
    json::array ready, unready;
    for (const auto& member : members) {
      if (member.ready) {
        ready.push_back(address_of(member));
      } else if (!member.terminating) {
        unready.push_back(address_of(member));
      }
    }
    json::object subset;
    if (!ready.empty()) subset["addresses"] = std::move(ready);
    if (!unready.empty()) subset["notReadyAddresses"] = std::move(unready);
    if (subset.empty()) continue;
    for (auto& port : ports) {
      if (text_at(port.get_object(), {"name"}).empty()) port.get_object().erase("name");
    }
    if (!ports.empty()) subset["ports"] = std::move(ports);
    subsets.push_back(std::move(subset));
  }
  settle_slices(actions, std::move(wanted), slices);
  auto object = kube::make_object(res::endpoints, ns, name, string_map(value_at(*service, {"metadata", "labels"})));
  child(object, "metadata")["annotations"] = json::object{{managed_annotation, endpoints_manager}};
  if (!subsets.empty()) object["subsets"] = std::move(subsets);
  settle_endpoints(actions, std::move(object), endpoints);
  return actions;
}

Actions plan_api_endpoints(const std::vector<std::string>& addresses, int port, const Objects& slices,
                           const ObjectPtr& endpoints) {
  Actions actions;
  json::array list, ips;
  for (const auto& address : addresses) {
    list.push_back(json::object{{"addresses", json::array{address}}, {"conditions", json::object{{"ready", true}}}});
    ips.push_back(json::object{{"ip", address}});
  }
  const json::array ports{json::object{{"name", "https"}, {"port", port}, {"protocol", "TCP"}}};
  auto slice = kube::make_object(res::endpoint_slices, "default", "kubernetes",
                                 {{service_label, "kubernetes"}, {managed_label, manager}});
  slice["addressType"] = "IPv4";
  slice["endpoints"] = std::move(list);
  slice["ports"] = ports;
  settle_slices(actions, {std::move(slice)}, slices);
  auto object = kube::make_object(res::endpoints, "default", "kubernetes");
  object["subsets"] = json::array{json::object{{"addresses", std::move(ips)}, {"ports", ports}}};
  settle_endpoints(actions, std::move(object), endpoints);
  return actions;
}

}  // namespace workflow::engine
