#include "engine/apiserver/pod_validation.h"

#include <algorithm>
#include <set>

#include "engine/apiserver/decode.h"
#include "engine/fields.h"
#include "engine/quantity.h"
#include "lib/base/text.h"
#include "lib/kube/names.h"

namespace workflow::engine {

namespace {

using Problems = std::vector<FieldProblem>;
using Names = std::set<std::string>;

std::string at(const std::string& path, std::string_view list, std::size_t index) {
  return path + "." + std::string(list) + "[" + std::to_string(index) + "]";
}

template <typename F>
void each(const json::object& object, std::string_view list, const std::string& path, F f) {
  std::size_t i = 0;
  for (const auto& item : array_at(object, {list})) {
    const auto here = at(path, list, i++);
    if (item.is_object()) f(item.get_object(), here);
  }
}

void one_of(const json::object& object, std::string_view field, std::vector<std::string> allowed,
            const std::string& path, Problems& problems) {
  const auto text = text_at(object, {field});
  if (text.empty() || std::find(allowed.begin(), allowed.end(), text) != allowed.end()) return;
  problems.push_back(unsupported_value(path + "." + std::string(field), json::value(text), std::move(allowed)));
}

void check_port_number(const json::object& object, std::string_view field, bool zero_allowed, const std::string& path,
                       Problems& problems) {
  const auto* value = value_at(object, {field});
  if (value == nullptr || !value->is_int64()) return;
  const auto number = value->get_int64();
  if ((number >= 1 && number <= 65535) || (zero_allowed && number == 0)) return;
  problems.push_back(invalid_field(path + "." + std::string(field), number, "must be between 1 and 65535, inclusive"));
}

// Exactly one of the named fields.
void exactly_one(const json::object& object, std::initializer_list<std::string_view> names, const std::string& path,
                 std::string_view what, Problems& problems) {
  std::vector<std::string_view> present;
  for (const auto name : names) {
    if (value_at(object, {name}) != nullptr) present.push_back(name);
  }
  if (present.empty()) problems.push_back(required_field(path, "must specify a " + std::string(what)));
  if (present.size() > 1) {
    problems.push_back(
        forbidden_field(path + "." + std::string(present[1]), "may not specify more than 1 " + std::string(what)));
  }
}

void check_handler(const json::object& handler, const std::string& path, bool hook, Problems& problems) {
  if (hook) {
    exactly_one(handler, {"exec", "httpGet", "tcpSocket", "sleep"}, path, "handler type", problems);
  } else {
    exactly_one(handler, {"exec", "httpGet", "tcpSocket", "grpc"}, path, "handler type", problems);
  }
  if (value_at(handler, {"grpc"}) != nullptr) {
    const auto port = integer_at(handler, {"grpc", "port"}).value_or(0);
    if (port < 1 || port > 65535)
      problems.push_back(invalid_field(path + ".grpc.port", port, "must be between 1 and 65535, inclusive"));
  }
  if (const auto* exec = value_at(handler, {"exec"});
      exec != nullptr && array_at(handler, {"exec", "command"}).empty()) {
    problems.push_back(required_field(path + ".exec.command"));
  }
  for (const auto* kind : {"httpGet", "tcpSocket"}) {
    if (value_at(handler, {kind}) == nullptr) continue;
    if (value_at(handler, {kind, "port"}) == nullptr) problems.push_back(required_field(path + "." + kind + ".port"));
    check_port_number(object_at(handler, {kind}), "port", false, path + "." + kind, problems);
  }
}

void check_probe(const json::object& probe, const std::string& path, Problems& problems) {
  check_handler(probe, path, false, problems);
  for (const auto* field :
       {"initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"}) {
    const auto number = integer_at(probe, {field});
    if (number && *number < 0)
      problems.push_back(invalid_field(path + "." + field, *number, "must be greater than or equal to 0"));
  }
  if (path.ends_with("livenessProbe") || path.ends_with("startupProbe")) {
    if (integer_at(probe, {"successThreshold"}).value_or(1) != 1) {
      problems.push_back(
          invalid_field(path + ".successThreshold", *value_at(probe, {"successThreshold"}), "must be 1"));
    }
  }
}

void check_env(const json::object& env, const std::string& path, Problems& problems) {
  const auto name = text_at(env, {"name"});
  if (name.empty()) {
    problems.push_back(required_field(path + ".name"));
  } else if (!kube::is_environment_name(name)) {
    problems.push_back(invalid_field(path + ".name", json::value(name),
                                     "a valid environment variable name must consist only of "
                                     "printable ASCII characters other than '='"));
  }
  const auto* from = value_at(env, {"valueFrom"});
  if (from == nullptr || !from->is_object()) return;
  if (!text_at(env, {"value"}).empty()) {
    problems.push_back(invalid_field(path + ".valueFrom", "", "may not be specified when `value` is not empty"));
  }
  exactly_one(from->get_object(), {"fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef"},
              path + ".valueFrom", "source of the value", problems);
  for (const auto* ref : {"configMapKeyRef", "secretKeyRef"}) {
    if (value_at(env, {"valueFrom", ref}) != nullptr && text_at(env, {"valueFrom", ref, "key"}).empty()) {
      problems.push_back(required_field(path + ".valueFrom." + ref + ".key"));
    }
  }
}

void check_resources(const json::object& container, const std::string& path, Problems& problems) {
  for (const auto& [name, limit] : object_at(container, {"resources", "limits"})) {
    const auto request = text_at(container, {"resources", "requests", std::string_view(name)});
    if (request.empty() || !limit.is_string()) continue;
    const auto least = quantity_in_thousandths(request), most = quantity_in_thousandths(view(limit.get_string()));
    if (least && most && *least > *most) {
      problems.push_back(invalid_field(
          path + ".resources.requests", json::value(request),
          "must be less than or equal to " + std::string(name) + " limit of " + std::string(limit.get_string())));
    }
  }
  for (const auto* kind : {"limits", "requests"}) {
    for (const auto& [name, value] : object_at(container, {"resources", kind})) {
      const auto amount = value.is_string() ? quantity_in_thousandths(view(value.get_string())) : std::nullopt;
      if (amount && *amount < 0) {
        problems.push_back(invalid_field(path + ".resources." + kind + "[" + std::string(name) + "]", value,
                                         "must be greater than or equal to 0"));
      }
    }
  }
}

void check_mounts(const json::object& container, const std::string& path, const Names& volumes, Problems& problems) {
  std::set<std::string> places;
  each(container, "volumeMounts", path, [&](const json::object& mount, const std::string& here) {
    const auto name = text_at(mount, {"name"}), place = text_at(mount, {"mountPath"});
    if (name.empty()) problems.push_back(required_field(here + ".name"));
    if (!name.empty() && !volumes.contains(name)) {
      problems.push_back({"FieldValueNotFound", here + ".name", "Not found: \"" + name + "\""});
    }
    if (place.empty()) problems.push_back(required_field(here + ".mountPath"));
    if (!place.empty() && !places.insert(place).second) {
      problems.push_back(invalid_field(here + ".mountPath", json::value(place), "must be unique"));
    }
    const auto sub = text_at(mount, {"subPath"});
    const auto parts = split(sub, '/');
    if (sub.starts_with("/") || std::find(parts.begin(), parts.end(), "..") != parts.end()) {
      problems.push_back(invalid_field(here + ".subPath", json::value(sub), "must be a relative path without '..'"));
    }
  });
}

// What would change how a container runs, and this engine cannot do.
void refuse_beyond_engine(const json::object& c, const std::string& path, Problems& problems) {
  const auto refuse = [&](std::initializer_list<std::string_view> field, const std::string& name, std::string why) {
    if (value_at(c, field) != nullptr) problems.push_back(forbidden_field(path + "." + name, std::move(why)));
  };
  refuse({"volumeDevices"}, "volumeDevices", "this engine has no block devices; mount a volume");
  refuse({"resources", "claims"}, "resources.claims", "this engine has no device claims");
  refuse({"securityContext", "windowsOptions"}, "securityContext.windowsOptions", "this engine runs Linux containers");
  each(c, "volumeMounts", path, [&](const json::object& mount, const std::string& here) {
    if (text_at(mount, {"recursiveReadOnly"}) == "Enabled") {
      problems.push_back(forbidden_field(here + ".recursiveReadOnly", "this engine cannot make it recursive"));
    }
  });
}

void check_container(const json::object& c, const std::string& path, bool init, const Names& volumes, Names& names,
                     Problems& problems) {
  const auto name = text_at(c, {"name"});
  if (name.empty()) {
    problems.push_back(required_field(path + ".name"));
  } else if (!kube::is_dns_label(name)) {
    problems.push_back(invalid_field(path + ".name", json::value(name), std::string(kube::dns_label_rule)));
  } else if (!names.insert(name).second) {
    problems.push_back({"FieldValueDuplicate", path + ".name", "Duplicate value: \"" + name + "\""});
  }
  const auto image = text_at(c, {"image"});
  if (image.empty()) problems.push_back(required_field(path + ".image"));
  if (image != trim(image))
    problems.push_back(
        invalid_field(path + ".image", json::value(image), "must not have leading or trailing whitespace"));
  one_of(c, "imagePullPolicy", {"Always", "IfNotPresent", "Never"}, path, problems);
  one_of(c, "terminationMessagePolicy", {"File", "FallbackToLogsOnError"}, path, problems);
  Names port_names;
  each(c, "ports", path, [&](const json::object& port, const std::string& here) {
    if (value_at(port, {"containerPort"}) == nullptr) problems.push_back(required_field(here + ".containerPort"));
    check_port_number(port, "containerPort", false, here, problems);
    check_port_number(port, "hostPort", true, here, problems);
    one_of(port, "protocol", {"TCP", "UDP"}, here, problems);
    const auto port_name = text_at(port, {"name"});
    if (port_name.size() > 15 || (!port_name.empty() && !kube::is_dns_label(port_name))) {
      problems.push_back(invalid_field(here + ".name", json::value(port_name),
                                       "must be no more than 15 characters, lower case "
                                       "alphanumeric characters or '-'"));
    } else if (!port_name.empty() && !port_names.insert(port_name).second) {
      problems.push_back({"FieldValueDuplicate", here + ".name", "Duplicate value: \"" + port_name + "\""});
    }
  });
  each(c, "env", path, [&](const json::object& env, const std::string& here) { check_env(env, here, problems); });
  check_mounts(c, path, volumes, problems);
  refuse_beyond_engine(c, path, problems);
  check_resources(c, path, problems);
  const bool sidecar = init && text_at(c, {"restartPolicy"}) == "Always";
  for (const auto* probe : {"livenessProbe", "readinessProbe", "startupProbe"}) {
    if (value_at(c, {probe}) == nullptr) continue;
    if (init && !sidecar) {
      problems.push_back(
          forbidden_field(path + "." + probe, "may not be set for init containers without restartPolicy=Always"));
    } else {
      check_probe(object_at(c, {probe}), path + "." + probe, problems);
    }
  }
  for (const auto* hook : {"postStart", "preStop"}) {
    if (value_at(c, {"lifecycle", hook}) != nullptr) {
      check_handler(object_at(c, {"lifecycle", hook}), path + ".lifecycle." + hook, true, problems);
    }
  }
}

void check_volume(const json::object& volume, const std::string& path, Names& names, Problems& problems) {
  static constexpr std::string_view supported[] = {
      "emptyDir", "hostPath", "secret", "configMap", "projected", "downwardAPI", "persistentVolumeClaim"};
  const auto name = text_at(volume, {"name"});
  if (name.empty()) {
    problems.push_back(required_field(path + ".name"));
  } else if (!kube::is_dns_label(name)) {
    problems.push_back(invalid_field(path + ".name", json::value(name), std::string(kube::dns_label_rule)));
  } else if (!names.insert(name).second) {
    problems.push_back({"FieldValueDuplicate", path + ".name", "Duplicate value: \"" + name + "\""});
  }
  std::size_t sources = 0;
  for (const auto& [source, value] : volume) {
    if (source == "name") continue;
    if (++sources > 1)
      problems.push_back(forbidden_field(path + "." + std::string(source), "may not specify more than 1 volume type"));
    if (std::find(std::begin(supported), std::end(supported), std::string_view(source)) == std::end(supported)) {
      problems.push_back(
          forbidden_field(path + "." + std::string(source),
                          "this engine has no such volumes; use emptyDir, hostPath, secret, configMap, projected, "
                          "downwardAPI or persistentVolumeClaim"));
    }
  }
  const auto need = [&](std::string_view source, std::string_view field) {
    if (value_at(volume, {source}) != nullptr && text_at(volume, {source, field}).empty()) {
      problems.push_back(required_field(path + "." + std::string(source) + "." + std::string(field)));
    }
  };
  each(object_at(volume, {"projected"}), "sources", path + ".projected",
       [&](const json::object& source, const std::string& here) {
         if (source.contains("clusterTrustBundle")) {
           problems.push_back(forbidden_field(here + ".clusterTrustBundle", "this engine has no trust bundles"));
         }
       });
  need("hostPath", "path");
  need("secret", "secretName");
  need("persistentVolumeClaim", "claimName");
}

// Words of [a-z0-9], '-' and '_' inside, joined by dots or slashes.
bool is_sysctl_name(std::string_view name) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  bool in_word = false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool ends = i + 1 == name.size() || name[i + 1] == '.' || name[i + 1] == '/';
    if (c == '.' || c == '/') {
      if (!in_word) return false;
      in_word = false;
    } else if (plain(c) || ((c == '-' || c == '_') && in_word && !ends)) {
      in_word = true;
    } else {
      return false;
    }
  }
  return in_word && name.size() <= 253;
}

