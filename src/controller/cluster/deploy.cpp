#include <set>

#include "controller/cluster/app_objects.h"
#include "controller/cluster/apply.h"
#include "controller/cluster/cluster.h"
#include "controller/cluster/release_objects.h"
#include "controller/cluster/rollouts.h"
#include "lib/base/log.h"

namespace workflow::controller::cluster {

namespace {
namespace resources = kube::resources;
constexpr auto restarted_at = "kubectl.kubernetes.io/restartedAt";

std::string version_of(const json::object& deployment) {
  return find_string(deployment, {"spec", "template", "metadata", "labels", "version"}).value_or("");
}

json::object& member(json::object& object, const char* key) {
  auto& value = object[key];
  if (!value.is_object()) value = json::object{};
  return value.get_object();
}

// Keeps what others wrote on the live object and a deploy must not undo: annotations of the cluster and of operators,
// the replicas of an autoscaler, a restart of this very release.
json::object merged_with(const json::object& live, json::object wanted, bool autoscaled) {
  auto& annotations = member(member(wanted, "metadata"), "annotations");
  if (const auto* existing = find_path(live, {"metadata", "annotations"})) {
    for (const auto& [key, value] : existing->get_object()) {
      if (!annotations.contains(key)) annotations[key] = value;
    }
  }
  if (const auto replicas = find_integer(live, {"spec", "replicas"}); autoscaled && replicas) {
    member(wanted, "spec")["replicas"] = *replicas;
  }
  const auto restart = find_string(live, {"spec", "template", "metadata", "annotations", restarted_at});
  if (restart && version_of(live) == version_of(wanted)) {
    member(member(member(member(wanted, "spec"), "template"), "metadata"), "annotations")[restarted_at] = *restart;
  }
  return wanted;
}

// A Deployment as it was, to be written again.
json::object as_written(const json::object& live) {
  json::object metadata;
  for (const auto* key : {"name", "namespace", "labels", "annotations"}) {
    if (const auto* value = find_path(live, {"metadata", key})) metadata[key] = *value;
  }
  return {
      {"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"metadata", std::move(metadata)}, {"spec", live.at("spec")}};
}

// To the type that the release serves with; one that serves with none leaves them where they are.
Task<> lead_requests(kube::Client& client, const ReleaseSpec& release) {
  const auto type = routed_type(release);
  if (!type) co_return;
  auto service = service_of_type_for(release.app, *type);
  co_await client.apply(resources::services, release.app.text(), std::move(service), release_manager);
}

// One deploy, while it is going on.
class Deploy {
 public:
  Deploy(kube::Client& client, const Settings& settings, AppSpec app, ReleaseSpec next,
         std::shared_ptr<const ReleaseSpec> previous, Progress progress)
      : client_(client),
        settings_(settings),
        app_(std::move(app)),
        next_(std::move(next)),
        previous_(std::move(previous)),
        progress_(std::move(progress)),
        watch_(client, app_.app) {}

  Task<DeployOutcome> run() {
    DeployOutcome outcome;
    co_await with_cleanup(run_watched(outcome), [this] { return watch_.stop(); });
    co_return outcome;
  }

 private:
  std::string ns() const { return app_.app.text(); }

  Task<> run_watched(DeployOutcome& outcome) {
    check_release(app_, next_);
    if (!co_await namespace_exists(client_, app_.app)) co_await apply_app(client_, settings_, app_);
    watch_.begin();
    nodes_ = co_await count_nodes(client_, next_.tags);
    co_await write_secrets(client_, next_);
    co_await watch_.ready();
    before_ = watch_.deployments();
    // What a controller that died had already moved is not what was there before.
    const bool is_again = previous_ != nullptr && previous_->version == next_.version;
    std::erase_if(before_,
                  [&](const auto& entry) { return !is_again && version_of(*entry.second) == next_.version.text(); });
    outcome = co_await start_and_check();
    if (!outcome.ok) {
      co_await put_back(outcome);
      co_return;
    }
    co_await lead_requests(client_, next_);
    try {
      co_await stop_the_rest();
    } catch (const Error& error) {  // the release serves; what should have stopped is stopped by the next deploy
      log::warn("cannot stop process types that the release does not run", kv("app", app_.app),
                kv("error", error.message()));
    }
  }

  Task<Rollout> move(const ReleaseSpec& release, ProcessType type, int replicas) {
    const auto name = deployment_name(app_.app, type);
    const DeploymentOptions options{.replicas = replicas, .nodes = nodes_};
    auto wanted = deployment_for(settings_, app_, release, type, options);
    if (const auto live = watch_.deployment(name)) {
      const auto found = release.processes.find(type);
      wanted = merged_with(*live, std::move(wanted), found->second.autoscaled);
    }
    const auto limit = rollout_limit(settings_, app_, release, type, options);
    const auto answer = co_await put(client_, resources::deployments, ns(), std::move(wanted));
    co_return rollout_of(watch_, answer, limit, settings_);
  }

  bool runs(const ProcessType& type) const {
    const auto found = next_.processes.find(type);
    if (found == next_.processes.end()) return false;
    return found->second.replicas > 0 || found->second.autoscaled;
  }

  Task<DeployOutcome> start_and_check() {
    std::vector<Rollout> rollouts;
    try {
      for (const auto& [type, process] : next_.processes) {
        if (!runs(type)) continue;
        moved_.insert(type);
        rollouts.push_back(co_await move(next_, type, process.replicas));
        rollouts.back().view.old_pods.clear();  // its pods are judged, also those that a controller that died had begun
      }
    } catch (const Error& error) {
      // The cluster refuses the object itself; anything else is not about this release.
      if (error.kind() != ErrorKind::unprocessable && error.kind() != ErrorKind::forbidden &&
          error.kind() != ErrorKind::invalid) {
        throw;
      }
      co_return DeployOutcome{false, "the cluster refuses the release: " + error.message()};
    }
    co_return co_await follow(client_, watch_, std::move(rollouts), progress_);
  }

  // What the release does not run is stopped after the switch, and kept at 0 for a rollback.
  Task<> stop_the_rest() {
    for (const auto& [type, process] : next_.processes) {
      if (!runs(type)) co_await move(next_, type, 0);
    }
    for (const auto& [name, live] : before_) {
      const auto type = ProcessType::parse(kube::label_of(*live, "type"));
      if (!type || next_.processes.contains(*type) || find_integer(*live, {"spec", "replicas"}) == 0) continue;
      json::object patch{{"spec", {{"replicas", 0}}}};
      co_await client_.patch(resources::deployments, ns(), name, kube::PatchType::merge, std::move(patch));
    }
  }

  Task<std::optional<Rollout>> put_back_type(ProcessType type) {
    const auto name = deployment_name(app_.app, type);
    const auto found = before_.find(name);
    const auto old_process = previous_ == nullptr ? nullptr : find_process(*previous_, type);
    if (previous_ == nullptr || (found == before_.end() && old_process == nullptr)) {
      co_await client_.remove(resources::deployments, ns(), name, {.propagation = "Background"});
      co_return std::nullopt;
    }
    // Exactly as it was, so that the cluster goes back to the pods it still has; unless that was another failure.
    if (found != before_.end() && (version_of(*found->second) == previous_->version.text() || old_process == nullptr)) {
      const auto answer = co_await put(client_, resources::deployments, ns(), as_written(*found->second));
      co_return rollout_of(watch_, answer, limit_of_put_back(), settings_);
    }
    co_await write_secrets(client_, *previous_);
    co_return co_await move(*previous_, type, old_process->replicas);
  }

  static const ProcessSpec* find_process(const ReleaseSpec& release, const ProcessType& type) {
    const auto found = release.processes.find(type);
    return found == release.processes.end() ? nullptr : &found->second;
  }
  std::chrono::seconds limit_of_put_back() const { return std::chrono::seconds(settings_.deploy_timeout_seconds); }

  Task<> put_back(DeployOutcome& outcome) {
    if (progress_ && previous_ != nullptr) {
      progress_("There was a problem deploying " + next_.version.text() + ". Rolling back process types to release " +
                previous_->version.text() + ".");
    }
    std::vector<Rollout> rollouts;
    for (const auto& type : moved_) {
      auto rollout = co_await put_back_type(type);
      if (rollout) rollouts.push_back(std::move(*rollout));
    }
    const auto back = co_await follow(client_, watch_, std::move(rollouts), progress_);
    if (!back.ok) outcome.message += "\nGoing back to the previous release has a problem, too: " + back.message;
  }

  kube::Client& client_;
  const Settings& settings_;
  AppSpec app_;
  ReleaseSpec next_;
  std::shared_ptr<const ReleaseSpec> previous_;
  Progress progress_;
  AppWatch watch_;
  std::size_t nodes_ = 1;
  std::map<std::string, ObjectPtr> before_;  // Deployments by name, as they were
  std::set<ProcessType> moved_;
};

// --- scale

Task<DeployOutcome> set_counts(kube::Client& client, const Settings& settings, const AppSpec& app,
                               const ReleaseSpec& release, AppWatch& watch, const std::map<ProcessType, int>& counts,
                               Progress progress) {
  std::vector<Rollout> rollouts;
  for (const auto& [type, count] : counts) {
    const auto name = deployment_name(app.app, type);
    const DeploymentOptions options{.replicas = count};
    const auto limit = rollout_limit(settings, app, release, type, options);
    json::object answer;
    if (const auto live = watch.deployment(name)) {
      if (find_integer(*live, {"spec", "replicas"}) == count) continue;
      json::object patch{{"spec", {{"replicas", count}}}};
      answer =
          co_await client.patch(resources::deployments, app.app.text(), name, kube::PatchType::merge, std::move(patch));
    } else {
      if (count == 0) continue;
      co_await write_secrets(client, release);
      answer = co_await put(client, resources::deployments, app.app.text(),
                            deployment_for(settings, app, release, type, options));
    }
    rollouts.push_back(rollout_of(watch, answer, limit, settings));
  }
  co_return co_await follow(client, watch, std::move(rollouts), std::move(progress));
}

Task<> scale_watched(kube::Client& client, const Settings& settings, const AppSpec& app, const ReleaseSpec& release,
                     const std::map<ProcessType, int>& before, Progress progress, AppWatch& watch,
                     DeployOutcome& outcome) {
  std::map<ProcessType, int> wanted;
  for (const auto& [type, count] : before) {
    const auto found = release.processes.find(type);
    if (found == release.processes.end())
      throw Error(ErrorKind::not_found, "Container type " + type.text() + " does not exist in application");
    wanted[type] = found->second.replicas;
  }
  watch.begin();
  co_await watch.ready();
  outcome = co_await set_counts(client, settings, app, release, watch, wanted, progress);
  if (!outcome.ok) {
    const auto back = co_await set_counts(client, settings, app, release, watch, before, progress);
    if (!back.ok) outcome.message += "\nGoing back to the previous counts has a problem, too: " + back.message;
    co_return;
  }
  // Scaling may start the first process that is routed, or stop the last.
  co_await lead_requests(client, release);
}
}  // namespace

Task<DeployOutcome> deploy(kube::Client& client, const Settings& settings, AppSpec app, ReleaseSpec next,
                           std::shared_ptr<const ReleaseSpec> previous, Progress progress) {
  Deploy work(client, settings, std::move(app), std::move(next), std::move(previous), std::move(progress));
  co_return co_await work.run();
}

Task<DeployOutcome> scale(kube::Client& client, const Settings& settings, AppSpec app, ReleaseSpec release,
                          std::map<ProcessType, int> before, Progress progress) {
  check_release(app, release);
  AppWatch watch(client, app.app);
  DeployOutcome outcome;
  co_await with_cleanup(scale_watched(client, settings, app, release, before, std::move(progress), watch, outcome),
                        [&watch] { return watch.stop(); });
  co_return outcome;
}

}  // namespace workflow::controller::cluster
