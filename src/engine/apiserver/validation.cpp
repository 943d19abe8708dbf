// What may be stored, as kubernetes/pkg/apis/*/validation refuses it. Pods are in pod_validation.cpp.
#include <algorithm>
#include <set>

#include "engine/apiserver/admission.h"
#include "engine/apiserver/decode.h"
#include "engine/apiserver/limits.h"
#include "engine/apiserver/pod_validation.h"
#include "engine/cron_schedule.h"
#include "engine/fields.h"
#include "lib/base/text.h"
#include "lib/base/time_zone.h"
#include "lib/kube/names.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

namespace res = kube::resources;
using Problems = std::vector<FieldProblem>;
constexpr std::size_t largest_annotations = 256u << 10, largest_data = 1u << 20;

// --- metadata

enum class NameRule { subdomain, label, service, path };
NameRule name_rule(const kube::Resource& r) {
  if (&r == &res::namespaces) return NameRule::label;
  if (&r == &res::services) return NameRule::service;
  if (r.group == "rbac.authorization.k8s.io") return NameRule::path;
  return NameRule::subdomain;
}

void check_name(const kube::Resource& r, const json::object& object, Problems& problems) {
  const auto name = kube::name_of(object);
  const auto prefix = text_at(object, {"metadata", "generateName"});
  if (name.empty() && prefix.empty()) {
    problems.push_back(required_field("metadata.name", "name or generateName is required"));
    return;
  }
  // A generated name gets letters behind the prefix, so a hyphen may end it.
  const auto checked = name.empty() ? prefix + "a" : name;
  const auto* field = name.empty() ? "metadata.generateName" : "metadata.name";
  const auto refuse = [&](std::string_view why) {
    problems.push_back(invalid_field(field, json::value(name.empty() ? prefix : name), std::string(why)));
  };
  switch (name_rule(r)) {
    case NameRule::subdomain:
      if (!kube::is_dns_subdomain(checked)) refuse(kube::dns_subdomain_rule);
      break;
    case NameRule::label:
      if (!kube::is_dns_label(checked)) refuse(kube::dns_label_rule);
      break;
    case NameRule::service:
      if (!kube::is_service_name(checked)) refuse(kube::service_name_rule);
      break;
    case NameRule::path:
      if (checked == "." || checked == ".." || checked.find_first_of("/%") != std::string::npos) {
        refuse("may not be '.' or '..', nor contain '/' or '%'");
      }
      break;
  }
}

void check_metadata(const kube::Resource& r, const json::object& object, const json::object* before,
                    Problems& problems) {
  if (before == nullptr) check_name(r, object, problems);
  check_labels(object_at(object, {"metadata", "labels"}), "metadata.labels", problems);
  std::size_t size = 0;
  for (const auto& [name, value] : object_at(object, {"metadata", "annotations"})) {
    size += name.size() + (value.is_string() ? value.get_string().size() : 0);
    if (!kube::is_label_key(lower(name))) {
      problems.push_back(invalid_field("metadata.annotations", json::value(name), std::string(kube::label_key_rule)));
    }
  }
  if (size > largest_annotations) {
    problems.push_back({"FieldValueTooLong", "metadata.annotations", "Too long: may not be more than 262144 bytes"});
  }
  for (const auto& finalizer : array_at(object, {"metadata", "finalizers"})) {
    const auto text = finalizer.is_string() ? view(finalizer.get_string()) : std::string_view();
    const bool known = text == "foregroundDeletion" || text == "orphan";
    if (!kube::is_label_key(text) || (!known && text.find('/') == std::string_view::npos)) {
      problems.push_back(invalid_field("metadata.finalizers", finalizer,
                                       "name is neither a standard finalizer name nor is it "
                                       "fully qualified"));
    }
  }
  std::size_t i = 0;
  for (const auto& owner : array_at(object, {"metadata", "ownerReferences"})) {
    const auto field = "metadata.ownerReferences[" + std::to_string(i++) + "].";
    for (const auto* name : {"apiVersion", "kind", "name", "uid"}) {
      if (owner.is_object() && text_at(owner.get_object(), {name}).empty()) {
        problems.push_back(required_field(field + name, "must not be empty"));
      }
    }
  }
}

void immutable(const json::object& object, const json::object* before, std::initializer_list<std::string_view> path,
               std::string field, Problems& problems) {
  if (before == nullptr) return;
  const auto *now = value_at(object, path), *then = value_at(*before, path);
  const bool same = now == nullptr || then == nullptr ? now == then : *now == *then;
  if (!same)
    problems.push_back(invalid_field(std::move(field), now == nullptr ? json::value() : *now, "field is immutable"));
}

