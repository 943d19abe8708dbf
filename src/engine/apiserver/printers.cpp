#include "engine/apiserver/printers.h"

#include <functional>
#include <map>

#include "engine/apiserver/context.h"
#include "engine/apiserver/pod_printer.h"
#include "engine/fields.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
using Cells = json::array;

struct Column {
  std::string name, type = "string";
  int priority = 0;  // 1: only with -o wide
};
struct Printer {
  std::vector<Column> columns;  // after Name, before Age
  std::function<void(Cells&, const json::object&, Time)> cells;
  bool age = true;
  std::vector<Column> wide = {};  // after Age
  std::function<void(Cells&, const json::object&, Time)> wide_cells = {};
};

std::string text_or(std::string text, std::string fallback) { return text.empty() ? fallback : text; }
std::int64_t number(const json::object& o, std::initializer_list<std::string_view> path) {
  return integer_at(o, path).value_or(0);
}

std::string age(const json::object& object, std::initializer_list<std::string_view> path, Time now) {
  const auto time = parse_rfc3339(text_at(object, path));
  return time ? human_duration(now - *time) : "<unknown>";
}

std::string joined(const json::array& list, std::function<std::string(const json::object&)> part, std::string none) {
  std::vector<std::string> parts;
  for (const auto& item : list) {
    if (item.is_object()) parts.push_back(part(item.get_object()));
  }
  return parts.empty() ? none : join(parts, ",");
}

std::string labels_text(const json::object& labels) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : labels) {
    if (value.is_string()) parts.push_back(std::string(name) + "=" + std::string(value.get_string()));
  }
  std::sort(parts.begin(), parts.end());
  return parts.empty() ? "<none>" : join(parts, ",");
}

std::string selector_text(const json::object& object) {
  const auto* selector = value_at(object, {"spec", "selector"});
  if (selector == nullptr) return "<none>";
  const auto parsed = kube::LabelSelector::from_object(*selector);
  return parsed ? text_or(parsed->text(), "<none>") : "<invalid>";
}

void containers(Cells& cells, const json::object& template_spec) {
  const auto& list = array_at(template_spec, {"containers"});
  cells.emplace_back(joined(list, [](const json::object& c) { return text_at(c, {"name"}); }, "<none>"));
  cells.emplace_back(joined(list, [](const json::object& c) { return text_at(c, {"image"}); }, "<none>"));
}

std::string out_of(std::int64_t a, std::int64_t b) { return std::to_string(a) + "/" + std::to_string(b); }

std::string external_ips(const json::object& service) {
  const auto type = text_at(service, {"spec", "type"});
  std::vector<std::string> ips;
  for (const auto& ip : array_at(service, {"spec", "externalIPs"})) {
    if (ip.is_string()) ips.emplace_back(ip.get_string());
  }
  if (type == "ExternalName") return text_at(service, {"spec", "externalName"});
  if (type == "LoadBalancer") {
    for (const auto& item : array_at(service, {"status", "loadBalancer", "ingress"})) {
      if (!item.is_object()) continue;
      const auto ip = text_at(item.get_object(), {"ip"});
      ips.push_back(ip.empty() ? text_at(item.get_object(), {"hostname"}) : ip);
    }
    return ips.empty() ? "<pending>" : join(ips, ",");
  }
  return ips.empty() ? "<none>" : join(ips, ",");
}

std::string service_ports(const json::object& service) {
  return joined(
      array_at(service, {"spec", "ports"}),
      [](const json::object& port) {
        auto text = std::to_string(number(port, {"port"}));
        if (const auto node_port = number(port, {"nodePort"}); node_port != 0) text += ":" + std::to_string(node_port);
        return text + "/" + text_or(text_at(port, {"protocol"}), "TCP");
      },
      "<none>");
}

