#include <algorithm>
#include <set>

#include "controller/cluster/app_objects.h"
#include "controller/cluster/apply.h"
#include "controller/cluster/cluster.h"
#include "controller/cluster/release_objects.h"
#include "controller/cluster/turnover.h"
#include "lib/kube/objects.h"

namespace workflow::controller::cluster {

using namespace std::chrono_literals;

namespace {
namespace resources = kube::resources;

Task<> ensure_namespace(kube::Client& client, const AppName& app) {
  auto existing = co_await client.find(resources::namespaces, "", app.text());
  if (!existing) {
    try {
      co_await client.create(resources::namespaces, "", namespace_for(app));
      co_return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::conflict) throw;
    }
    existing = co_await client.get(resources::namespaces, "", app.text());
  }
  if (kube::label_of(*existing, "heritage") != "deis") {
    throw Error(ErrorKind::conflict, app.text() + " already exists as a namespace in this Kubernetes setup");
  }
  if (kube::is_being_deleted(*existing)) {
    throw Error(ErrorKind::conflict, "the namespace " + app.text() + " is still being deleted; try again in a moment");
  }
}

std::string selector_of(const AppName& app) { return "app=" + app.text() + ",heritage=deis"; }

std::string version_of(const json::object& object) {
  return find_string(object, {"metadata", "resourceVersion"}).value_or("");
}

// Removes the objects that `keep` does not name; returns their names.
Task<std::vector<std::string>> remove_others(kube::Client& client, const kube::Resource& r, const AppName& app,
                                             std::string selector, std::set<std::string> keep) {
  const auto list = co_await client.list(r, app.text(), {.label_selector = std::move(selector)});
  std::vector<std::string> removed;
  for (const auto& item : list.items) {
    const auto name = kube::name_of(item);
    if (keep.contains(name)) continue;
    co_await client.remove(r, app.text(), name);
    removed.push_back(name);
  }
  co_return removed;
}

// Returns their versions by the names of their Secrets.
Task<std::map<std::string, std::string>> apply_certificates(kube::Client& client, const AppSpec& app) {
  std::set<std::string> wanted;
  std::map<std::string, std::string> versions;
  for (const auto& certificate : app.certificates) {
    const auto live =
        co_await client.apply(resources::secrets, app.app.text(), certificate_secret_for(app.app, certificate));
    const auto name = certificate_secret_name(certificate.name);
    versions[name] = version_of(live);
    wanted.insert(name);
  }
  co_await remove_others(client, resources::secrets, app.app, selector_of(app.app) + ",type=certificate", wanted);
  co_return versions;
}

Task<kube::List> deployments_of(kube::Client& client, const AppName& app) {
  return client.list(resources::deployments, app.text(), {.label_selector = selector_of(app)});
}

// As the pods are that the type has now, or will have when it has none.
Selected selected_of(const kube::List& deployments, const ProcessType& type) {
  for (const auto& deployment : deployments.items) {
    const auto* pod = find_path(deployment, {"spec", "template"});
    if (kube::label_of(deployment, "type") == type.text() && pod != nullptr && !is_labelled(pod->get_object()))
      return Selected::all_pods;
  }
  return Selected::pods_that_serve;
}

Task<std::vector<Route>> apply_path_services(kube::Client& client, const AppSpec& app) {
  std::set<std::string> wanted{app.app.text()};
  std::vector<Route> routes;
  for (const auto& path : app.path_services) {
    auto service = path_service_for(app, path);
    const auto name = kube::name_of(service);
    wanted.insert(name);
    auto live = co_await client.apply(resources::services, app.app.text(), std::move(service));
    if (find_path(live, {"spec", "selector"}) == nullptr) {
      const auto deployments = co_await deployments_of(client, app.app);
      auto leading = path_service_of_type_for(app.app, path.type, selected_of(deployments, path.type));
      live = co_await client.apply(resources::services, app.app.text(), std::move(leading), release_manager);
    }
    routes.push_back({.ns = app.app.text(), .service = name, .version = version_of(live)});
  }
  const auto removed = co_await remove_others(client, resources::services, app.app, selector_of(app.app), wanted);
  for (const auto& name : removed) routes.push_back({.ns = app.app.text(), .service = name, .absent = true});
  co_return routes;
}

Task<> apply_autoscalers(kube::Client& client, const AppSpec& app) {
  std::set<std::string> wanted;
  for (const auto& [type, rule] : app.autoscale) {
    auto autoscaler = autoscaler_for(app.app, type, rule);
    wanted.insert(kube::name_of(autoscaler));
    co_await client.apply(resources::horizontal_pod_autoscalers, app.app.text(), std::move(autoscaler));
  }
  co_await remove_others(client, resources::horizontal_pod_autoscalers, app.app, selector_of(app.app), wanted);
}

// Where a Service leads that no release has led anywhere: to what runs, or to what the first release will likely run.
ProcessType type_that_serves(const kube::List& deployments) {
  const auto web = *ProcessType::parse("web"), cmd = *ProcessType::parse("cmd");
  auto runs = [&](const ProcessType& type) {
    return std::ranges::any_of(deployments.items, [&](const auto& deployment) {
      return kube::label_of(deployment, "type") == type.text() &&
             find_integer(deployment, {"spec", "replicas"}).value_or(1) > 0;
    });
  };
  return !runs(web) && runs(cmd) ? cmd : web;
}

Task<Route> apply_service(kube::Client& client, const AppSpec& app) {
  const auto ns = app.app.text();
  auto live = co_await client.apply(resources::services, ns, service_for(app));
  if (find_path(live, {"spec", "selector"}) == nullptr) {
    const auto deployments = co_await deployments_of(client, app.app);
    const auto type = type_that_serves(deployments);
    auto leading = service_of_type_for(app.app, type, selected_of(deployments, type));
    live = co_await client.apply(resources::services, ns, std::move(leading), release_manager);
  }
  if (auto leftovers = service_leftovers(app, live); !leftovers.empty())
    live = co_await client.patch(resources::services, ns, ns, kube::PatchType::merge, std::move(leftovers));
  if (!app.routable) co_return Route{.ns = ns, .service = ns, .absent = true};
  co_return Route{.ns = ns, .service = ns, .version = version_of(live)};
}
}  // namespace

