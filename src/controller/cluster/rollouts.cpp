#include "controller/cluster/rollouts.h"

#include "controller/cluster/turnover.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

namespace workflow::controller::cluster {

using namespace std::chrono_literals;

namespace {
constexpr int explaining_lines = 20;

void refresh(Rollout& r, const AppWatch& watch) {
  r.view.deployment = watch.deployment(r.view.container);
  if (r.view.deployment != nullptr) r.written = nullptr;
  if (r.view.deployment == nullptr) r.view.deployment = r.written;
  r.view.events = watch.events(r.view.container);
  if (r.view.deployment == nullptr) return;
  // Somebody may change the count meanwhile: an autoscaler does.
  if (find_integer(*r.view.deployment, {"metadata", "generation"}).value_or(0) >= r.view.generation)
    r.view.replicas = static_cast<int>(find_integer(*r.view.deployment, {"spec", "replicas"}).value_or(1));
  if (r.view.until == RolloutView::Until::over) {
    r.view.pods = watch.pods(r.view.type.text(), r.version);
  } else {
    r.view.pods.clear();
    r.view.old_serving = 0;
    for (auto& pod : watch.pods(r.view.type.text(), "")) {
      if (!is_old(r, *pod))
        r.view.pods.push_back(std::move(pod));
      else if (!is_leaving(*pod))
        ++r.view.old_serving;
    }
  }
}

Task<std::string> read_all(std::shared_ptr<http::BodyReader> body) {
  std::string text;
  for (;;) {
    auto piece = co_await body->read();
    if (piece.empty() || text.size() > (1u << 20)) co_return valid_utf8(std::move(text));
    text += piece;
  }
}

Task<std::string> fetch_lines(kube::Client& client, std::string ns, std::string pod, kube::LogOptions options) {
  auto body = co_await client.log(std::move(ns), std::move(pod), std::move(options));
  co_return co_await read_all(std::move(body));
}

// What the process said last; "" when nobody knows any more.
Task<std::string> last_lines(kube::Client& client, const AppName& app, const std::string& container,
                             const Judgement& judgement) {
  for (const bool previous : {judgement.previous, !judgement.previous}) {
    try {
      kube::LogOptions options{.container = container, .previous = previous, .tail_lines = explaining_lines};
      auto text = co_await with_deadline(5s, "no log", fetch_lines(client, app.text(), judgement.pod, options));
      if (!trim(text).empty()) co_return std::string(trim(text));
    } catch (const Error&) {  // the failure itself is what matters
    }
  }
  co_return "";
}

Task<DeployOutcome> explain(kube::Client& client, const AppName& app, const Rollout& r, const Judgement& judgement) {
  std::string message = r.view.type.text() + ": " + judgement.reason;
  if (!judgement.pod.empty()) {
    const auto lines = co_await last_lines(client, app, r.view.container, judgement);
    if (!lines.empty()) message += ". Its last lines:\n" + lines;
  }
  co_return DeployOutcome{.message = std::move(message)};
}
}  // namespace

bool is_old(const Rollout& r, const json::object& pod) {
  return r.view.old_pods.contains(kube::uid_of(pod)) ||
         (!r.version.empty() && kube::label_of(pod, "version") != r.version);
}

Rollout rollout_of(const AppWatch& watch, const json::object& deployment, std::chrono::seconds limit,
                   const Settings& settings) {
  const auto type = ProcessType::parse(kube::label_of(deployment, "type"));
  WF_CHECK(type);
  Rollout r{.view = {.type = *type}};
  r.view.container = kube::name_of(deployment);
  r.view.generation = find_integer(deployment, {"metadata", "generation"}).value_or(0);
  r.view.replicas = static_cast<int>(find_integer(deployment, {"spec", "replicas"}).value_or(1));
  if (const auto* containers = find_path(deployment, {"spec", "template", "spec", "containers"});
      containers != nullptr && containers->is_array() && !containers->get_array().empty()) {
    const auto& container = containers->get_array().front();
    r.view.probed = find_path(container, {"readinessProbe"}) != nullptr;
    const auto port = find_integer(container, {"readinessProbe", "tcpSocket", "port"});
    if (port) r.view.port = static_cast<int>(*port);
  }
  r.version = find_string(deployment, {"spec", "template", "metadata", "labels", "version"}).value_or("");
  for (const auto& pod : watch.pods(type->text(), "")) r.view.old_pods.insert(kube::uid_of(*pod));
  if (is_held(deployment)) r.view.until = RolloutView::Until::next_step;
  r.view.surge =
      static_cast<int>(find_integer(deployment, {"spec", "strategy", "rollingUpdate", "maxSurge"}).value_or(1));
  r.written = std::make_shared<const json::object>(deployment);
  r.limits = {.began = SystemClock().now(), .whole = limit, .ignore_scheduling = settings.ignore_scheduling_failure};
  return r;
}

Task<DeployOutcome> follow(kube::Client& client, AppWatch& watch, std::vector<Rollout>& rollouts,
                           const Progress& progress) {
  const SystemClock clock;
  for (;;) {
    const auto seen = watch.version();
    std::optional<Time> look_again;
    bool all_up = true;
    for (auto& r : rollouts) {
      refresh(r, watch);
      const auto judgement = judge(r.view, r.limits, r.seen, clock.now());
      if (judgement.state == Judgement::State::failed) co_return co_await explain(client, watch.app(), r, judgement);
      const bool up = judgement.state == Judgement::State::up;
      const auto text = up ? std::to_string(r.view.replicas) + " of " + std::to_string(r.view.replicas) + " pods ready"
                           : judgement.reason;
      if (progress && std::exchange(r.told, text) != text) progress(r.view.type.text() + ": " + text);
      if (up) continue;
      all_up = false;
      if (judgement.look_again)
        look_again = std::min(look_again.value_or(*judgement.look_again), *judgement.look_again);
    }
    if (all_up) co_return DeployOutcome{.ok = true};
    co_await watch.wait(seen, look_again);
  }
}

}  // namespace workflow::controller::cluster