std::string endpoint_addresses(const json::object& endpoints) {
  std::vector<std::string> parts;
  std::size_t more = 0;
  for (const auto& subset : array_at(endpoints, {"subsets"})) {
    if (!subset.is_object()) continue;
    for (const auto& address : array_at(subset.get_object(), {"addresses"})) {
      for (const auto& port : array_at(subset.get_object(), {"ports"})) {
        if (!address.is_object() || !port.is_object()) continue;
        if (parts.size() == 3) {
          ++more;
        } else {
          parts.push_back(text_at(address.get_object(), {"ip"}) + ":" +
                          std::to_string(number(port.get_object(), {"port"})));
        }
      }
    }
  }
  if (parts.empty()) return "<none>";
  return join(parts, ",") + (more > 0 ? " + " + std::to_string(more) + " more..." : "");
}

void slice_cells(Cells& cells, const json::object& slice, Time) {
  cells.emplace_back(text_at(slice, {"addressType"}));
  const auto& ports = array_at(slice, {"ports"});
  cells.emplace_back(
      joined(ports, [](const json::object& p) { return std::to_string(number(p, {"port"})); }, "<unset>"));
  std::vector<std::string> addresses;
  std::size_t count = 0;
  for (const auto& endpoint : array_at(slice, {"endpoints"})) {
    if (!endpoint.is_object()) continue;
    for (const auto& address : array_at(endpoint.get_object(), {"addresses"})) {
      if (++count <= 3 && address.is_string()) addresses.emplace_back(address.get_string());
    }
  }
  auto text = addresses.empty() ? "<unset>" : join(addresses, ",");
  if (count > 3) text += " + " + std::to_string(count - 3) + " more...";
  cells.emplace_back(text);
}

std::string node_status(const json::object& node) {
  const auto conditions = kube::conditions_of(node);
  const auto* ready = kube::find_condition(conditions, "Ready");
  std::string status = ready == nullptr ? "Unknown" : ready->status == "True" ? "Ready" : "NotReady";
  if (flag_at(node, {"spec", "unschedulable"})) status += ",SchedulingDisabled";
  return status;
}

std::string node_roles(const json::object& node) {
  std::vector<std::string> roles;
  constexpr std::string_view prefix = "node-role.kubernetes.io/";
  for (const auto& [name, value] : object_at(node, {"metadata", "labels"})) {
    const std::string_view text = name;
    if (text.starts_with(prefix)) roles.emplace_back(text.substr(prefix.size()));
  }
  std::sort(roles.begin(), roles.end());
  return roles.empty() ? "<none>" : join(roles, ",");
}

std::string node_address(const json::object& node, std::string_view type) {
  for (const auto& address : array_at(node, {"status", "addresses"})) {
    if (address.is_object() && text_at(address.get_object(), {"type"}) == type)
      return text_at(address.get_object(), {"address"});
  }
  return "<none>";
}

std::string job_status(const json::object& job) {
  const auto conditions = kube::conditions_of(job);
  const auto is = [&](std::string_view type) {
    const auto* c = kube::find_condition(conditions, type);
    return c != nullptr && c->status == "True";
  };
  if (is("Complete")) return "Complete";
  if (is("Failed")) return "Failed";
  if (kube::is_being_deleted(job)) return "Terminating";
  return is("Suspended") ? "Suspended" : "Running";
}

std::string job_duration(const json::object& job, Time now) {
  const auto start = parse_rfc3339(text_at(job, {"status", "startTime"}));
  if (!start) return "";
  const auto end = parse_rfc3339(text_at(job, {"status", "completionTime"}));
  return human_duration(end.value_or(now) - *start);
}

std::string metric_text(const json::object& hpa, const json::object& metric) {
  const auto name = text_at(metric, {"resource", "name"});
  std::string current = "<unknown>";
  const bool percent = text_at(metric, {"resource", "target", "type"}) == "Utilization";
  for (const auto& item : array_at(hpa, {"status", "currentMetrics"})) {
    if (!item.is_object() || text_at(item.get_object(), {"resource", "name"}) != name) continue;
    if (percent) {
      if (const auto value = integer_at(item.get_object(), {"resource", "current", "averageUtilization"})) {
        current = std::to_string(*value) + "%";
      }
    } else if (const auto value = text_at(item.get_object(), {"resource", "current", "averageValue"}); !value.empty()) {
      current = value;
    }
  }
  const auto target = percent ? std::to_string(number(metric, {"resource", "target", "averageUtilization"})) + "%"
                              : text_at(metric, {"resource", "target", "averageValue"});
  return name + ": " + current + "/" + target;
}