Task<std::vector<Route>> apply_app(kube::Client& client, const Settings& settings, AppSpec app) {
  const auto ns = app.app.text();
  co_await ensure_namespace(client, app.app);
  if (auto quota = quota_for(app.app, settings))
    co_await client.apply(resources::resource_quotas, ns, std::move(*quota));
  auto certificates = co_await apply_certificates(client, app);  // before the Service that names them
  auto route = co_await apply_service(client, app);
  if (!route.absent) route.certificates = std::move(certificates);
  auto routes = co_await apply_path_services(client, app);
  routes.push_back(std::move(route));
  co_await apply_autoscalers(client, app);
  if (auto ingress = ingress_for(app.app, settings))
    co_await client.apply(resources::ingresses, ns, std::move(*ingress));
  co_return routes;
}

Task<bool> namespace_exists(kube::Client& client, AppName app) {
  const auto found = co_await client.find(resources::namespaces, "", app.text());
  co_return found.has_value();
}

Task<> destroy_app(kube::Client& client, AppName app, std::chrono::milliseconds limit) {
  kube::Informer informer(client, resources::namespaces, "", {.field_selector = "metadata.name=" + app.text()});
  TaskGroup tasks(client.executor());
  tasks.spawn("watch namespace", informer.run());
  const auto delete_and_wait = [&]() -> Task<> {
    co_await client.remove(resources::namespaces, "", app.text());
    co_await informer.wait_for(
        "", app.text(), [](const auto& object) { return object == nullptr; }, limit,
        "the cluster is still deleting " + app.text() + "; it goes on in the background");
  };
  co_await with_cleanup(delete_and_wait(), [&tasks] { return tasks.stop(); });
}

Task<std::size_t> count_nodes(kube::Client& client, std::map<std::string, std::string> tags) {
  std::string selector;
  for (const auto& [key, value] : tags) selector += (selector.empty() ? "" : ",") + key + "=" + value;
  const auto nodes = co_await client.list(resources::nodes, "", {.label_selector = selector});
  co_return nodes.items.size();
}

Task<> renew_slug_urls(kube::Client& client, AppName app, std::map<ReleaseVersion, Secret> urls) {
  std::map<std::string, std::string> values;
  for (const auto& [version, url] : urls) values[version.text()] = url.reveal();
  auto secret = kube::make_secret(app.text(), slug_secret_name(app), app_labels(app), values);
  json::object patch{{"data", secret["data"]}};  // a merge: keys of other releases stay
  co_await patch_or_create(client, resources::secrets, app.text(), std::move(patch), std::move(secret));
}

}  // namespace workflow::controller::cluster
