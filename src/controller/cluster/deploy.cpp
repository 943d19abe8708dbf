#include <set>

#include "controller/cluster/app_objects.h"
#include "controller/cluster/apply.h"
#include "controller/cluster/cluster.h"
#include "controller/cluster/release_objects.h"
#include "controller/cluster/rollouts.h"
#include "controller/cluster/turnover.h"
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
enum class Counted { by_us, by_autoscaler };
json::object merged_with(const json::object& live, json::object wanted, Counted counted) {
  auto& annotations = member(member(wanted, "metadata"), "annotations");
  if (const auto* existing = find_path(live, {"metadata", "annotations"})) {
    for (const auto& [key, value] : existing->get_object()) {
      if (!annotations.contains(key)) annotations[key] = value;
    }
  }
  if (const auto replicas = find_integer(live, {"spec", "replicas"}); counted == Counted::by_autoscaler && replicas) {
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
  json::object written{
      {"apiVersion", "apps/v1"}, {"kind", "Deployment"}, {"metadata", std::move(metadata)}, {"spec", live.at("spec")}};
  let_go(written);
  return written;
}

// To the type that the release serves with; one that serves with none leaves them where they are.
Task<> lead_requests(kube::Client& client, const AppSpec& app, const ReleaseSpec& release, Selected selected) {
  for (const auto& path : app.path_services) {
    if (!release.processes.contains(path.type)) continue;
    auto service = path_service_of_type_for(app.app, path.type, selected);
    co_await client.apply(resources::services, app.app.text(), std::move(service), release_manager);
  }
  const auto type = routed_type(release);
  if (!type) co_return;
  auto service = service_of_type_for(release.app, *type, selected);
  co_await client.apply(resources::services, release.app.text(), std::move(service), release_manager);
}

// One deploy, while it is going on.
class Deploy {
 public:
  Deploy(Place place, Deployment what)
      : place_(place),
        client_(place.client),
        settings_(place.settings),
        app_(std::move(what.app)),
        next_(std::move(what.next)),
        previous_(std::move(what.previous)),
        progress_(std::move(what.progress)),
        watch_(client_, app_.app) {}

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
    if (outcome.ok) co_await switch_over(outcome);
    if (!outcome.ok) {
      co_await put_back(outcome);
      co_return;
    }
    try {
      co_await stop_the_rest();
    } catch (const Error& error) {  // the release serves; what should have stopped is stopped by the next deploy
      log::warn("cannot stop process types that the release does not run", kv("app", app_.app),
                kv("error", error.message()));
    }
  }

  // With something there to give way, a new release comes up beside it and waits.
  enum class Pace { held, at_once };
  Task<Rollout> move(const ReleaseSpec& release, ProcessType type, int replicas, Pace pace) {
    const auto name = deployment_name(app_.app, type);
    const DeploymentOptions options{.replicas = replicas, .nodes = nodes_};
    auto wanted = deployment_for(settings_, app_, release, type, options);
    if (const auto live = watch_.deployment(name)) {
      const auto found = release.processes.find(type);
      wanted =
          merged_with(*live, std::move(wanted), found->second.autoscaled ? Counted::by_autoscaler : Counted::by_us);
      if (pace == Pace::held && !watch_.pods(type.text(), "").empty()) hold(wanted);
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
    try {
      for (const auto& [type, process] : next_.processes) {
        if (!runs(type)) continue;
        moved_.insert(type);
        rollouts_.push_back(co_await move(next_, type, process.replicas, Pace::held));
        // What tells old from new is the version: a controller that died may have begun new ones.
        rollouts_.back().view.old_pods.clear();
      }
    } catch (const Error& error) {
      // The cluster refuses the object itself; anything else is not about this release.
      if (error.kind() != ErrorKind::unprocessable && error.kind() != ErrorKind::forbidden &&
          error.kind() != ErrorKind::invalid) {
        throw;
      }
      co_return DeployOutcome{.message = "the cluster refuses the release: " + error.message()};
    }
    co_return co_await follow(client_, watch_, rollouts_, progress_);
  }

  // The new pods are up, or as many as there is room for: requests go to them, and the old ones go.
  Task<> switch_over(DeployOutcome& outcome) {
    co_await label_unlabelled();
    led_ = true;
    co_await lead_requests(client_, app_, next_, Selected::pods_that_serve);
    std::vector<ObjectPtr> rest;
    for (const auto& pod : watch_.all_pods()) {
      const auto type = ProcessType::parse(kube::label_of(*pod, "type"));
      const bool is_of_a_deployment = type && before_.contains(deployment_name(app_.app, *type));
      if (is_of_a_deployment && !runs(*type) && !is_leaving(*pod)) rest.push_back(pod);
    }
    Turnover turnover{watch_, rollouts_, std::move(rest), progress_};
    co_await turn_over(place_, std::move(turnover), outcome);
  }

  // Pods of a release from before there was the label, which Services are about to select: they stay in them.
  Task<> label_unlabelled() {
    for (const auto& pod : watch_.all_pods()) {
      const auto type = ProcessType::parse(kube::label_of(*pod, "type"));
      if (!type || !is_reachable(app_, *type) || is_labelled(*pod) || is_leaving(*pod)) continue;
      co_await client_.patch(resources::pods, ns(), kube::name_of(*pod), kube::PatchType::merge, staying_patch(*pod));
    }
  }

  // What the release does not run is stopped after the switch, and kept at 0 for a rollback.
  Task<> stop_the_rest() {
    for (const auto& [type, process] : next_.processes) {
      if (!runs(type)) co_await move(next_, type, 0, Pace::at_once);
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
    co_return co_await move(*previous_, type, old_process->replicas, Pace::at_once);
  }

  static const ProcessSpec* find_process(const ReleaseSpec& release, const ProcessType& type) {
    const auto found = release.processes.find(type);
    return found == release.processes.end() ? nullptr : &found->second;
  }
  std::chrono::seconds limit_of_put_back() const { return std::chrono::seconds(settings_.deploy_timeout_seconds); }

  // As the pods are that it goes back to.
  Selected selected_before() const {
    const auto type = routed_type(*previous_);
    const auto found = type ? before_.find(deployment_name(app_.app, *type)) : before_.end();
    if (found == before_.end()) return Selected::pods_that_serve;
    const auto* pod = find_path(*found->second, {"spec", "template"});
    return pod != nullptr && is_labelled(pod->get_object()) ? Selected::pods_that_serve : Selected::all_pods;
  }

  Task<> put_back(DeployOutcome& outcome) {
    if (progress_ && previous_ != nullptr) {
      progress_("There was a problem deploying " + next_.version.text() + ". Rolling back process types to release " +
                previous_->version.text() + ".");
    }
    watch_.forget_events();  // what they said was about the release that failed
    co_await bring_back(place_, watch_);
    if (led_ && previous_ != nullptr) co_await lead_requests(client_, app_, *previous_, selected_before());
    std::vector<Rollout> rollouts;
    for (const auto& type : moved_) {
      auto rollout = co_await put_back_type(type);
      if (rollout) rollouts.push_back(std::move(*rollout));
    }
    const auto back = co_await follow(client_, watch_, rollouts, progress_);
    if (!back.ok) outcome.message += "\nGoing back to the previous release has a problem, too: " + back.message;
  }

  Place place_;
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
  std::vector<Rollout> rollouts_;  // of those
  bool led_ = false;               // the Service was led to the new release
};

// --- scale

class Scale {
 public:
  Scale(Place place, Scaling what) : place_(place), what_(std::move(what)), watch_(place.client, what_.app.app) {}

  Task<DeployOutcome> run() {
    DeployOutcome outcome;
    co_await with_cleanup(run_watched(outcome), [this] { return watch_.stop(); });
    co_return outcome;
  }

 private:
  Task<> run_watched(DeployOutcome& outcome) {
    std::map<ProcessType, int> wanted;
    for (const auto& [type, count] : what_.before) {
      const auto found = what_.release.processes.find(type);
      if (found == what_.release.processes.end())
        throw Error(ErrorKind::not_found, "Container type " + type.text() + " does not exist in application");
      wanted[type] = found->second.replicas;
    }
    watch_.begin();
    co_await watch_.ready();
    // Scaling may start the first process that is routed, or stop the last. One that begins is led to when it is there.
    outcome = co_await set_counts(wanted);
    if (!outcome.ok) {
      watch_.forget_events();
      const auto back = co_await set_counts(what_.before);
      if (!back.ok) outcome.message += "\nGoing back to the previous counts has a problem, too: " + back.message;
      co_return;
    }
    co_await lead_requests(place_.client, what_.app, what_.release, selected());
    auto late = co_await served(place_, what_.app.app, watch_.all_pods());
    if (outcome.late.empty()) outcome.late = std::move(late);
  }

  Selected selected() const {
    const auto type = routed_type(what_.release);
    const auto live = type ? watch_.deployment(deployment_name(what_.app.app, *type)) : nullptr;
    const auto* pod = live ? find_path(*live, {"spec", "template"}) : nullptr;
    return pod == nullptr || is_labelled(pod->get_object()) ? Selected::pods_that_serve : Selected::all_pods;
  }

  // Those that the type has too many of are out of the endpoints before they are told to stop.
  Task<std::string> retire_surplus(const ProcessType& type, int count) {
    auto pods = watch_.pods(type.text(), "");
    std::erase_if(pods, [](const auto& pod) { return kube::is_being_deleted(*pod) || kube::is_pod_finished(*pod); });
    const auto surplus = std::max(static_cast<int>(pods.size()) - count, 0);
    co_return co_await retire(place_, what_.app.app, first_to_go(std::move(pods), static_cast<std::size_t>(surplus)));
  }

  Task<DeployOutcome> set_counts(const std::map<ProcessType, int>& counts) {
    std::vector<Rollout> rollouts;
    std::string late;
    for (const auto& [type, count] : counts) {
      const DeploymentOptions options{.replicas = count};
      const auto limit = rollout_limit(place_.settings, what_.app, what_.release, type, options);
      json::object answer;
      if (const auto live = watch_.deployment(deployment_name(what_.app.app, type))) {
        const auto now = find_integer(*live, {"spec", "replicas"});
        if (now == count) continue;
        if (now > count) late = co_await retire_surplus(type, count);
        json::object patch{{"spec", {{"replicas", count}}}};
        answer = co_await place_.client.patch(resources::deployments, what_.app.app.text(), kube::name_of(*live),
                                              kube::PatchType::merge, std::move(patch));
      } else {
        if (count == 0) continue;
        co_await write_secrets(place_.client, what_.release);
        answer = co_await put(place_.client, resources::deployments, what_.app.app.text(),
                              deployment_for(place_.settings, what_.app, what_.release, type, options));
      }
      rollouts.push_back(rollout_of(watch_, answer, limit, place_.settings));
    }
    auto outcome = co_await follow(place_.client, watch_, rollouts, what_.progress);
    // The cluster may have chosen others than we did.
    co_await bring_back(place_, watch_);
    outcome.late = std::move(late);
    co_return outcome;
  }

  Place place_;
  Scaling what_;
  AppWatch watch_;
};
}  // namespace

Task<DeployOutcome> deploy(Place place, Deployment what) {
  Deploy work(place, std::move(what));
  co_return co_await work.run();
}

Task<DeployOutcome> scale(Place place, Scaling what) {
  check_release(what.app, what.release);
  Scale work(place, std::move(what));
  co_return co_await work.run();
}

}  // namespace workflow::controller::cluster