std::string int_or_text(const json::object& o, std::initializer_list<std::string_view> path, std::string none) {
  if (const auto n = integer_at(o, path)) return std::to_string(*n);
  return text_or(text_at(o, path), none);
}

std::string access_modes(const json::object& o, std::initializer_list<std::string_view> path) {
  std::vector<std::string> modes;
  for (const auto& mode : array_at(o, path)) {
    const auto text = mode.is_string() ? view(mode.get_string()) : "";
    modes.emplace_back(text == "ReadWriteOnce"      ? "RWO"
                       : text == "ReadOnlyMany"     ? "ROX"
                       : text == "ReadWriteMany"    ? "RWX"
                       : text == "ReadWriteOncePod" ? "RWOP"
                                                    : text);
  }
  return join(modes, ",");
}

std::string quota_text(const json::object& quota, bool limits) {
  std::vector<std::string> parts;
  for (const auto& [name, hard] : object_at(quota, {"status", "hard"})) {
    const std::string_view text = name;
    if (text.starts_with("limits.") != limits) continue;
    const auto used = text_at(quota, {"status", "used", text});
    parts.push_back(std::string(text) + ": " + text_or(used, "0") + "/" +
                    std::string(hard.is_string() ? hard.get_string() : ""));
  }
  return join(parts, ", ");
}

Printer binding_printer() {
  const auto subjects = [](const json::object& binding, std::string_view kind) {
    std::vector<std::string> names;
    for (const auto& s : array_at(binding, {"subjects"})) {
      if (!s.is_object() || text_at(s.get_object(), {"kind"}) != kind) continue;
      const auto ns = text_at(s.get_object(), {"namespace"});
      names.push_back((ns.empty() ? "" : ns + "/") + text_at(s.get_object(), {"name"}));
    }
    return join(names, ", ");
  };
  return {
      .columns = {{"Role"}},
      .cells = [](Cells& c, const json::object& o,
                  Time) { c.emplace_back(text_at(o, {"roleRef", "kind"}) + "/" + text_at(o, {"roleRef", "name"})); },
      .wide = {{"Users", "string", 1}, {"Groups", "string", 1}, {"ServiceAccounts", "string", 1}},
      .wide_cells =
          [subjects](Cells& c, const json::object& o, Time) {
            for (const auto* kind : {"User", "Group", "ServiceAccount"}) c.emplace_back(subjects(o, kind));
          }};
}

Printer workload_printer() {  // replica sets and replication controllers
  return {.columns = {{"Desired", "integer"}, {"Current", "integer"}, {"Ready", "integer"}},
          .cells =
              [](Cells& c, const json::object& o, Time) {
                c.emplace_back(number(o, {"spec", "replicas"}));
                c.emplace_back(number(o, {"status", "replicas"}));
                c.emplace_back(number(o, {"status", "readyReplicas"}));
              },
          .wide = {{"Containers", "string", 1}, {"Images", "string", 1}, {"Selector", "string", 1}},
          .wide_cells =
              [](Cells& c, const json::object& o, Time) {
                containers(c, object_at(o, {"spec", "template", "spec"}));
                c.emplace_back(o.at("kind") == "ReplicaSet" ? selector_text(o)
                                                            : labels_text(object_at(o, {"spec", "selector"})));
              }};
}

