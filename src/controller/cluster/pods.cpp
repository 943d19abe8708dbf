#include <algorithm>
#include <iterator>
#include <set>
#include <tuple>

#include "controller/cluster/app_objects.h"
#include "controller/cluster/apply.h"
#include "controller/cluster/cluster.h"
#include "controller/cluster/pod_state.h"
#include "controller/cluster/release_objects.h"
#include "controller/cluster/rollouts.h"
#include "controller/cluster/turnover.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

namespace workflow::controller::cluster {

using namespace std::chrono_literals;

namespace {
namespace resources = kube::resources;
constexpr std::size_t log_limit = 8u << 20;  // of one pod

std::string selector_of(const AppName& app) { return "app=" + app.text() + ",heritage=deis"; }

Task<std::string> read_log(kube::Client& client, std::string ns, std::string pod, kube::LogOptions options) {
  auto body = co_await client.log(std::move(ns), std::move(pod), std::move(options));
  std::string text;
  for (;;) {
    auto piece = co_await body->read();
    if (piece.empty() || text.size() > log_limit) co_return valid_utf8(std::move(text));
    text += piece;
  }
}

// Lines of one pod's container as it is, or as it was before its restart; none while it has not begun.
Task<std::vector<LogLine>> lines_of(kube::Client& client, const json::object& pod, kube::LogOptions options) {
  std::vector<LogLine> lines;
  std::string text;
  try {
    text = co_await with_deadline(10s, "the log of " + kube::name_of(pod) + " does not come",
                                  read_log(client, kube::namespace_of(pod), kube::name_of(pod), std::move(options)));
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout) {
      text = "the log of " + kube::name_of(pod) + " cannot be read now: " + error.message();
      lines.push_back(platform_line(SystemClock().now(), "WARN", text));
    }
    co_return lines;
  }
  for (const auto& line : split(text, '\n')) {
    if (line.empty()) continue;
    const auto space = std::min(line.find(' '), line.size());
    const auto rest = space < line.size() ? line.substr(space + 1) : std::string();
    const auto timestamp = line.substr(0, space);
    lines.push_back({parse_rfc3339(timestamp).value_or(Time{}), log_line(pod, timestamp, rest)});
  }
  co_return lines;
}

// Several read one after the other until all pods are: one that is slow keeps few waiting.
struct LogReading {
  std::vector<json::object> pods;
  std::size_t next = 0;
  std::vector<LogLine> lines;
  std::exception_ptr failure;
};
Task<> read_logs(kube::Client& client, LogReading& reading, int count) {
  try {
    while (reading.next < reading.pods.size()) {
      const auto& pod = reading.pods[reading.next++];
      const auto status = kube::pod_status_of(pod);
      const bool restarted = std::ranges::any_of(status.containers, [](const auto& c) { return c.restarts > 0; });
      // What a process said before it ended is what its reader looks for.
      for (const bool previous : restarted ? std::vector{true, false} : std::vector{false}) {
        kube::LogOptions options{.previous = previous, .timestamps = true, .tail_lines = count};
        auto lines = co_await lines_of(client, pod, std::move(options));
        std::ranges::move(lines, std::back_inserter(reading.lines));
      }
    }
  } catch (const Error&) {
    reading.failure = std::current_exception();
    reading.next = reading.pods.size();
  }
}

// --- restart

struct Replacement {
  std::string type;
  ObjectPtr pod;
  std::size_t replicas = 0;
  Time deadline{};
};
// Deletes one of several pods, once no request reaches it, and waits until as many serve as should.
Task<> replace_pod(const Place& place, AppWatch& watch, Replacement what) {
  const auto& [type, doomed, replicas, deadline] = what;
  const auto pod = kube::name_of(*doomed);
  const auto late = co_await retire(place, watch.app(), {doomed});
  if (!late.empty()) log::warn("a pod is stopped before the routers forgot it", kv("pod", pod), kv("reason", late));
  co_await place.client.remove(resources::pods, watch.app().text(), pod);
  for (;;) {
    const auto seen = watch.version();
    const auto pods = watch.pods(type, "");
    const auto ready = std::count_if(pods.begin(), pods.end(),
                                     [&](const auto& p) { return kube::is_pod_ready(*p) && kube::name_of(*p) != pod; });
    if (static_cast<std::size_t>(ready) >= replicas) co_return;
    if (SystemClock().now() >= deadline) {
      throw Error(ErrorKind::timeout, "only " + std::to_string(ready) + " of " + std::to_string(replicas) +
                                          " pods of " + type +
                                          " came back after the restart; `deis ps` and `deis logs` say more");
    }
    co_await watch.wait(seen, deadline);
  }
}

// `filter.type` becomes that of the pod that `filter.name` names; `before` are the pods as they were.
struct Restart {
  PodFilter& filter;
  std::set<std::string>& before;
  std::chrono::milliseconds limit;
};
Task<> restart_watched(const Place& place, Restart what, AppWatch& watch) {
  auto& filter = what.filter;
  watch.begin();
  co_await watch.ready();
  const auto& app = watch.app();
  const SystemClock clock;
  std::vector<Rollout> rollouts;
  for (const auto& [name, deployment] : watch.deployments()) {
    const auto type = kube::label_of(*deployment, "type");
    const auto replicas = find_integer(*deployment, {"spec", "replicas"}).value_or(1);
    if (replicas == 0 || (filter.type && filter.type->text() != type)) continue;
    const auto pods = watch.pods(type, "");
    const auto named = std::ranges::find_if(pods, [&](const auto& p) { return fits(*p, app, filter); });
    const bool is_single = !filter.name.empty();
    if (is_single && named == pods.end()) continue;
    for (const auto& known : pods) what.before.insert(kube::name_of(*known));
    if (is_single) filter.type = ProcessType::parse(type);
    if (is_single && replicas > 1) {
      Replacement replacement{type, *named, static_cast<std::size_t>(replicas), clock.now() + what.limit};
      co_await replace_pod(place, watch, std::move(replacement));
      continue;
    }
    // A lone pod is replaced before it goes: a rolling restart of its type.
    json::object annotation{{"kubectl.kubernetes.io/restartedAt", rfc3339_micros(clock.now())}};
    json::object patch{{"spec", {{"template", {{"metadata", {{"annotations", std::move(annotation)}}}}}}}};
    auto spec = *deployment;
    hold(spec);
    for (const auto* field : {"minReadySeconds", "progressDeadlineSeconds"})
      patch["spec"].get_object()[field] = spec.at("spec").at(field);
    auto answer =
        co_await place.client.patch(resources::deployments, app.text(), name, kube::PatchType::merge, std::move(patch));
    rollouts.push_back(rollout_of(watch, answer, std::chrono::ceil<std::chrono::seconds>(what.limit), place.settings));
  }
  auto outcome = co_await follow(place.client, watch, rollouts, {});
  if (outcome.ok) {
    Turnover turnover{watch, rollouts, {}, {}};
    co_await turn_over(place, std::move(turnover), outcome);
  }
  if (!outcome.ok) {
    // As any rollout that takes long: the cluster goes on with it by itself.
    for (const auto& r : rollouts) {
      if (r.view.until == RolloutView::Until::next_step && r.view.deployment)
        co_await place.client.patch(resources::deployments, app.text(), r.view.container, kube::PatchType::merge,
                                    release_patch(*r.view.deployment));
    }
    throw Error(ErrorKind::timeout, outcome.message);
  }
  if (!outcome.late.empty())
    log::warn("pods were stopped before the routers forgot them", kv("app", app), kv("reason", outcome.late));
}

// --- clean-up

void note_references(const json::object& pod_spec, std::set<std::string>& secrets) {
  if (const auto* list = find_path(pod_spec, {"imagePullSecrets"}); list != nullptr && list->is_array()) {
    for (const auto& entry : list->get_array()) secrets.insert(find_string(entry, {"name"}).value_or(""));
  }
}
}  // namespace