// --- workloads

void check_replicas(const json::object& spec, Problems& problems) {
  for (const auto* field : {"replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"}) {
    const auto number = integer_at(spec, {field});
    if (number && *number < 0) {
      problems.push_back(invalid_field("spec." + std::string(field), *number, "must be greater than or equal to 0"));
    }
  }
}

// The selector, and that it selects what the template makes.
void check_selector(const json::object& object, const json::object* before, Problems& problems) {
  const auto* selector = value_at(object, {"spec", "selector"});
  if (selector == nullptr) {
    problems.push_back(required_field("spec.selector"));
    return;
  }
  const auto parsed = kube::LabelSelector::from_object(*selector);
  if (!parsed) {
    problems.push_back(invalid_field("spec.selector", *selector, "must be a valid label selector"));
  } else if (parsed->empty()) {
    problems.push_back(
        invalid_field("spec.selector", *selector, "empty selector is invalid for " + lower(text_at(object, {"kind"}))));
  } else if (!parsed->matches(value_at(object, {"spec", "template", "metadata", "labels"}))) {
    problems.push_back(invalid_field("spec.template.metadata.labels",
                                     object_at(object, {"spec", "template", "metadata", "labels"}),
                                     "`selector` does not match template `labels`"));
  }
  immutable(object, before, {"spec", "selector"}, "spec.selector", problems);
}

void check_template(const json::object& spec, std::vector<std::string> policies, const std::string& path,
                    Problems& problems) {
  if (value_at(spec, {"template"}) == nullptr) {
    problems.push_back(required_field(path));
    return;
  }
  check_labels(object_at(spec, {"template", "metadata", "labels"}), path + ".metadata.labels", problems);
  check_pod_spec(object_at(spec, {"template", "spec"}), path + ".spec", problems);
  const auto policy = text_at(spec, {"template", "spec", "restartPolicy"});
  if (std::find(policies.begin(), policies.end(), policy) == policies.end()) {
    problems.push_back(unsupported_value(path + ".spec.restartPolicy", json::value(policy), policies));
  }
}

bool is_zero(const json::value* value) { return value == nullptr || *value == 0 || *value == "0%" || *value == "0"; }

void check_share(const json::object& rolling, std::string_view name, const std::string& path, Problems& problems) {
  const auto* value = value_at(rolling, {name});
  if (value == nullptr) return;
  const auto field = path + "." + std::string(name);
  if (value->is_string()) {
    const auto text = view(value->get_string());
    const auto number = text.ends_with('%') ? parse_integer(text.substr(0, text.size() - 1)) : std::nullopt;
    if (!number || *number < 0) {
      problems.push_back(
          invalid_field(field, *value, "a valid percent string must be a numeric string followed by an ending '%'"));
    } else if (name == "maxUnavailable" && *number > 100) {
      problems.push_back(invalid_field(field, *value, "must not be greater than 100%"));
    }
  } else if (value->is_int64() && value->get_int64() < 0) {
    problems.push_back(invalid_field(field, *value, "must be greater than or equal to 0"));
  }
}

void check_deployment(const json::object& o, const json::object* before, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  check_replicas(spec, problems);
  check_selector(o, before, problems);
  check_template(spec, {"Always"}, "spec.template", problems);
  const auto type = text_at(spec, {"strategy", "type"});
  if (type == "RollingUpdate") {
    const auto& rolling = object_at(spec, {"strategy", "rollingUpdate"});
    for (const auto* name : {"maxSurge", "maxUnavailable"})
      check_share(rolling, name, "spec.strategy.rollingUpdate", problems);
    if (is_zero(value_at(rolling, {"maxSurge"})) && is_zero(value_at(rolling, {"maxUnavailable"}))) {
      problems.push_back(
          invalid_field("spec.strategy.rollingUpdate.maxUnavailable", 0, "may not be 0 when `maxSurge` is 0"));
    }
  } else if (type == "Recreate") {
    if (value_at(spec, {"strategy", "rollingUpdate"}) != nullptr) {
      problems.push_back(
          forbidden_field("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'"));
    }
  } else {
    problems.push_back(unsupported_value("spec.strategy.type", json::value(type), {"Recreate", "RollingUpdate"}));
  }
  const auto deadline = integer_at(spec, {"progressDeadlineSeconds"}), ready = integer_at(spec, {"minReadySeconds"});
  if (deadline && *deadline <= ready.value_or(0)) {
    problems.push_back(
        invalid_field("spec.progressDeadlineSeconds", *deadline, "must be greater than minReadySeconds"));
  }
}