std::map<const kube::Resource*, Printer> make_printers() {
  std::map<const kube::Resource*, Printer> p;
  p[&res::namespaces] = {.columns = {{"Status"}}, .cells = [](Cells& c, const json::object& o, Time) {
                           c.emplace_back(text_at(o, {"status", "phase"}));
                         }};
  p[&res::nodes] = {
      .columns = {{"Status"}, {"Roles"}},
      .cells =
          [](Cells& c, const json::object& o, Time) {
            c.emplace_back(node_status(o));
            c.emplace_back(node_roles(o));
          },
      .wide = {{"Version"},
               {"Internal-IP", "string", 1},
               {"External-IP", "string", 1},
               {"OS-Image", "string", 1},
               {"Kernel-Version", "string", 1},
               {"Container-Runtime", "string", 1}},
      .wide_cells =
          [](Cells& c, const json::object& o, Time) {
            c.emplace_back(text_at(o, {"status", "nodeInfo", "kubeletVersion"}));
            c.emplace_back(node_address(o, "InternalIP"));
            c.emplace_back(node_address(o, "ExternalIP"));
            c.emplace_back(text_or(text_at(o, {"status", "nodeInfo", "osImage"}), "<unknown>"));
            c.emplace_back(text_or(text_at(o, {"status", "nodeInfo", "kernelVersion"}), "<unknown>"));
            c.emplace_back(text_or(text_at(o, {"status", "nodeInfo", "containerRuntimeVersion"}), "<unknown>"));
          }};
  p[&res::pods] = {.columns = {{"Ready"}, {"Status"}, {"Restarts"}},
                   .cells =
                       [](Cells& c, const json::object& o, Time now) {
                         const auto summary = pod_summary(o, now);
                         c.emplace_back(summary.ready);
                         c.emplace_back(summary.status);
                         c.emplace_back(summary.restarts);
                       },
                   .wide = {{"IP", "string", 1},
                            {"Node", "string", 1},
                            {"Nominated Node", "string", 1},
                            {"Readiness Gates", "string", 1}},
                   .wide_cells =
                       [](Cells& c, const json::object& o, Time) {
                         c.emplace_back(text_or(text_at(o, {"status", "podIP"}), "<none>"));
                         c.emplace_back(text_or(text_at(o, {"spec", "nodeName"}), "<none>"));
                         c.emplace_back("<none>");
                         c.emplace_back("<none>");
                       }};
  p[&res::services] = {.columns = {{"Type"}, {"Cluster-IP"}, {"External-IP"}, {"Port(s)"}},
                       .cells =
                           [](Cells& c, const json::object& o, Time) {
                             c.emplace_back(text_or(text_at(o, {"spec", "type"}), "ClusterIP"));
                             c.emplace_back(text_or(text_at(o, {"spec", "clusterIP"}), "<none>"));
                             c.emplace_back(external_ips(o));
                             c.emplace_back(service_ports(o));
                           },
                       .wide = {{"Selector", "string", 1}},
                       .wide_cells = [](Cells& c, const json::object& o,
                                        Time) { c.emplace_back(labels_text(object_at(o, {"spec", "selector"}))); }};
  p[&res::endpoints] = {.columns = {{"Endpoints"}},
                        .cells = [](Cells& c, const json::object& o, Time) { c.emplace_back(endpoint_addresses(o)); }};
  p[&res::secrets] = {.columns = {{"Type"}, {"Data", "integer"}}, .cells = [](Cells& c, const json::object& o, Time) {
                        c.emplace_back(text_at(o, {"type"}));
                        c.emplace_back(static_cast<std::int64_t>(object_at(o, {"data"}).size()));
                      }};
  p[&res::config_maps] = {
      .columns = {{"Data", "integer"}}, .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(static_cast<std::int64_t>(object_at(o, {"data"}).size() + object_at(o, {"binaryData"}).size()));
      }};
  p[&res::service_accounts] = {.columns = {{"Secrets", "integer"}}, .cells = [](Cells& c, const json::object& o, Time) {
                                 c.emplace_back(static_cast<std::int64_t>(array_at(o, {"secrets"}).size()));
                               }};
  p[&res::persistent_volumes] = {
      .columns =
          {{"Capacity"}, {"Access Modes"}, {"Reclaim Policy"}, {"Status"}, {"Claim"}, {"StorageClass"}, {"Reason"}},
      .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(text_at(o, {"spec", "capacity", "storage"}));
        c.emplace_back(access_modes(o, {"spec", "accessModes"}));
        c.emplace_back(text_at(o, {"spec", "persistentVolumeReclaimPolicy"}));
        c.emplace_back(kube::is_being_deleted(o) ? "Terminating" : text_at(o, {"status", "phase"}));
        const auto claim = text_at(o, {"spec", "claimRef", "name"});
        c.emplace_back(claim.empty() ? "" : text_at(o, {"spec", "claimRef", "namespace"}) + "/" + claim);
        c.emplace_back(text_at(o, {"spec", "storageClassName"}));
        c.emplace_back(text_at(o, {"status", "reason"}));
      }};
  p[&res::persistent_volume_claims] = {
      .columns = {{"Status"}, {"Volume"}, {"Capacity"}, {"Access Modes"}, {"StorageClass"}},
      .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(kube::is_being_deleted(o) ? "Terminating" : text_at(o, {"status", "phase"}));
        c.emplace_back(text_at(o, {"spec", "volumeName"}));
        c.emplace_back(text_at(o, {"status", "capacity", "storage"}));
        c.emplace_back(access_modes(o, {"status", "accessModes"}));
        c.emplace_back(text_at(o, {"spec", "storageClassName"}));
      }};
  p[&res::resource_quotas] = {.columns = {},
                              .cells = {},
                              .wide = {{"Request"}, {"Limit"}},
                              .wide_cells = [](Cells& c, const json::object& o, Time) {
                                c.emplace_back(quota_text(o, false));
                                c.emplace_back(quota_text(o, true));
                              }};
  p[&res::limit_ranges] = {.columns = {{"Created At"}},
                           .cells = [](Cells& c, const json::object& o,
                                       Time) { c.emplace_back(text_at(o, {"metadata", "creationTimestamp"})); },
                           .age = false};
  p[&res::replica_sets] = workload_printer();
  p[&res::replication_controllers] = workload_printer();
  p[&res::deployments] = {
      .columns = {{"Ready"}, {"Up-to-date", "integer"}, {"Available", "integer"}},
      .cells =
          [](Cells& c, const json::object& o, Time) {
            c.emplace_back(out_of(number(o, {"status", "readyReplicas"}), number(o, {"spec", "replicas"})));
            c.emplace_back(number(o, {"status", "updatedReplicas"}));
            c.emplace_back(number(o, {"status", "availableReplicas"}));
          },
      .wide = {{"Containers", "string", 1}, {"Images", "string", 1}, {"Selector", "string", 1}},
      .wide_cells =
          [](Cells& c, const json::object& o, Time) {
            containers(c, object_at(o, {"spec", "template", "spec"}));
            c.emplace_back(selector_text(o));
          }};
  p[&res::daemon_sets] = {.columns = {{"Desired", "integer"},
                                      {"Current", "integer"},
                                      {"Ready", "integer"},
                                      {"Up-to-date", "integer"},
                                      {"Available", "integer"},
                                      {"Node Selector"}},
                          .cells =
                              [](Cells& c, const json::object& o, Time) {
                                c.emplace_back(number(o, {"status", "desiredNumberScheduled"}));
                                c.emplace_back(number(o, {"status", "currentNumberScheduled"}));
                                c.emplace_back(number(o, {"status", "numberReady"}));
                                c.emplace_back(number(o, {"status", "updatedNumberScheduled"}));
                                c.emplace_back(number(o, {"status", "numberAvailable"}));
                                c.emplace_back(labels_text(object_at(o, {"spec", "template", "spec", "nodeSelector"})));
                              },
                          .wide = {{"Containers", "string", 1}, {"Images", "string", 1}, {"Selector", "string", 1}},
                          .wide_cells =
                              [](Cells& c, const json::object& o, Time) {
                                containers(c, object_at(o, {"spec", "template", "spec"}));
                                c.emplace_back(selector_text(o));
                              }};
  p[&res::stateful_sets] = {
      .columns = {{"Ready"}}, .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(out_of(number(o, {"status", "readyReplicas"}), number(o, {"spec", "replicas"})));
      }};
  p[&res::controller_revisions] = {
      .columns = {{"Controller"}, {"Revision", "integer"}}, .cells = [](Cells& c, const json::object& o, Time) {
        const auto meta = kube::meta_of(o);
        const auto* owner = meta.controller();
        c.emplace_back(owner == nullptr ? "<none>" : lower(owner->kind) + "/" + owner->name);
        c.emplace_back(number(o, {"revision"}));
      }};
  p[&res::jobs] = {.columns = {{"Status"}, {"Completions"}, {"Duration"}},
                   .cells =
                       [](Cells& c, const json::object& o, Time now) {
                         c.emplace_back(job_status(o));
                         const auto completions = integer_at(o, {"spec", "completions"});
                         const auto parallelism = integer_at(o, {"spec", "parallelism"}).value_or(1);
                         c.emplace_back(completions       ? out_of(number(o, {"status", "succeeded"}), *completions)
                                        : parallelism > 1 ? std::to_string(number(o, {"status", "succeeded"})) +
                                                                "/1 of " + std::to_string(parallelism)
                                                          : out_of(number(o, {"status", "succeeded"}), 1));
                         c.emplace_back(job_duration(o, now));
                       },
                   .wide = {{"Containers", "string", 1}, {"Images", "string", 1}, {"Selector", "string", 1}},
                   .wide_cells =
                       [](Cells& c, const json::object& o, Time) {
                         containers(c, object_at(o, {"spec", "template", "spec"}));
                         c.emplace_back(selector_text(o));
                       }};
  p[&res::cron_jobs] = {
      .columns = {{"Schedule"}, {"Timezone"}, {"Suspend", "boolean"}, {"Active", "integer"}, {"Last Schedule"}},
      .cells = [](Cells& c, const json::object& o, Time now) {
        c.emplace_back(text_at(o, {"spec", "schedule"}));
        c.emplace_back(text_or(text_at(o, {"spec", "timeZone"}), "<none>"));
        c.emplace_back(flag_at(o, {"spec", "suspend"}) ? "True" : "False");
        c.emplace_back(static_cast<std::int64_t>(array_at(o, {"status", "active"}).size()));
        c.emplace_back(text_at(o, {"status", "lastScheduleTime"}).empty()
                           ? "<none>"
                           : age(o, {"status", "lastScheduleTime"}, now));
      }};
  p[&res::horizontal_pod_autoscalers] = {
      .columns = {{"Reference"}, {"Targets"}, {"MinPods"}, {"MaxPods", "integer"}, {"Replicas", "integer"}},
      .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(text_at(o, {"spec", "scaleTargetRef", "kind"}) + "/" +
                       text_at(o, {"spec", "scaleTargetRef", "name"}));
        const auto as_v2 = text_at(o, {"apiVersion"}) == "autoscaling/v2";
        std::vector<std::string> targets;
        for (const auto& metric : array_at(o, {"spec", "metrics"})) {
          if (metric.is_object()) targets.push_back(metric_text(o, metric.get_object()));
        }
        if (const auto percent = integer_at(o, {"spec", "targetCPUUtilizationPercentage"}); !as_v2 && percent) {
          const auto current = integer_at(o, {"status", "currentCPUUtilizationPercentage"});
          targets.push_back("cpu: " + (current ? std::to_string(*current) + "%" : "<unknown>") + "/" +
                            std::to_string(*percent) + "%");
        }
        c.emplace_back(targets.empty() ? "<none>" : join(targets, ", "));
        c.emplace_back(int_or_text(o, {"spec", "minReplicas"}, "<unset>"));
        c.emplace_back(number(o, {"spec", "maxReplicas"}));
        c.emplace_back(number(o, {"status", "currentReplicas"}));
      }};
  p[&res::endpoint_slices] = {.columns = {{"AddressType"}, {"Ports"}, {"Endpoints"}}, .cells = slice_cells};
  p[&res::ingresses] = {
      .columns = {{"Class"}, {"Hosts"}, {"Address"}, {"Ports"}}, .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(text_or(text_at(o, {"spec", "ingressClassName"}), "<none>"));
        c.emplace_back(joined(
            array_at(o, {"spec", "rules"}), [](const json::object& r) { return text_or(text_at(r, {"host"}), "*"); },
            "*"));
        c.emplace_back(joined(
            array_at(o, {"status", "loadBalancer", "ingress"}),
            [](const json::object& i) { return text_or(text_at(i, {"ip"}), text_at(i, {"hostname"})); }, ""));
        c.emplace_back(array_at(o, {"spec", "tls"}).empty() ? "80" : "80, 443");
      }};
  p[&res::network_policies] = {.columns = {{"Pod-Selector"}}, .cells = [](Cells& c, const json::object& o, Time) {
                                 const auto* selector = value_at(o, {"spec", "podSelector"});
                                 const auto parsed =
                                     selector == nullptr ? std::nullopt : kube::LabelSelector::from_object(*selector);
                                 c.emplace_back(parsed ? text_or(parsed->text(), "<none>") : "<none>");
                               }};
  p[&res::pod_disruption_budgets] = {
      .columns = {{"Min Available"}, {"Max Unavailable"}, {"Allowed Disruptions", "integer"}},
      .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(int_or_text(o, {"spec", "minAvailable"}, "N/A"));
        c.emplace_back(int_or_text(o, {"spec", "maxUnavailable"}, "N/A"));
        c.emplace_back(number(o, {"status", "disruptionsAllowed"}));
      }};
  p[&res::leases] = {.columns = {{"Holder"}}, .cells = [](Cells& c, const json::object& o, Time) {
                       c.emplace_back(text_at(o, {"spec", "holderIdentity"}));
                     }};
  for (const auto* r : {&res::roles, &res::cluster_roles}) {
    p[r] = {.columns = {{"Created At"}},
            .cells = [](Cells& c, const json::object& o,
                        Time) { c.emplace_back(text_at(o, {"metadata", "creationTimestamp"})); },
            .age = false};
  }
  p[&res::role_bindings] = binding_printer();
  p[&res::cluster_role_bindings] = binding_printer();
  p[&res::storage_classes] = {
      .columns = {{"Provisioner"}, {"ReclaimPolicy"}, {"VolumeBindingMode"}, {"AllowVolumeExpansion"}},
      .cells = [](Cells& c, const json::object& o, Time) {
        c.emplace_back(text_at(o, {"provisioner"}));
        c.emplace_back(text_or(text_at(o, {"reclaimPolicy"}), "Delete"));
        c.emplace_back(text_or(text_at(o, {"volumeBindingMode"}), "Immediate"));
        c.emplace_back(flag_at(o, {"allowVolumeExpansion"}) ? "true" : "false");
      }};
  p[&res::priority_classes] = {.columns = {{"Value", "integer"}, {"Global-Default", "boolean"}},
                               .cells = [](Cells& c, const json::object& o, Time) {
                                 c.emplace_back(number(o, {"value"}));
                                 c.emplace_back(flag_at(o, {"globalDefault"}) ? "true" : "false");
                               }};
  return p;
}

