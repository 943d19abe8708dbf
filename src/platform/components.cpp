#include "platform/components.h"

#include <set>

#include "platform/secrets.h"

namespace workflow::platform {
namespace {

const kube::ListOptions of_platform{.label_selector = "heritage=deis"};

Task<> follow(kube::Informer& informer, std::function<void(const std::string&)> ready) {
  std::set<std::string> told;
  for (;;) {
    const auto seen = informer.changes().version();
    bool all = informer.synced() && !informer.objects().empty();
    for (const auto& [key, object] : informer.objects()) {
      const auto component = component_from(*object);
      if (!component.current) {
        all = false;
      } else if (told.insert(component.name).second) {
        ready(component.name);
      }
    }
    if (all) co_return;
    co_await informer.changes().wait(seen);
  }
}

}  // namespace

Component component_from(const json::object& deployment) {
  auto count = [&](std::string_view field) {
    return static_cast<int>(find_integer(deployment, {"status", field}).value_or(0));
  };
  Component out;
  out.name = find_string(deployment, {"metadata", "name"}).value_or("");
  out.version = find_string(deployment, {"metadata", "annotations", "component.deis.io/version"}).value_or("");
  out.wanted = static_cast<int>(find_integer(deployment, {"spec", "replicas"}).value_or(1));
  out.ready = count("readyReplicas");
  const auto generation = find_integer(deployment, {"metadata", "generation"}).value_or(0);
  out.current = count("observedGeneration") >= generation && count("updatedReplicas") == out.wanted &&
                count("replicas") == out.wanted && count("availableReplicas") == out.wanted;
  return out;
}

std::string problem_of(const json::object& pod) {
  const auto* statuses = find_path(pod, {"status", "containerStatuses"});
  if (statuses && statuses->is_array()) {
    for (const auto& status : statuses->as_array()) {
      if (find_bool(status, {"ready"}).value_or(false)) continue;
      for (const char* state : {"waiting", "terminated"}) {
        const auto reason = find_string(status, {"state", state, "reason"});
        if (!reason) continue;
        const auto message = find_string(status, {"state", state, "message"});
        return message ? *reason + ": " + *message : *reason;
      }
      return "not ready yet";
    }
  }
  return find_string(pod, {"status", "reason"}).value_or(statuses ? "" : "not started yet");
}

Task<std::vector<Component>> components(kube::Client& client) {
  auto deployments = co_await client.list(kube::resources::deployments, platform_namespace, of_platform);
  auto pods = co_await client.list(kube::resources::pods, platform_namespace, of_platform);
  std::vector<Component> out;
  for (const auto& deployment : deployments.items) {
    auto component = component_from(deployment);
    for (const auto& pod : pods.items) {
      if (component.current || find_string(pod, {"metadata", "labels", "app"}) != component.name) continue;
      if (auto problem = problem_of(pod); !problem.empty()) component.problem = problem;
    }
    out.push_back(std::move(component));
  }
  co_return out;
}

Task<> wait_until_ready(kube::Client& client, std::chrono::seconds limit,
                        std::function<void(const std::string&)> ready) {
  kube::Informer informer(client, kube::resources::deployments, platform_namespace, of_platform);
  TaskGroup tasks(co_await asio::this_coro::executor);
  tasks.spawn("deployments", informer.run());
  std::exception_ptr failure;
  try {
    co_await with_deadline(limit, "not ready in time", follow(informer, std::move(ready)));
  } catch (...) {
    failure = std::current_exception();
  }
  co_await tasks.stop();
  if (!failure) co_return;
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timeout) throw;
  }
  std::string who;
  for (const auto& component : co_await components(client)) {
    if (!component.current) who += "\n  " + component.name + ": " + component.problem;
  }
  throw Error(ErrorKind::timeout, "not ready after " + std::to_string(limit.count()) + " s:" + who +
                                      "\n`kubectl logs` and `kubectl describe pod` in namespace deis say more");
}

}  // namespace workflow::platform
