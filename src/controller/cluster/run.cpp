#include <algorithm>
#include <functional>
#include <optional>
#include <string_view>

#include "controller/cluster/apply.h"
#include "controller/cluster/cluster.h"
#include "controller/cluster/release_objects.h"
#include "controller/cluster/rollout.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

namespace workflow::controller::cluster {

using namespace std::chrono_literals;

namespace {
namespace resources = kube::resources;
constexpr std::size_t output_limit = 10u << 20;

// One one-off pod, from its creation to its removal.
class Run {
 public:
  Run(kube::Client& client, const Settings& settings, OneOff what, json::object pod)
      : client_(client),
        settings_(settings),
        ns_(what.release.app.text()),
        name_(kube::name_of(pod)),
        type_(*ProcessType::parse("run")),
        pod_(std::move(pod)),
        output_(std::move(what.output)),
        limit_(what.limit),
        informer_(client, resources::pods, ns_, {.field_selector = "metadata.name=" + name_}),
        tasks_(client.executor()) {}

  Task<> run(RunResult& result) {
    tasks_.spawn("watch one-off pod", informer_.run());
    co_await client_.create(resources::pods, ns_, pod_);
    co_await wait_until_begun();
    co_await with_deadline(
        limit_, "the command did not end within " + std::to_string(limit_.count() / 1000) + " s and was stopped",
        collect(result));
  }
  // In every path: a pod that nobody waits for must not stay.
  Task<> clean_up() {
    co_await tasks_.stop();
    co_await client_.remove(resources::pods, ns_, name_, {.grace_period_seconds = 0});
  }

 private:
  static const kube::ContainerStatus* container_in(const kube::PodStatus& status) {
    return status.containers.empty() ? nullptr : &status.containers.front();
  }
  static bool has_begun(const json::object& pod) {
    if (kube::is_pod_finished(pod)) return true;
    const auto status = kube::pod_status_of(pod);
    const auto* c = container_in(status);
    return c != nullptr && (c->state.kind == kube::ContainerState::Kind::running ||
                            c->state.kind == kube::ContainerState::Kind::terminated);
  }

  // Until its container runs or has ended. The rules of a rollout say when that will not happen.
  Task<> wait_until_begun() {
    const SystemClock clock;
    RolloutView view{.type = type_, .container = ns_ + "-run", .replicas = 1};
    view.deployment = std::make_shared<const json::object>();
    const RolloutLimits limits{.began = clock.now(),
                               .whole = std::chrono::seconds(settings_.deploy_timeout_seconds),
                               .ignore_scheduling = settings_.ignore_scheduling_failure};
    FirstSeen seen;
    for (;;) {
      const auto version = informer_.changes().version();
      const auto pod = informer_.find(ns_, name_);
      view.pods.clear();
      if (pod != nullptr) view.pods.push_back(pod);
      if (pod != nullptr && has_begun(*pod)) co_return;
      const auto judgement = judge(view, limits, seen, clock.now());
      if (judgement.state == Judgement::State::failed) {
        throw Error(ErrorKind::unprocessable, "the command could not be started: " + judgement.reason);
      }
      const auto left = judgement.look_again.value_or(limits.began + limits.whole) - clock.now();
      try {
        co_await with_deadline(std::max<std::chrono::nanoseconds>(left, 1ms), "nothing changed",
                               informer_.changes().wait(version));
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::timeout) throw;
      }
    }
  }

  using Take = std::function<void(std::string_view)>;

  // Follows the log from its beginning to its end, and takes what comes after the first `told` bytes.
  Task<> follow(std::size_t& told, Take take) {
    auto body = co_await client_.log(ns_, name_, {.follow = true});
    std::size_t at = 0;
    for (auto piece = co_await body->read(); !piece.empty(); piece = co_await body->read()) {
      const auto known = std::min(piece.size(), told - std::min(told, at));
      at += piece.size();
      if (known == piece.size()) continue;
      told = at;
      take(std::string_view(piece).substr(known));
    }
  }

  // Nothing wrong with the command: the API server restarts, or its node has yet to find the container.
  bool passes(const Error& error) {
    const bool still_there = error.kind() == ErrorKind::not_found && informer_.find(ns_, name_) != nullptr;
    return still_there || error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout;
  }

  // All of the log. The API server may restart while the command runs; what came before is not taken again.
  Task<> follow_through(Take take) {
    std::size_t told = 0;
    for (auto pause = 100ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 2s)) {
      std::optional<Error> cut;
      try {
        co_await follow(told, take);
      } catch (const Error& error) {
        if (!passes(error)) throw;
        cut = error;
      }
      const auto pod = informer_.find(ns_, name_);
      if (!cut && (pod == nullptr || kube::is_pod_finished(*pod))) co_return;
      if (!cut && co_await ends_soon()) co_return;
      co_await sleep_for(pause);
    }
  }

  // Its log ends a moment before its status says so; that of a server that stops ends as well.
  Task<bool> ends_soon() {
    try {
      co_await informer_.wait_for(
          ns_, name_, [](const auto& p) { return p == nullptr || kube::is_pod_finished(*p); }, 2s, "it goes on");
      co_return true;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
    }
    co_return false;
  }

  Task<> collect(RunResult& result) {
    Utf8Stream text;  // what a program writes may be anything
    auto take = [&](const std::string& piece) {
      if (output_ && !piece.empty()) output_(piece);
      if (result.output.size() < output_limit) result.output += piece;
    };
    co_await follow_through([&](std::string_view piece) { take(text.add(piece)); });
    take(text.end());
    const auto pod = co_await informer_.wait_for(
        ns_, name_, [](const auto& p) { return p == nullptr || kube::is_pod_finished(*p); }, limit_,
        "the command did not end");
    if (pod == nullptr) throw Error(ErrorKind::unprocessable, "the pod of the command was deleted meanwhile");
    const auto status = kube::pod_status_of(*pod);
    const auto* c = container_in(status);
    const bool ended = c != nullptr && c->state.kind == kube::ContainerState::Kind::terminated;
    result.exit_code = ended ? c->state.exit_code : status.phase == "Succeeded" ? 0 : 1;
  }

  kube::Client& client_;
  const Settings& settings_;
  std::string ns_, name_;
  ProcessType type_;
  json::object pod_;
  std::function<void(std::string_view)> output_;
  std::chrono::milliseconds limit_;
  kube::Informer informer_;
  TaskGroup tasks_;
};
}  // namespace

Task<RunResult> run(kube::Client& client, const Settings& settings, OneOff what) {
  co_await write_secrets(client, what.release);
  auto pod = run_pod_for(settings, what.release, what.command, lower(random_alphanumeric(5)));
  Run work(client, settings, std::move(what), std::move(pod));
  RunResult result;
  co_await with_cleanup(work.run(result), [&work] { return work.clean_up(); });
  co_return result;
}

}  // namespace workflow::controller::cluster