const Printer& printer_of(const ResourceType& type) {
  static const auto printers = make_printers();
  static const Printer plain;
  const auto found = printers.find(type.stored);
  return found == printers.end() ? plain : found->second;
}

// Events lead with the time, not with their name.
void event_cells(Cells& c, const json::object& event, Time now) {
  const auto e = kube::event_of(event);
  const auto last = e.last ? human_duration(now - *e.last) : "<unknown>";
  c.emplace_back(last);
  c.emplace_back(e.type);
  c.emplace_back(e.reason);
  c.emplace_back(lower(e.kind) + "/" + e.name);
  c.emplace_back(e.message);
  c.emplace_back(kube::name_of(event));
}
const std::vector<Column>& event_columns() {
  static const std::vector<Column> columns{{"Last Seen"}, {"Type"},    {"Reason"},
                                           {"Object"},    {"Message"}, {"Name", "string", 1}};
  return columns;
}

std::vector<Column> columns_of(const ResourceType& type) {
  if (type.stored == &res::events) return event_columns();
  const auto& printer = printer_of(type);
  std::vector<Column> columns{{"Name"}};
  columns.insert(columns.end(), printer.columns.begin(), printer.columns.end());
  // Two types print their last ordinary column after the age, or before it.
  std::vector<Column> wide = printer.wide;
  if (printer.age) columns.push_back({"Age"});
  columns.insert(columns.end(), wide.begin(), wide.end());
  return columns;
}

