#include "controller/cluster/turnover.h"

#include <algorithm>
#include <tuple>

#include "lib/kube/selectors.h"

namespace workflow::controller::cluster {

namespace {
namespace resources = kube::resources;
constexpr auto deletion_cost = "controller.kubernetes.io/pod-deletion-cost";
constexpr auto leaving_cost = "-1000000";
// Longer than any rollout lasts, and the end of one that nobody brings to an end.
constexpr int hold_seconds = 3600;
constexpr std::size_t most_writers = 8;

json::object& spec_of(json::object& deployment) { return deployment.at("spec").get_object(); }

Task<> patch_one_by_one(kube::Client& client, const std::vector<ObjectPtr>& pods, std::size_t& next,
                        std::function<json::object(const json::object&)> patch_for) {
  while (next < pods.size()) {
    const auto pod = pods[next++];
    try {
      co_await client.patch(resources::pods, kube::namespace_of(*pod), kube::name_of(*pod), kube::PatchType::merge,
                            patch_for(*pod));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;  // gone already
    }
  }
}

Task<> patch_all(kube::Client& client, std::vector<ObjectPtr> pods,
                 std::function<json::object(const json::object&)> patch_for) {
  std::size_t next = 0;
  std::optional<Error> failure;
  auto write = [&]() -> Task<> {
    try {
      co_await patch_one_by_one(client, pods, next, patch_for);
    } catch (const Error& error) {
      failure = error;
      next = pods.size();
    }
  };
  TaskGroup writers(client.executor());
  for (std::size_t i = 0; i < std::min(most_writers, pods.size()); ++i) writers.spawn("label pods", write());
  co_await with_cleanup(writers.join(), [&writers] { return writers.stop(); });
  if (failure) throw *failure;
}

Task<std::vector<Route>> routes_now(const Place& place, const AppName& app, const std::vector<ObjectPtr>& pods,
                                    Pods kind) {
  const auto services =
      co_await place.client.list(resources::services, app.text(), {.label_selector = "router.deis.io/routable=true"});
  co_return routes_to(services.items, pods, kind);
}

// Of a rollout that is under way: pods of before that are still there and were not told to go.
std::vector<ObjectPtr> old_pods_of(const Rollout& r, const AppWatch& watch) {
  std::vector<ObjectPtr> old;
  for (const auto& pod : watch.pods(r.view.type.text(), "")) {
    if (is_old(r, *pod) && !is_leaving(*pod)) old.push_back(pod);
  }
  return old;
}
}  // namespace

bool is_labelled(const json::object& pod_or_template) {
  return kube::label_of(pod_or_template, serving_label) == "true";
}

void hold(json::object& deployment) {
  if (is_held(deployment)) return;
  auto& spec = spec_of(deployment);
  spec["minReadySeconds"] = hold_seconds;
  spec["progressDeadlineSeconds"] = find_integer(spec, {"progressDeadlineSeconds"}).value_or(600) + hold_seconds;
}

bool is_held(const json::object& deployment) {
  return find_integer(deployment, {"spec", "minReadySeconds"}) == hold_seconds;
}

void let_go(json::object& deployment) {
  if (!is_held(deployment)) return;
  auto& spec = spec_of(deployment);
  const auto change = release_patch(deployment).at("spec").get_object();
  spec["progressDeadlineSeconds"] = change.at("progressDeadlineSeconds");
  spec["strategy"].get_object()["rollingUpdate"].get_object()["maxUnavailable"] = 0;
  spec.erase("minReadySeconds");
}

json::object release_patch(const json::object& deployment) {
  const auto deadline = find_integer(deployment, {"spec", "progressDeadlineSeconds"}).value_or(600 + hold_seconds);
  return {{"spec",
           {{"minReadySeconds", 0},
            {"progressDeadlineSeconds", std::max<std::int64_t>(deadline - hold_seconds, 1)},
            {"strategy", {{"rollingUpdate", {{"maxUnavailable", 0}}}}}}}};
}

json::object allowing_patch(const RolloutView& view, int stay) {
  const auto may_go = std::clamp(view.replicas - stay, 0, view.replicas);
  return {{"spec", {{"strategy", {{"rollingUpdate", {{"maxUnavailable", may_go}}}}}}}};
}

json::object leaving_patch() {
  return {{"metadata", {{"labels", {{serving_label, nullptr}}}, {"annotations", {{deletion_cost, leaving_cost}}}}}};
}

json::object staying_patch(const json::object& pod) {
  json::object labels;
  if (address_of(pod)) labels[serving_label] = "true";
  return {{"metadata", {{"labels", std::move(labels)}, {"annotations", {{deletion_cost, nullptr}}}}}};
}

bool is_leaving(const json::object& pod) {
  return kube::is_being_deleted(pod) || kube::annotation_of(pod, deletion_cost) == leaving_cost;
}

std::optional<std::string> address_of(const json::object& pod) {
  const auto ip = find_string(pod, {"status", "podIP"}).value_or("");
  const auto* containers = find_path(pod, {"spec", "containers"});
  if (ip.empty() || containers == nullptr || !containers->is_array()) return std::nullopt;
  for (const auto& container : containers->get_array()) {
    const auto* ports = find_path(container, {"ports"});
    if (ports == nullptr || !ports->is_array()) continue;
    for (const auto& port : ports->get_array()) {
      const auto number = find_integer(port, {"containerPort"});
      if (find_string(port, {"name"}) != "http" || !number) continue;
      return (ip.find(':') == std::string::npos ? ip : "[" + ip + "]") + ":" + std::to_string(*number);
    }
  }
  return std::nullopt;
}

std::vector<ObjectPtr> first_to_go(std::vector<ObjectPtr> pods, std::size_t count) {
  auto rank = [](const ObjectPtr& pod) {
    const auto created = kube::meta_of(*pod).created.value_or(Time{});
    return std::tuple(!is_leaving(*pod), kube::is_pod_ready(*pod), -created.time_since_epoch(), kube::name_of(*pod));
  };
  std::sort(pods.begin(), pods.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  pods.resize(std::min(count, pods.size()));
  return pods;
}

std::vector<ObjectPtr> spare_pods(const RolloutView& view, const std::vector<ObjectPtr>& old_pods) {
  const auto ready =
      static_cast<int>(std::ranges::count_if(view.pods, [](const auto& pod) { return kube::is_pod_ready(*pod); }));
  if (ready >= view.replicas) return old_pods;
  const auto spare = ready + static_cast<int>(old_pods.size()) - view.replicas;
  return first_to_go(old_pods, static_cast<std::size_t>(std::max(spare, 0)));
}

std::vector<Route> routes_to(const std::vector<json::object>& services, const std::vector<ObjectPtr>& pods, Pods kind) {
  std::vector<Route> routes;
  for (const auto& service : services) {
    const auto* selector = find_path(service, {"spec", "selector"});
    if (selector == nullptr || !selector->is_object() || selector->get_object().empty()) continue;
    const auto requirements = kube::LabelSelector::from_map(selector);
    Route route{.ns = kube::namespace_of(service), .service = kube::name_of(service)};
    for (const auto& pod : pods) {
      const auto address = address_of(*pod);
      if (!address) continue;
      auto labels = string_map(find_path(*pod, {"metadata", "labels"}));
      if (kind == Pods::leaving) labels[serving_label] = "true";
      if (requirements.matches(labels)) (kind == Pods::leaving ? route.gone : route.serves).push_back(*address);
    }
    if (!route.serves.empty() || !route.gone.empty()) routes.push_back(std::move(route));
  }
  return routes;
}

Task<std::string> served(const Place& place, AppName app, std::vector<ObjectPtr> pods) {
  std::erase_if(pods, [](const auto& pod) { return is_leaving(*pod) || !kube::is_pod_ready(*pod); });
  auto routes = co_await routes_now(place, app, pods, Pods::serving);
  co_return co_await place.routers.wait_for(std::move(routes));
}

Task<std::string> retire(const Place& place, AppName app, std::vector<ObjectPtr> pods) {
  if (pods.empty()) co_return "";
  co_await patch_all(place.client, pods, [](const json::object&) { return leaving_patch(); });
  auto routes = co_await routes_now(place, app, pods, Pods::leaving);
  co_return co_await place.routers.wait_for(std::move(routes));
}

Task<> bring_back(const Place& place, const AppWatch& watch) {
  std::vector<ObjectPtr> pods;
  for (const auto& pod : watch.all_pods()) {
    if (!kube::is_being_deleted(*pod) && is_leaving(*pod)) pods.push_back(pod);
  }
  co_await patch_all(place.client, std::move(pods), staying_patch);
}

namespace {
void note(DeployOutcome& outcome, std::string lack) {
  if (!lack.empty()) outcome.late = std::move(lack);
}

// Gives up what is spare, once the routers serve what came instead. True when that was the rest.
Task<bool> take_step(const Place& place, Turnover& what, DeployOutcome& outcome) {
  auto& [watch, rollouts, rest, progress] = what;
  std::vector<ObjectPtr> fresh, leaving;
  std::map<std::string, int> stay;  // by Deployment: old pods that remain
  bool is_last = true;
  for (const auto& r : rollouts) {
    std::ranges::copy(r.view.pods, std::back_inserter(fresh));
    if (r.view.until != RolloutView::Until::next_step) continue;
    const auto old = old_pods_of(r, watch);
    const auto spare = spare_pods(r.view, old);
    std::ranges::copy(spare, std::back_inserter(leaving));
    stay[r.view.container] = static_cast<int>(old.size() - spare.size());
    is_last = is_last && old.size() == spare.size();
  }
  if (is_last) std::ranges::copy(rest, std::back_inserter(leaving));
  note(outcome, co_await served(place, watch.app(), std::move(fresh)));
  note(outcome, co_await retire(place, watch.app(), std::move(leaving)));
  for (auto& r : rollouts) {
    if (r.view.until != RolloutView::Until::next_step) continue;
    const bool done = stay[r.view.container] == 0;
    auto patch = done ? release_patch(*r.view.deployment) : allowing_patch(r.view, stay[r.view.container]);
    const auto answer = co_await place.client.patch(resources::deployments, watch.app().text(), r.view.container,
                                                    kube::PatchType::merge, std::move(patch));
    r.view.generation = find_integer(answer, {"metadata", "generation"}).value_or(r.view.generation);
    // Its pods are all there: what goes on is the end of those that were there before.
    if (done) r.finished = true;
  }
  co_return is_last;
}
}  // namespace

Task<> turn_over(const Place& place, Turnover what, DeployOutcome& outcome) {
  auto& [watch, rollouts, rest, progress] = what;
  for (;;) {
    if (co_await take_step(place, what, outcome)) co_return;
    std::erase_if(rollouts, [](const Rollout& r) { return r.finished; });
    auto late = std::move(outcome.late);
    outcome = co_await follow(place.client, watch, rollouts, progress);
    if (outcome.late.empty()) outcome.late = std::move(late);
    if (!outcome.ok) co_return;
  }
}

}  // namespace workflow::controller::cluster