Task<std::vector<PodInfo>> list_pods(kube::Client& client, AppName app, PodFilter filter) {
  const auto list = co_await client.list(resources::pods, app.text(), {.label_selector = selector_of(app)});
  const auto now = SystemClock().now();
  std::vector<PodInfo> pods;
  for (const auto& pod : list.items) {
    if (is_listed(pod, now) && fits(pod, app, filter)) pods.push_back(pod_info(pod));
  }
  std::sort(pods.begin(), pods.end(),
            [](const auto& a, const auto& b) { return std::tie(b.started, a.name) < std::tie(a.started, b.name); });
  co_return pods;
}

Task<std::vector<PodInfo>> restart(Place place, AppName app, PodFilter filter, std::chrono::milliseconds limit) {
  AppWatch watch(place.client, app);
  std::set<std::string> before;
  co_await with_cleanup(restart_watched(place, {filter, before, limit}, watch), [&watch] { return watch.stop(); });
  const bool single = !filter.name.empty();
  if (single && !filter.type) co_return std::vector<PodInfo>{};  // there was no such pod
  filter.name.clear();
  auto pods = co_await list_pods(place.client, app, std::move(filter));
  std::erase_if(pods, [&](const auto& pod) { return pod.state == "terminating" || before.contains(pod.name); });
  if (single && pods.size() > 1) pods.resize(1);  // the newest: the one that came instead
  co_return pods;
}

