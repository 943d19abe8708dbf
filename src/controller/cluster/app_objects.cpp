#include "controller/cluster/app_objects.h"

#include "controller/cluster/turnover.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::controller::cluster {

namespace {
namespace resources = kube::resources;

std::string word(bool value) { return value ? "true" : "false"; }

void merge_over(json::object& base, const json::object& change) {
  for (const auto& [key, value] : change) {
    auto* before = base.if_contains(key);
    if (before != nullptr && before->is_object() && value.is_object()) {
      merge_over(before->get_object(), value.get_object());
    } else {
      base[key] = value;
    }
  }
}

// The annotations that are ours to write; a value that is empty is not written.
std::vector<std::pair<std::string, std::string>> router_annotations(const AppSpec& app) {
  std::vector<std::string> certificates;
  for (const auto& domain : app.domains) {
    if (const auto found = app.domain_certificates.find(domain); found != app.domain_certificates.end()) {
      certificates.push_back(domain + ":" + found->second);
    }
  }
  return {{"router.deis.io/domains", join(app.domains, ",")},
          {"router.deis.io/certificates", join(certificates, ",")},
          {"router.deis.io/maintenance", word(app.maintenance)},
          {"router.deis.io/whitelist", join(app.whitelist, ",")},
          {"router.deis.io/ssl.enforce", word(app.tls_enforced)},
          {"router.deis.io/tls.auto", app.tls_automatic ? "true" : ""}};
}

json::array http_port() { return {{{"name", "http"}, {"port", 80}, {"targetPort", "http"}, {"protocol", "TCP"}}}; }

json::object leading_service(const AppName& app, const std::string& name, const ProcessType& type, Selected selected) {
  auto service = kube::make_object(resources::services, app.text(), name, {});
  auto selector = app_labels(app);
  selector["type"] = type.text();
  if (selected == Selected::pods_that_serve) selector[serving_label] = "true";
  service["spec"] = {{"ports", http_port()}, {"selector", kube::to_json(selector)}};
  return service;
}
}  // namespace

std::map<std::string, std::string> app_labels(const AppName& app) {
  return {{"app", app.text()}, {"heritage", "deis"}};
}

json::object namespace_for(const AppName& app) {
  return kube::make_object(resources::namespaces, "", app.text(),
                           {{"heritage", "deis"}, {"pod-security.kubernetes.io/enforce", "baseline"}});
}

std::optional<json::object> quota_for(const AppName& app, const Settings& settings) {
  const auto setting = parse_json(settings.namespace_quota);
  if (!setting || !setting->is_object()) return std::nullopt;
  auto quota = kube::make_object(resources::resource_quotas, app.text(), app.text() + "-quota", app_labels(app));
  merge_over(quota, setting->get_object());
  return quota;
}

json::object service_for(const AppSpec& app) {
  auto labels = app_labels(app.app);
  labels["router.deis.io/routable"] = word(app.routable);
  auto service = kube::make_object(resources::services, app.app.text(), app.app.text(), labels);
  json::object annotations;
  for (const auto& [key, value] : router_annotations(app)) {
    if (!value.empty()) annotations[key] = value;
  }
  service["metadata"].get_object()["annotations"] = std::move(annotations);
  service["spec"] = {{"ports", http_port()}};
  return service;
}

json::object service_of_type_for(const AppName& app, const ProcessType& type, Selected selected) {
  return leading_service(app, app.text(), type, selected);
}

json::object path_service_of_type_for(const AppName& app, const ProcessType& type, Selected selected) {
  return leading_service(app, path_service_name(app, type), type, selected);
}

json::object service_leftovers(const AppSpec& app, const json::object& live) {
  json::object annotations;
  for (const auto& [key, value] : router_annotations(app)) {
    if (value.empty() && !kube::annotation_of(live, key).empty()) annotations[key] = nullptr;
  }
  if (annotations.empty()) return {};
  return {{"metadata", {{"annotations", std::move(annotations)}}}};
}

std::string path_service_name(const AppName& app, const ProcessType& type) { return app.text() + "-" + type.text(); }

json::object path_service_for(const AppSpec& app, const PathService& path) {
  auto labels = app_labels(app.app);
  labels["router.deis.io/routable"] = "true";
  const auto name = path_service_name(app.app, path.type);
  auto service = kube::make_object(resources::services, app.app.text(), name, labels);
  service["metadata"].get_object()["annotations"] = {{"router.deis.io/domains", name},
                                                     {"router.deis.io/proxyDomain", app.app.text()},
                                                     {"router.deis.io/proxyLocations", join(path.paths, ",")},
                                                     {"router.deis.io/maintenance", word(app.maintenance)}};
  service["spec"] = {{"ports", http_port()}};
  return service;
}

json::object autoscaler_for(const AppName& app, const ProcessType& type, const Autoscale& rule) {
  auto labels = app_labels(app);
  labels["type"] = type.text();
  const auto name = app.text() + "-" + type.text();
  auto autoscaler = kube::make_object(resources::horizontal_pod_autoscalers, app.text(), name, labels);
  const json::object target{{"type", "Utilization"}, {"averageUtilization", rule.cpu_percent}};
  autoscaler["spec"] = {
      {"minReplicas", rule.min},
      {"maxReplicas", rule.max},
      {"metrics", json::array{json::object{{"type", "Resource"}, {"resource", {{"name", "cpu"}, {"target", target}}}}}},
      {"scaleTargetRef", {{"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"name", name}}}};
  return autoscaler;
}

std::optional<json::object> ingress_for(const AppName& app, const Settings& settings) {
  if (!settings.native_ingress) return std::nullopt;
  auto ingress = kube::make_object(resources::ingresses, app.text(), app.text(), app_labels(app));
  const json::object backend{{"service", {{"name", app.text()}, {"port", {{"number", 80}}}}}};
  const json::object path{{"path", "/"}, {"pathType", "Prefix"}, {"backend", backend}};
  const json::object rule{{"host", app.text() + "." + settings.ingress_hostname},
                          {"http", {{"paths", json::array{path}}}}};
  ingress["spec"] = {{"rules", json::array{rule}}};
  return ingress;
}

std::string certificate_secret_name(const std::string& certificate) { return certificate + "-cert"; }

json::object certificate_secret_for(const AppName& app, const Certificate& certificate) {
  auto labels = app_labels(app);
  labels["type"] = "certificate";
  return kube::make_secret(app.text(), certificate_secret_name(certificate.name), labels,
                           {{"tls.crt", certificate.certificate_pem}, {"tls.key", certificate.key_pem.reveal()}},
                           "kubernetes.io/tls");
}

}  // namespace workflow::controller::cluster