void check_replica_set(const json::object& o, const json::object* before, Problems& problems) {
  check_replicas(object_at(o, {"spec"}), problems);
  check_selector(o, before, problems);
  check_template(object_at(o, {"spec"}), {"Always"}, "spec.template", problems);
}

void check_daemon_set(const json::object& o, const json::object* before, Problems& problems) {
  check_replica_set(o, before, problems);
  const auto type = text_at(o, {"spec", "updateStrategy", "type"});
  if (type != "RollingUpdate" && type != "OnDelete") {
    problems.push_back(unsupported_value("spec.updateStrategy.type", json::value(type), {"RollingUpdate", "OnDelete"}));
  }
}

// Each index is the name of a host, and is kept in the status.
void check_indexed_job(const json::object& o, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  const auto mode = text_at(spec, {"completionMode"});
  if (mode.empty() || mode == "NonIndexed") return;
  if (mode != "Indexed") {
    problems.push_back(unsupported_value("spec.completionMode", json::value(mode), {"NonIndexed", "Indexed"}));
    return;
  }
  constexpr std::int64_t most = 100'000;
  const auto completions = integer_at(spec, {"completions"});
  if (!completions) {
    problems.push_back(required_field("spec.completions", "when completion mode is Indexed"));
  } else if (*completions > most) {
    problems.push_back(invalid_field("spec.completions", *completions, "must be less than or equal to 100000"));
  } else if (const auto host = kube::name_of(o) + "-" + std::to_string(*completions - 1);
             *completions > 0 && !kube::name_of(o).empty() && !kube::is_dns_label(host)) {
    problems.push_back(invalid_field("metadata.name", json::value(kube::name_of(o)),
                                     "will not able to create pod with invalid DNS label: " + host));
  }
}

void check_failure_policy(const json::object& spec, Problems& problems) {
  if (value_at(spec, {"podFailurePolicy"}) == nullptr) return;
  constexpr std::size_t most_rules = 20;
  if (text_at(spec, {"template", "spec", "restartPolicy"}) != "Never") {
    problems.push_back(invalid_field("spec.template.spec.restartPolicy",
                                     value_at(spec, {"template"}) == nullptr
                                         ? json::value()
                                         : json::value(text_at(spec, {"template", "spec", "restartPolicy"})),
                                     "only \"Never\" is supported when podFailurePolicy is specified"));
  }
  const auto& rules = array_at(spec, {"podFailurePolicy", "rules"});
  if (rules.size() > most_rules)
    problems.push_back({"FieldValueTooMany", "spec.podFailurePolicy.rules", "Too many: must have at most 20 items"});
  std::size_t i = 0;
  for (const auto& item : rules) {
    const auto path = "spec.podFailurePolicy.rules[" + std::to_string(i++) + "]";
    if (!item.is_object()) continue;
    const auto& rule = item.get_object();
    const auto action = text_at(rule, {"action"});
    if (action != "FailJob" && action != "Ignore" && action != "Count")
      problems.push_back(unsupported_value(path + ".action", json::value(action), {"Count", "FailJob", "Ignore"}));
    const bool by_code = rule.contains("onExitCodes"), by_condition = !array_at(rule, {"onPodConditions"}).empty();
    if (by_code == by_condition)
      problems.push_back(invalid_field(path, item, "specifying one of OnExitCodes and OnPodConditions is required"));
    if (!by_code) continue;
    const auto how = text_at(rule, {"onExitCodes", "operator"});
    if (how != "In" && how != "NotIn")
      problems.push_back(unsupported_value(path + ".onExitCodes.operator", json::value(how), {"In", "NotIn"}));
    if (array_at(rule, {"onExitCodes", "values"}).empty())
      problems.push_back(required_field(path + ".onExitCodes.values", "at least one value is required"));
  }
}

void check_job(const json::object& o, const json::object* before, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  for (const auto* field :
       {"parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"}) {
    const auto number = integer_at(spec, {field});
    if (number && *number < 0) {
      problems.push_back(invalid_field("spec." + std::string(field), *number, "must be greater than or equal to 0"));
    }
  }
  check_template(spec, {"OnFailure", "Never"}, "spec.template", problems);
  check_indexed_job(o, problems);
  check_failure_policy(spec, problems);
  for (const auto* field : {"successPolicy", "backoffLimitPerIndex", "maxFailedIndexes", "managedBy"}) {
    if (spec.contains(field)) {
      problems.push_back(forbidden_field("spec." + std::string(field), "this engine's Jobs do not know it"));
    }
  }
  immutable(o, before, {"spec", "selector"}, "spec.selector", problems);
  // An Indexed Job may grow and shrink as a whole.
  const bool elastic = text_at(spec, {"completionMode"}) == "Indexed" && value_at(spec, {"completions"}) != nullptr &&
                       integer_at(spec, {"completions"}) == integer_at(spec, {"parallelism"});
  if (!elastic) immutable(o, before, {"spec", "completions"}, "spec.completions", problems);
  for (const auto* field : {"completionMode", "podFailurePolicy"})
    immutable(o, before, {"spec", field}, "spec." + std::string(field), problems);
  immutable(o, before, {"spec", "template"}, "spec.template", problems);
}