LogLine platform_line(Time at, std::string_view level, std::string_view text) {
  auto time = rfc3339(at);
  time.pop_back();  // the Z
  return {at, time + "+00:00 deis[controller]: " + std::string(level) + " " + std::string(text)};
}

Task<std::vector<LogLine>> logs(kube::Client& client, AppName app, int lines) {
  constexpr std::size_t most_readers = 8;
  auto pods = co_await client.list(resources::pods, app.text(), {.label_selector = selector_of(app)});
  LogReading reading{.pods = std::move(pods.items)};
  TaskGroup readers(client.executor());
  for (std::size_t i = 0; i < std::min(most_readers, reading.pods.size()); ++i)
    readers.spawn("read logs", read_logs(client, reading, lines));
  co_await with_cleanup(readers.join(), [&readers] { return readers.stop(); });
  if (reading.failure) std::rethrow_exception(reading.failure);
  co_return std::move(reading.lines);
}

Task<> clean_up(kube::Client& client, AppName app, ReleaseVersion current) {
  const kube::ListOptions of_app{.label_selector = selector_of(app)};
  const auto now = SystemClock().now();
  std::set<std::string> versions{current.text()};
  std::set<std::string> pull_secrets;
  const auto sets = co_await client.list(resources::replica_sets, app.text(), of_app);
  for (const auto& set : sets.items) {
    versions.insert(kube::label_of(set, "version"));
    if (const auto* spec = find_path(set, {"spec", "template", "spec"}))
      note_references(spec->get_object(), pull_secrets);
  }
  const auto pods = co_await client.list(resources::pods, app.text(), of_app);
  for (const auto& pod : pods.items) {
    versions.insert(kube::label_of(pod, "version"));
    const auto created = kube::meta_of(pod).created;
    // Left by a controller that died while it waited for the command.
    const bool forgotten =
        kube::label_of(pod, "type") == "run" && kube::is_pod_finished(pod) && created && now - *created > 1h;
    if (forgotten) co_await client.remove(resources::pods, app.text(), kube::name_of(pod));
    if (const auto* spec = find_path(pod, {"spec"})) note_references(spec->get_object(), pull_secrets);
  }
  const auto is_old = [&](const std::string& version) {
    const auto number = ReleaseVersion::parse(version);
    return number && *number < current && !versions.contains(version);
  };
  const auto secrets = co_await client.list(resources::secrets, app.text(), of_app);
  json::object old_urls;
  for (const auto& secret : secrets.items) {
    const auto name = kube::name_of(secret);
    const auto type = kube::label_of(secret, "type");
    const bool old_env = type == "env" && is_old(kube::label_of(secret, "version"));
    const bool old_pull = type == "registry" && !pull_secrets.contains(name);
    if (old_env || old_pull) co_await client.remove(resources::secrets, app.text(), name);
    if (name != slug_secret_name(app)) continue;
    for (const auto& [version, url] : string_map(find_path(secret, {"data"}))) {
      if (is_old(version)) old_urls[version] = nullptr;
    }
  }
  if (old_urls.empty()) co_return;
  json::object patch{{"data", std::move(old_urls)}};
  co_await client.patch(resources::secrets, app.text(), slug_secret_name(app), kube::PatchType::merge,
                        std::move(patch));
}

}  // namespace workflow::controller::cluster