Cells row_of(const ResourceType& type, const json::object& object, Time now) {
  Cells cells;
  if (type.stored == &res::events) {
    event_cells(cells, object, now);
    return cells;
  }
  const auto& printer = printer_of(type);
  cells.emplace_back(kube::name_of(object));
  if (printer.cells) printer.cells(cells, object, now);
  if (printer.age) cells.emplace_back(age(object, {"metadata", "creationTimestamp"}, now));
  if (printer.wide_cells) printer.wide_cells(cells, object, now);
  return cells;
}

}  // namespace

std::string human_duration(std::chrono::nanoseconds time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  const auto unit = [](std::int64_t n, const char* name) { return std::to_string(n) + name; };
  const auto two = [&](std::int64_t a, const char* an, std::int64_t b, const char* bn) {
    return b == 0 ? unit(a, an) : unit(a, an) + unit(b, bn);
  };
  const auto minutes = seconds / 60, hours = seconds / 3600, days = hours / 24, years = days / 365;
  if (seconds < 120) return unit(seconds, "s");
  if (minutes < 10) return two(minutes, "m", seconds % 60, "s");
  if (minutes < 180) return unit(minutes, "m");
  if (hours < 8) return two(hours, "h", minutes % 60, "m");
  if (hours < 48) return unit(hours, "h");
  if (days < 8) return two(days, "d", hours % 24, "h");
  if (days < 365 * 2) return unit(days, "d");
  if (days < 365 * 8) return two(years, "y", days % 365, "d");
  return unit(years, "y");
}

