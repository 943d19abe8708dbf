#include "controller/cluster/app_watch.h"

#include <algorithm>

namespace workflow::controller::cluster {

using namespace std::chrono_literals;

AppWatch::AppWatch(kube::Client& client, const AppName& app)
    : app_(app),
      changed_(client.executor()),
      deployments_(client, kube::resources::deployments, app.text(), {.label_selector = "app=" + app.text()}, notify()),
      pods_(client, kube::resources::pods, app.text(), {.label_selector = "app=" + app.text()}, notify()),
      events_(client, kube::resources::events, app.text(), {}, notify()),
      tasks_(client.executor()) {}

kube::Informer::Callbacks AppWatch::notify() {
  return {[this](const auto&) { changed_.notify_all(); }, [this](const auto&, const auto&) { changed_.notify_all(); },
          [this](const auto&) { changed_.notify_all(); }};
}

void AppWatch::begin() {
  tasks_.spawn("watch deployments", deployments_.run());
  tasks_.spawn("watch pods", pods_.run());
  tasks_.spawn("watch events", events_.run());
}

Task<> AppWatch::ready() {
  for (auto* informer : {&deployments_, &pods_, &events_}) {
    co_await with_deadline(30s, "the Kubernetes API does not answer", informer->wait_synced());
  }
  forget_events();
}

void AppWatch::forget_events() {
  for (const auto& [key, event] : events_.objects()) {
    old_events_[kube::uid_of(*event)] = find_string(*event, {"metadata", "resourceVersion"}).value_or("");
  }
}

Task<> AppWatch::stop() { co_await tasks_.stop(); }

ObjectPtr AppWatch::deployment(const std::string& name) const { return deployments_.find(app_.text(), name); }

std::vector<ObjectPtr> AppWatch::all_pods() const {
  std::vector<ObjectPtr> result;
  for (const auto& [key, pod] : pods_.objects()) result.push_back(pod);
  return result;
}

std::map<std::string, ObjectPtr> AppWatch::deployments() const {
  std::map<std::string, ObjectPtr> result;
  for (const auto& [key, object] : deployments_.objects()) result.emplace(kube::name_of(*object), object);
  return result;
}

std::vector<ObjectPtr> AppWatch::pods(const std::string& type, const std::string& version) const {
  std::vector<ObjectPtr> result;
  for (const auto& [key, pod] : pods_.objects()) {
    if (kube::label_of(*pod, "type") != type) continue;
    if (version.empty() || kube::label_of(*pod, "version") == version) result.push_back(pod);
  }
  return result;
}

std::vector<kube::EventView> AppWatch::events(const std::string& deployment) const {
  std::vector<kube::EventView> result;
  const auto prefix = deployment + "-";
  for (const auto& [key, event] : events_.objects()) {
    const auto old = old_events_.find(kube::uid_of(*event));
    if (old != old_events_.end() && old->second == find_string(*event, {"metadata", "resourceVersion"})) continue;
    auto view = kube::event_of(*event);
    // <deployment>-<hash> and <deployment>-<hash>-<5>: hashes have no dash, so that shop-web never takes
    // shop-web-api's.
    if (!view.name.starts_with(prefix)) continue;
    const auto dashes =
        std::count(view.name.begin() + static_cast<std::ptrdiff_t>(prefix.size()), view.name.end(), '-');
    if ((view.kind == "ReplicaSet" && dashes == 0) || (view.kind == "Pod" && dashes == 1))
      result.push_back(std::move(view));
  }
  return result;
}

Task<> AppWatch::wait(std::uint64_t seen, std::optional<Time> until) {
  if (!until) co_return co_await changed_.wait(seen);
  const auto left = std::max<std::chrono::nanoseconds>(*until - SystemClock().now(), 1ms);
  try {
    co_await with_deadline(left, "nothing changed", changed_.wait(seen));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::timeout) throw;
  }
}

}  // namespace workflow::controller::cluster