void check_sysctl(const json::object& sysctl, const std::string& path, Names& names, Problems& problems) {
  const auto name = text_at(sysctl, {"name"});
  if (name.empty()) {
    problems.push_back(required_field(path + ".name"));
  } else if (!is_sysctl_name(name)) {
    problems.push_back(invalid_field(path + ".name", json::value(name),
                                     "must have at most 253 characters and match regex "
                                     "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$"));
  } else if (!names.insert(replace_all(name, "/", ".")).second) {
    problems.push_back({"FieldValueDuplicate", path + ".name", "Duplicate value: \"" + name + "\""});
  }
}

}  // namespace

void check_pod_spec(const json::object& spec, const std::string& path, Problems& problems) {
  Names volumes, names;
  each(spec, "volumes", path,
       [&](const json::object& v, const std::string& here) { check_volume(v, here, volumes, problems); });
  if (array_at(spec, {"containers"}).empty()) problems.push_back(required_field(path + ".containers"));
  each(spec, "initContainers", path, [&](const json::object& c, const std::string& here) {
    check_container(c, here, true, volumes, names, problems);
  });
  each(spec, "containers", path, [&](const json::object& c, const std::string& here) {
    check_container(c, here, false, volumes, names, problems);
  });
  Names sysctls;
  each(object_at(spec, {"securityContext"}), "sysctls", path + ".securityContext",
       [&](const json::object& sysctl, const std::string& here) { check_sysctl(sysctl, here, sysctls, problems); });
  if (!array_at(spec, {"ephemeralContainers"}).empty()) {
    problems.push_back(
        forbidden_field(path + ".ephemeralContainers", "this engine has no ephemeral containers; use kubectl exec"));
  }
  one_of(spec, "restartPolicy", {"Always", "OnFailure", "Never"}, path, problems);
  one_of(spec, "dnsPolicy", {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"}, path, problems);
  check_labels(object_at(spec, {"nodeSelector"}), path + ".nodeSelector", problems);
  const auto grace = integer_at(spec, {"terminationGracePeriodSeconds"});
  if (grace && *grace < 0) {
    problems.push_back(
        invalid_field(path + ".terminationGracePeriodSeconds", *grace, "must be greater than or equal to 0"));
  }
  const auto deadline = integer_at(spec, {"activeDeadlineSeconds"});
  if (deadline && *deadline < 1) {
    problems.push_back(
        invalid_field(path + ".activeDeadlineSeconds", *deadline, "must be between 1 and 2147483647, inclusive"));
  }
  if (const auto scheduler = text_at(spec, {"schedulerName"}); !scheduler.empty() && scheduler != "default-scheduler") {
    problems.push_back(unsupported_value(path + ".schedulerName", json::value(scheduler), {"default-scheduler"}));
  }
  if (!array_at(spec, {"resourceClaims"}).empty()) {
    problems.push_back(forbidden_field(path + ".resourceClaims", "this engine has no device claims"));
  }
  if (const auto runtime = text_at(spec, {"runtimeClassName"}); !runtime.empty()) {
    problems.push_back(forbidden_field(path + ".runtimeClassName", "this engine runs every pod with runc"));
  }
}

void check_pod_update(const json::object& spec, const json::object& before, Problems& problems) {
  auto now = spec, then = before;
  for (auto* part : {&now, &then}) {
    for (const auto* field :
         {"activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"}) {
      part->erase(field);
    }
    for (const auto* kind : {"containers", "initContainers"}) {
      if (!part->contains(kind)) continue;
      for (auto& item : list(*part, kind)) {
        if (item.is_object()) item.get_object().erase("image");
      }
    }
  }
  // Binding a pod to its node is the one change that the scheduler makes.
  if (text_at(before, {"nodeName"}).empty()) now.erase("nodeName");
  if (now == then) return;
  problems.push_back(forbidden_field(
      "spec",
      "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
      "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
      "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"));
}

namespace {

void container_warnings(const json::object& c, const std::string& path, std::vector<std::string>& warnings) {
  const auto& security = object_at(c, {"securityContext"});
  if (security.contains("seLinuxOptions")) {
    warnings.push_back(path + ".securityContext.seLinuxOptions: has no effect on this engine");
  }
  if (const auto mount = text_at(security, {"procMount"}); !mount.empty() && mount != "Default") {
    warnings.push_back(path + ".securityContext.procMount: this engine masks /proc as the runtime does");
  }
  if (text_at(security, {"appArmorProfile", "type"}) == "Localhost") {
    warnings.push_back(path + ".securityContext.appArmorProfile: this engine loads no profiles");
  }
}

}  // namespace

void pod_warnings(const json::object& spec, const std::string& path, std::vector<std::string>& warnings) {
  for (const auto* kind : {"initContainers", "containers"}) {
    each(spec, kind, path,
         [&](const json::object& c, const std::string& here) { container_warnings(c, here, warnings); });
  }
  each(spec, "volumes", path, [&](const json::object& volume, const std::string& here) {
    if (!text_at(volume, {"emptyDir", "sizeLimit"}).empty()) {
      warnings.push_back(here + ".emptyDir.sizeLimit: this engine does not enforce it");
    }
  });
  for (const auto* kind : {"podAffinity", "podAntiAffinity"}) {
    if (value_at(spec, {"affinity", kind}) != nullptr) {
      warnings.push_back(path + ".affinity." + kind + ": has no effect on an engine of one node");
    }
  }
  if (flag_at(spec, {"setHostnameAsFQDN"})) {
    warnings.push_back(path + ".setHostnameAsFQDN: this engine sets the short name");
  }
  if (!object_at(spec, {"overhead"}).empty()) warnings.push_back(path + ".overhead: has no effect on this engine");
  if (spec.contains("hostUsers") && !flag_at(spec, {"hostUsers"}, true)) {
    warnings.push_back(path + ".hostUsers: this engine has no user namespaces; the pod uses the host's");
  }
}

}  // namespace workflow::engine