TableOptions table_options(const Call& call, const std::string& meta_version) {
  const auto include = call.option("includeObject");
  return {.now = call.api.clock.now(),
          .meta_version = meta_version,
          .include = include == "Object" ? IncludeObject::whole
                     : include == "None" ? IncludeObject::none
                                         : IncludeObject::metadata};
}

json::object metadata_of(const json::object& object, const std::string& meta_version) {
  return {{"kind", "PartialObjectMetadata"},
          {"apiVersion", "meta.k8s.io/" + meta_version},
          {"metadata", object_at(object, {"metadata"})}};
}

json::object table_row(const ResourceType& type, const json::object& object, const TableOptions& options) {
  json::object row{{"cells", row_of(type, object, options.now)}};
  if (options.include == IncludeObject::whole) row["object"] = object;
  if (options.include == IncludeObject::metadata) row["object"] = metadata_of(object, options.meta_version);
  return row;
}

json::object table_head(const ResourceType& type, const TableOptions& options) {
  json::object metadata{{"resourceVersion", options.resource_version}};
  if (!options.continue_token.empty()) metadata["continue"] = options.continue_token;
  json::object table{
      {"kind", "Table"}, {"apiVersion", "meta.k8s.io/" + options.meta_version}, {"metadata", std::move(metadata)}};
  auto& definitions = table["columnDefinitions"];
  if (!options.with_columns) return table;
  definitions = json::array();
  for (const auto& column : columns_of(type)) {
    definitions.get_array().push_back(json::object{{"name", column.name},
                                                   {"type", column.type},
                                                   {"format", column.name == "Name" ? "name" : ""},
                                                   {"description", ""},
                                                   {"priority", column.priority}});
  }
  return table;
}

json::object table_of(const ResourceType& type, const json::object& object, const TableOptions& options) {
  auto head = options;
  head.resource_version = text_at(object, {"metadata", "resourceVersion"});
  auto table = table_head(type, head);
  table["rows"] = json::array{table_row(type, object, options)};
  return table;
}

std::vector<std::string> cells_of(const ResourceType& type, const json::object& object, Time now) {
  std::vector<std::string> texts;
  for (const auto& cell : row_of(type, object, now)) {
    texts.push_back(cell.is_string() ? std::string(cell.get_string()) : json::serialize(cell));
  }
  return texts;
}

}  // namespace workflow::engine
