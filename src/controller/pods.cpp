// Endpoints of processes: pods, scale, run (spec/controller-api.md, sections 2.4.7, 2.4.8 and 2.8).
#include "controller/cluster/cluster.h"
#include "controller/jobs.h"
#include "controller/rules.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

json::array pods_json(const std::vector<cluster::PodInfo>& pods) {
  json::array out;
  for (const auto& pod : pods) {
    out.push_back(json::object{{"name", pod.name}, {"type", pod.type}, {"release", pod.release}, {"state", pod.state},
                               {"started", pod.started}, {"restarts", pod.restarts}});
  }
  return out;
}

cluster::PodFilter filter_of(const AppCall& call) {
  cluster::PodFilter filter;
  const auto type = call.param("type");
  filter.name = call.param("name");
  // With a name, the type in the path is not compared.
  if (!type.empty() && filter.name.empty()) {
    filter.type = ProcessType::parse(type);
    if (!filter.type) filter.name = "-";  // no such type can exist: nothing matches
  }
  return filter;
}

Task<http::Response> list_pods(Parts& parts, AppCall& call) {
  auto filter = filter_of(call);
  const auto live = co_await parts.db.transact([&](sql::Tx& tx) { return live_release(tx, call.app.uuid); });
  filter.version = ReleaseVersion{live.version};
  auto listing = cluster::list_pods(parts.kube, call.app.name(), filter);
  const auto pods = co_await on_platform("(list pods): ", std::move(listing));
  co_return answer(200, json::object{{"results", pods_json(pods)}, {"count", pods.size()}});
}

Task<http::Response> restart_pods(Parts& parts, AppCall& call) {
  co_await parts.db.transact([&](sql::Tx& tx) { refuse_while_busy(tx, call.app); });
  auto restarting = cluster::restart(parts.kube, parts.settings.cluster, call.app.name(), filter_of(call));
  const auto pods = co_await on_platform("(restart): ", std::move(restarting));
  co_return answer(200, pods_json(pods));
}

Task<http::Response> scale(Parts& parts, AppCall& call) {
  if (call.body.empty()) co_return nothing();
  auto record = [&](sql::Tx& tx) -> std::optional<std::int64_t> {
    const auto app = lock_app(tx, call.app.uuid);
    refuse_while_busy(tx, app);
    const auto live = live_release(tx, app.uuid);
    if (!live.build) throw Error(ErrorKind::invalid, "No build associated with this release");
    auto structure = app.structure;
    std::vector<std::string> words;
    for (const auto& [type, value] : call.body) {
      const auto count = scale_count(value);
      if (type != "cmd" && !live.build->procfile.contains(type) && !structure.contains(type)) {
        throw Error(ErrorKind::not_found, "Container type " + std::string(type) + " does not exist in application");
      }
      structure[type] = count;
      words.push_back(std::string(type) + "=" + std::to_string(count));
    }
    if (structure == app.structure) return std::nullopt;
    record_event(tx, call.caller().username, app.id, call.caller().username + " scaled pods " + join(words, " "));
    return Jobs::insert(tx, app, "scale", live.uuid, structure, parts.jobs.holder());
  };
  const auto job = co_await parts.db.transact(record);
  if (job) {
    const auto result = co_await parts.jobs.perform(*job, call.app.uuid);
    if (!result.ok) throw Error(ErrorKind::unavailable, result.message);
  }
  co_return nothing();
}

Task<http::Response> run(Parts& parts, AppCall& call) {
  const auto command = find_string(call.body, {"command"}).value_or("");
  if (command.empty()) throw Error(ErrorKind::invalid, "command is a required field");
  auto read = [&](sql::Tx& tx) {
    const auto live = live_release(tx, call.app.uuid);
    if (!live.build) throw Error(ErrorKind::invalid, "No build associated with this release to run this command");
    record_event(tx, call.caller().username, call.app.id, call.caller().username + " runs a one-off command");
    return live;
  };
  const auto live = co_await parts.db.transact(read);
  auto running = cluster::run(parts.kube, parts.settings.cluster, parts.jobs.release_spec(call.app, live, {}, {}), command, {});
  const auto result = co_await on_platform(call.app.id + " (run): ", std::move(running));
  co_return answer(200, json::object{{"exit_code", result.exit_code}, {"output", result.output}});
}

}  // namespace

void add_pod_routes(Api& api) {
  auto& parts = api.parts();
  for (const char* path : {"/pods/", "/pods/{type}/", "/pods/{type}/{name}/"}) {
    api.add_app("GET", path, Access::use, [&parts](AppCall& call) { return list_pods(parts, call); });
  }
  for (const char* path : {"/pods/restart/", "/pods/{type}/restart/", "/pods/{type}/{name}/restart/"}) {
    api.add_app("POST", path, Access::use, [&parts](AppCall& call) { return restart_pods(parts, call); });
  }
  api.add_app("POST", "/scale/", Access::use, [&parts](AppCall& call) { return scale(parts, call); });
  api.add_app("POST", "/run/", Access::use, [&parts](AppCall& call) { return run(parts, call); });
}

}  // namespace workflow::controller