void check_schedule(const json::object& spec, Problems& problems) {
  const auto schedule = text_at(spec, {"schedule"});
  const auto refuse = [&](std::string why) {
    problems.push_back(invalid_field("spec.schedule", json::value(schedule), std::move(why)));
  };
  if (schedule.empty()) {
    problems.push_back(required_field("spec.schedule"));
  } else if (schedule.contains("TZ")) {
    refuse("cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
  } else if (const auto parsed = CronSchedule::parse(schedule); !parsed) {
    refuse(parsed.error());
  }
}

// A zone that the object has had all along stays, should tzdata lose it.
void check_time_zone(const json::object& spec, const json::object* before, Problems& problems) {
  if (!spec.contains("timeZone")) return;
  const auto zone = text_at(spec, {"timeZone"});
  if (before != nullptr && text_at(*before, {"spec", "timeZone"}) == zone) return;
  const auto refuse = [&](std::string why) {
    problems.push_back(invalid_field("spec.timeZone", json::value(zone), std::move(why)));
  };
  if (zone.empty()) {
    refuse("timeZone must be nil or non-empty string");
  } else if (equal_ignoring_case(zone, "Local")) {
    refuse("timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
  } else if (!find_time_zone(zone)) {
    refuse("unknown time zone " + zone);
  }
}

void check_cron_job(const json::object& o, const json::object* before, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  // Its Jobs are called like it, with a number behind.
  constexpr std::size_t longest_name = 52;
  if (const auto name = kube::name_of(o); before == nullptr && name.size() > longest_name) {
    problems.push_back(invalid_field("metadata.name", json::value(name), "must be no more than 52 characters"));
  }
  check_schedule(spec, problems);
  for (const auto* field : {"startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"}) {
    const auto number = integer_at(spec, {field});
    if (number && *number < 0) {
      problems.push_back(invalid_field("spec." + std::string(field), *number, "must be greater than or equal to 0"));
    }
  }
  check_time_zone(spec, before, problems);
  const auto policy = text_at(spec, {"concurrencyPolicy"});
  if (policy != "Allow" && policy != "Forbid" && policy != "Replace") {
    problems.push_back(
        unsupported_value("spec.concurrencyPolicy", json::value(policy), {"Allow", "Forbid", "Replace"}));
  }
  check_template(object_at(spec, {"jobTemplate", "spec"}), {"OnFailure", "Never"}, "spec.jobTemplate.spec.template",
                 problems);
}

// --- Services

void check_service_port(const json::object& port, const std::string& path, bool named, std::set<std::string>& names,
                        std::set<std::pair<std::string, std::int64_t>>& numbers, Problems& problems) {
  const auto name = text_at(port, {"name"}), protocol = text_at(port, {"protocol"});
  if (name.empty()) {
    if (named) problems.push_back(required_field(path + ".name"));
  } else if (!kube::is_dns_label(name)) {
    problems.push_back(invalid_field(path + ".name", json::value(name), std::string(kube::dns_label_rule)));
  } else if (!names.insert(name).second) {
    problems.push_back({"FieldValueDuplicate", path + ".name", "Duplicate value: \"" + name + "\""});
  }
  const auto number = integer_at(port, {"port"}).value_or(0);
  if (number < 1 || number > 65535) {
    problems.push_back(invalid_field(path + ".port", number, "must be between 1 and 65535, inclusive"));
  } else if (!numbers.insert({protocol, number}).second) {
    problems.push_back({"FieldValueDuplicate", path, "Duplicate value: " + std::to_string(number) + "/" + protocol});
  }
  if (protocol != "TCP" && protocol != "UDP") {
    problems.push_back(unsupported_value(path + ".protocol", json::value(protocol), {"TCP", "UDP"}));
  }
  const auto* target = value_at(port, {"targetPort"});
  if (target != nullptr && target->is_int64() && (target->get_int64() < 1 || target->get_int64() > 65535)) {
    problems.push_back(invalid_field(path + ".targetPort", *target, "must be between 1 and 65535, inclusive"));
  }
}

void check_service(const json::object& o, const json::object*, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  const auto type = text_at(spec, {"type"});
  const std::vector<std::string> types{"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"};
  if (std::find(types.begin(), types.end(), type) == types.end()) {
    problems.push_back(unsupported_value("spec.type", json::value(type), types));
  }
  const auto& ports = array_at(spec, {"ports"});
  const bool headless = text_at(spec, {"clusterIP"}) == "None";
  if (ports.empty() && type != "ExternalName" && !headless) problems.push_back(required_field("spec.ports"));
  if (type == "ExternalName" && text_at(spec, {"externalName"}).empty())
    problems.push_back(required_field("spec.externalName"));
  if (headless && (type == "NodePort" || type == "LoadBalancer")) {
    problems.push_back(
        invalid_field("spec.clusterIPs[0]", "None", "may not be set to 'None' for " + type + " services"));
  }
  std::set<std::string> names;
  std::set<std::pair<std::string, std::int64_t>> numbers;
  std::size_t i = 0;
  for (const auto& port : ports) {
    const auto path = "spec.ports[" + std::to_string(i++) + "]";
    if (port.is_object()) check_service_port(port.get_object(), path, ports.size() > 1, names, numbers, problems);
  }
  check_labels(object_at(spec, {"selector"}), "spec.selector", problems);
  if (!array_at(spec, {"loadBalancerSourceRanges"}).empty()) {
    problems.push_back(forbidden_field("spec.loadBalancerSourceRanges",
                                       "this engine does not filter by the client's address; use a NetworkPolicy"));
  }
  const auto affinity = text_at(spec, {"sessionAffinity"});
  if (affinity != "None" && affinity != "ClientIP") {
    problems.push_back(unsupported_value("spec.sessionAffinity", json::value(affinity), {"ClientIP", "None"}));
  }
  for (const auto& family : array_at(spec, {"ipFamilies"})) {
    if (family != "IPv4") {
      problems.push_back(
          invalid_field("spec.ipFamilies[0]", family, "not configured on this cluster: the engine serves IPv4 only"));
    }
  }
}

// --- configuration

void check_data(const json::object& o, const json::object* before, Problems& problems) {
  const bool secret = text_at(o, {"kind"}) == "Secret";
  std::size_t size = 0;
  for (const auto* field : {"data", "binaryData"}) {
    const bool encoded = secret || std::string_view(field) == "binaryData";
    for (const auto& [name, value] : object_at(o, {field})) {
      const auto length = value.is_string() ? value.get_string().size() : 0;
      size += encoded ? length / 4 * 3 : length;
      if (!kube::is_data_key(name)) {
        problems.push_back(invalid_field(std::string(field) + "[" + std::string(name) + "]", json::value(name),
                                         std::string(kube::data_key_rule)));
      }
    }
  }
  if (size > largest_data + (secret ? 2 : 0)) {  // two bytes may be the padding of base64
    problems.push_back({"FieldValueTooLong", "data", "Too long: may not be more than 1048576 bytes"});
  }
  if (before == nullptr || !flag_at(*before, {"immutable"})) return;
  for (const auto* field : {"data", "binaryData"}) {
    if (object_at(o, {field}) != object_at(*before, {field})) {
      problems.push_back(forbidden_field(field, "field is immutable when `immutable` is set"));
    }
  }
  if (!flag_at(o, {"immutable"}))
    problems.push_back(forbidden_field("immutable", "field is immutable when `immutable` is set"));
}

void check_secret(const json::object& o, const json::object* before, Problems& problems) {
  check_data(o, before, problems);
  immutable(o, before, {"type"}, "type", problems);
  const auto type = text_at(o, {"type"});
  const std::map<std::string, std::vector<std::string>> required{
      {"kubernetes.io/dockerconfigjson", {".dockerconfigjson"}},
      {"kubernetes.io/dockercfg", {".dockercfg"}},
      {"kubernetes.io/tls", {"tls.crt", "tls.key"}},
      {"kubernetes.io/ssh-auth", {"ssh-privatekey"}}};
  const auto found = required.find(type);
  if (found == required.end()) return;
  for (const auto& name : found->second) {
    if (!object_at(o, {"data"}).contains(name)) problems.push_back(required_field("data[" + name + "]"));
  }
}

void check_claim(const json::object& o, const json::object* before, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  if (array_at(spec, {"accessModes"}).empty())
    problems.push_back(required_field("spec.accessModes", "at least 1 access mode is required"));
  if (text_at(spec, {"resources", "requests", "storage"}).empty())
    problems.push_back(required_field("spec.resources[storage]"));
  if (before == nullptr) return;
  auto now = spec, then = object_at(*before, {"spec"});
  for (auto* part : {&now, &then}) {
    part->erase("resources");
    if (text_at(*before, {"spec", "volumeName"}).empty()) part->erase("volumeName");
  }
  if (now != then) {
    problems.push_back(forbidden_field("spec",
                                       "spec is immutable after creation except resources.requests and "
                                       "volumeAttributesClassName for bound claims"));
  }
}

// The set with a volume for each of its claims, as its pods have them.
json::object with_claims(json::object set) {
  auto& pod = child(child(child(set, "spec"), "template"), "spec");
  json::array volumes;
  for (const auto& item : array_at(set, {"spec", "volumeClaimTemplates"})) {
    const auto name = item.is_object() ? text_at(item.get_object(), {"metadata", "name"}) : std::string();
    volumes.push_back(json::object{{"name", name}, {"persistentVolumeClaim", json::object{{"claimName", name}}}});
  }
  for (const auto& item : array_at(pod, {"volumes"})) {
    const bool replaced = std::ranges::any_of(volumes, [&](const json::value& claim) {
      return item.is_object() && text_at(claim.get_object(), {"name"}) == text_at(item.get_object(), {"name"});
    });
    if (!replaced) volumes.push_back(item);
  }
  if (!volumes.empty()) pod["volumes"] = std::move(volumes);
  return set;
}

void check_stateful_set(const json::object& o, const json::object* before, Problems& problems) {
  check_replica_set(with_claims(o), before, problems);
  const auto& spec = object_at(o, {"spec"});
  const auto policy = text_at(spec, {"podManagementPolicy"}), type = text_at(spec, {"updateStrategy", "type"});
  if (policy != "OrderedReady" && policy != "Parallel")
    problems.push_back(
        unsupported_value("spec.podManagementPolicy", json::value(policy), {"OrderedReady", "Parallel"}));
  if (type != "RollingUpdate" && type != "OnDelete")
    problems.push_back(unsupported_value("spec.updateStrategy.type", json::value(type), {"RollingUpdate", "OnDelete"}));
  for (const auto& [name, number] : {std::pair{"spec.updateStrategy.rollingUpdate.partition",
                                               integer_at(spec, {"updateStrategy", "rollingUpdate", "partition"})},
                                     {"spec.ordinals.start", integer_at(spec, {"ordinals", "start"})}}) {
    if (number && *number < 0) problems.push_back(invalid_field(name, *number, "must be greater than or equal to 0"));
  }
  if (text_at(spec, {"persistentVolumeClaimRetentionPolicy", "whenScaled"}) == "Delete") {
    problems.push_back(forbidden_field("spec.persistentVolumeClaimRetentionPolicy.whenScaled",
                                       "this engine keeps the claims of pods that a set no longer wants"));
  }
  std::size_t i = 0;
  for (const auto& item : array_at(spec, {"volumeClaimTemplates"})) {
    const auto path = "spec.volumeClaimTemplates[" + std::to_string(i++) + "]";
    if (!item.is_object()) continue;
    if (text_at(item.get_object(), {"metadata", "name"}).empty())
      problems.push_back(required_field(path + ".metadata.name"));
    Problems of_claim;
    check_claim(item.get_object(), nullptr, of_claim);
    for (auto& problem : of_claim) {
      problem.field = path + "." + problem.field;
      problems.push_back(std::move(problem));
    }
  }
  if (before == nullptr) return;
  auto now = spec, then = object_at(*before, {"spec"});
  for (auto* part : {&now, &then}) {
    for (const auto* field : {"replicas", "ordinals", "template", "updateStrategy", "minReadySeconds",
                              "persistentVolumeClaimRetentionPolicy", "revisionHistoryLimit"})
      part->erase(field);
  }
  if (now != then) {
    problems.push_back(forbidden_field(
        "spec",
        "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
        "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"));
  }
}

void check_binding(const json::object& o, const json::object* before, Problems& problems) {
  const auto& role = object_at(o, {"roleRef"});
  if (text_at(role, {"name"}).empty()) problems.push_back(required_field("roleRef.name"));
  const auto kind = text_at(role, {"kind"});
  if (kind != "ClusterRole" && kind != "Role") {
    problems.push_back(unsupported_value("roleRef.kind", json::value(kind), {"Role", "ClusterRole"}));
  }
  if (before != nullptr && object_at(*before, {"roleRef"}) != role) {
    problems.push_back(invalid_field("roleRef", role, "cannot change roleRef"));
  }
  std::size_t i = 0;
  for (const auto& item : array_at(o, {"subjects"})) {
    const auto path = "subjects[" + std::to_string(i++) + "]";
    if (!item.is_object()) continue;
    const auto& subject = item.get_object();
    if (text_at(subject, {"name"}).empty()) problems.push_back(required_field(path + ".name"));
    const auto who = text_at(subject, {"kind"});
    if (who != "User" && who != "Group" && who != "ServiceAccount") {
      problems.push_back(unsupported_value(path + ".kind", json::value(who), {"ServiceAccount", "User", "Group"}));
    }
    if (who == "ServiceAccount" && text_at(subject, {"namespace"}).empty() &&
        text_at(o, {"kind"}) == "ClusterRoleBinding") {
      problems.push_back(required_field(path + ".namespace"));
    }
  }
}

void check_role(const json::object& o, const json::object*, Problems& problems) {
  if (o.contains("aggregationRule")) {
    problems.push_back(
        forbidden_field("aggregationRule", "this engine does not aggregate roles; write the rules into this one"));
  }
  std::size_t i = 0;
  for (const auto& item : array_at(o, {"rules"})) {
    const auto path = "rules[" + std::to_string(i++) + "]";
    if (!item.is_object()) continue;
    const auto& rule = item.get_object();
    if (array_at(rule, {"verbs"}).empty())
      problems.push_back(required_field(path + ".verbs", "verbs must contain at least one value"));
    if (!array_at(rule, {"nonResourceURLs"}).empty()) {
      if (text_at(o, {"kind"}) == "Role") {
        problems.push_back(invalid_field(path + ".nonResourceURLs", rule.at("nonResourceURLs"),
                                         "namespaced rules cannot apply to non-resource URLs"));
      }
      continue;
    }
    for (const auto* field : {"apiGroups", "resources"}) {
      if (array_at(rule, {field}).empty()) {
        problems.push_back(required_field(path + "." + field, "resource rules must supply at least one value"));
      }
    }
  }
}

void check_autoscaler(const json::object& o, const json::object*, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  const auto most = integer_at(spec, {"maxReplicas"}).value_or(0),
             least = integer_at(spec, {"minReplicas"}).value_or(1);
  if (most < 1) problems.push_back(invalid_field("spec.maxReplicas", most, "must be greater than 0"));
  if (least < 1) problems.push_back(invalid_field("spec.minReplicas", least, "must be greater than or equal to 1"));
  if (most < least)
    problems.push_back(invalid_field("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"));
  for (const auto* field : {"kind", "name"}) {
    if (text_at(spec, {"scaleTargetRef", field}).empty())
      problems.push_back(required_field("spec.scaleTargetRef." + std::string(field)));
  }
  std::size_t i = 0;
  for (const auto& metric : array_at(spec, {"metrics"})) {
    const auto path = "spec.metrics[" + std::to_string(i++) + "]";
    if (!metric.is_object()) continue;
    const auto type = text_at(metric.get_object(), {"type"});
    if (type != "Resource") problems.push_back(unsupported_value(path + ".type", json::value(type), {"Resource"}));
    const auto name = text_at(metric.get_object(), {"resource", "name"});
    if (type == "Resource" && name != "cpu" && name != "memory") {
      problems.push_back(unsupported_value(path + ".resource.name", json::value(name), {"cpu", "memory"}));
    }
  }
}

void check_budget(const json::object& o, const json::object*, Problems& problems) {
  const auto& spec = object_at(o, {"spec"});
  if (spec.contains("minAvailable") && spec.contains("maxUnavailable")) {
    problems.push_back(invalid_field("spec", spec, "minAvailable and maxUnavailable cannot be both set"));
  }
  for (const auto* name : {"minAvailable", "maxUnavailable"}) check_share(spec, name, "spec", problems);
}

[[noreturn]] void refuse_kind(const kube::Resource& r, const std::string& name, std::string why) {
  throw forbidden(r, name, why);
}
void check_replication_controller(const json::object& o, const json::object*, Problems&) {
  refuse_kind(res::replication_controllers, kube::name_of(o),
              "this engine runs no ReplicationControllers; use a Deployment");
}
// A class that the system has for itself may have any value; those of users stay below it.
void check_priority_class(const json::object& o, const json::object* before, Problems& problems) {
  constexpr std::int64_t highest_of_users = 1'000'000'000;
  const auto name = kube::name_of(o);
  const bool built_in = name == "system-cluster-critical" || name == "system-node-critical";
  if (name.starts_with("system-") && !built_in) {
    problems.push_back(forbidden_field("metadata.name",
                                       "priority class names with 'system-' prefix are reserved for "
                                       "system use only"));
  }
  const auto value = integer_at(o, {"value"}).value_or(0);
  if (value > highest_of_users && !built_in) {
    problems.push_back(forbidden_field(
        "value", "maximum allowed value of a user defined priority is " + std::to_string(highest_of_users)));
  }
  if (before != nullptr && value != integer_at(*before, {"value"}).value_or(0)) {
    problems.push_back(forbidden_field("value", "may not be changed in an update."));
  }
  if (const auto policy = text_at(o, {"preemptionPolicy"});
      !policy.empty() && policy != "Never" && policy != "PreemptLowerPriority") {
    problems.push_back(unsupported_value("preemptionPolicy", json::value(policy), {"Never", "PreemptLowerPriority"}));
  }
}
void check_limit_range(const json::object& o, const json::object*, Problems& problems) {
  for (auto& problem : problems_of_limit_range(o)) problems.push_back(std::move(problem));
}
void check_pod(const json::object& o, const json::object* before, Problems& problems) {
  check_pod_spec(object_at(o, {"spec"}), "spec", problems);
  if (before != nullptr) check_pod_update(object_at(o, {"spec"}), object_at(*before, {"spec"}), problems);
}
void check_autoscaler_or_view(const json::object& o, const json::object* b, Problems& p) { check_autoscaler(o, b, p); }

using Check = void (*)(const json::object&, const json::object*, Problems&);
const std::map<const kube::Resource*, Check>& checks() {
  static const std::map<const kube::Resource*, Check> table{
      {&res::pods, check_pod},
      {&res::deployments, check_deployment},
      {&res::replica_sets, check_replica_set},
      {&res::daemon_sets, check_daemon_set},
      {&res::stateful_sets, check_stateful_set},
      {&res::replication_controllers, check_replication_controller},
      {&res::jobs, check_job},
      {&res::cron_jobs, check_cron_job},
      {&res::services, check_service},
      {&res::config_maps, check_data},
      {&res::secrets, check_secret},
      {&res::persistent_volume_claims, check_claim},
      {&res::roles, check_role},
      {&res::cluster_roles, check_role},
      {&res::role_bindings, check_binding},
      {&res::cluster_role_bindings, check_binding},
      {&res::horizontal_pod_autoscalers, check_autoscaler_or_view},
      {&res::pod_disruption_budgets, check_budget},
      {&res::limit_ranges, check_limit_range},
      {&res::priority_classes, check_priority_class}};
  return table;
}

}  // namespace

void check_labels(const json::object& labels, const std::string& path, std::vector<FieldProblem>& problems) {
  for (const auto& [name, value] : labels) {
    if (!kube::is_label_key(name))
      problems.push_back(invalid_field(path, json::value(name), std::string(kube::label_key_rule)));
    if (value.is_string() && !kube::is_label_value(view(value.get_string()))) {
      problems.push_back(invalid_field(path, value, std::string(kube::label_value_rule)));
    }
  }
}

std::vector<FieldProblem> problems_of_metadata(const ResourceType& type, const json::object& object,
                                               const json::object* before) {
  Problems problems;
  check_metadata(*type.stored, object, before, problems);
  return problems;
}

std::vector<FieldProblem> problems_of(const ResourceType& type, const json::object& object,
                                      const json::object* before) {
  auto problems = problems_of_metadata(type, object, before);
  // What is on its way out may only lose finalizers: nothing else is worth a refusal then.
  if (before != nullptr && kube::is_being_deleted(*before) &&
      object_at(object, {"spec"}) == object_at(*before, {"spec"})) {
    return problems;
  }
  if (const auto found = checks().find(type.stored); found != checks().end()) found->second(object, before, problems);
  return problems;
}

std::vector<std::string> warnings_about(const ResourceType& type, const json::object& object) {
  std::vector<std::string> warnings;
  if (type.stored == &res::ingresses) {
    warnings.emplace_back("this engine has no ingress controller; the Ingress is kept, and nothing serves it");
  }
  if (type.stored == &res::pods) pod_warnings(object_at(object, {"spec"}), "spec", warnings);
  for (const auto* r : {&res::deployments, &res::daemon_sets, &res::jobs}) {
    if (type.stored == r) pod_warnings(object_at(object, {"spec", "template", "spec"}), "spec.template.spec", warnings);
  }
  return warnings;
}

}  // namespace workflow::engine
