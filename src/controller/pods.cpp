// Endpoints of processes: pods, scale, run (spec/controller-api.md, sections 2.4.7, 2.4.8 and 2.8).
#include "controller/cluster/cluster.h"
#include "controller/jobs.h"
#include "controller/release_spec.h"
#include "controller/repeats.h"
#include "controller/rules.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

json::array pods_json(const std::vector<cluster::PodInfo>& pods) {
  json::array out;
  for (const auto& pod : pods) {
    out.push_back(json::object{{"name", pod.name},
                               {"type", pod.type},
                               {"release", pod.release},
                               {"state", pod.state},
                               {"started", pod.started},
                               {"restarts", pod.restarts}});
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
  auto restarting = cluster::restart(parts.place(), call.app.name(), filter_of(call));
  const auto pods = co_await on_platform("(restart): ", std::move(restarting));
  if (!pods.empty()) {
    const auto of = call.param("name").empty() ? call.param("type") : call.param("name");
    const auto what = call.caller().username + " restarted pods" + (of.empty() ? "" : " of " + of);
    co_await parts.db.transact([&](sql::Tx& tx) { record_event(tx, call.caller().username, call.app, what); });
  }
  co_return answer(200, pods_json(pods));
}

struct ScalePlan {
  App app;
  Release live;
  json::object structure;
  std::string summary;
};
// nullopt when the counts are these already.
std::optional<ScalePlan> plan_scale(sql::Tx& tx, const AppCall& call) {
  ScalePlan plan{.app = lock_app(tx, call.app.uuid)};
  refuse_while_busy(tx, plan.app);
  plan.live = live_release(tx, plan.app.uuid);
  if (!plan.live.build) throw Error(ErrorKind::invalid, "No build associated with this release");
  plan.structure = plan.app.structure;
  std::vector<std::string> words;
  for (const auto& [type, value] : call.body) {
    const auto count = scale_count(value);
    const auto& build = *plan.live.build;
    const bool is_default = type == "web" && build.procfile.empty() && kind_of(build) == cluster::BuildKind::slug;
    const bool stops_it = count == 0 && plan.structure.contains(type);
    if (type != "cmd" && !build.procfile.contains(type) && !is_default && !stops_it) {
      throw Error(ErrorKind::not_found, "Container type " + std::string(type) + " does not exist in application");
    }
    plan.structure[type] = count;
    words.push_back(std::string(type) + "=" + std::to_string(count));
  }
  if (plan.structure == plan.app.structure) return std::nullopt;
  plan.summary = call.caller().username + " scaled pods " + join(words, " ");
  return plan;
}

Task<http::Response> scale(Parts& parts, AppCall& call) {
  if (call.body.empty()) co_return nothing();
  if (call.begun_job) {
    const auto result = co_await parts.jobs.follow(*call.begun_job);
    if (!result.ok) throw Error(ErrorKind::unavailable, result.message);
    co_return nothing();
  }
  if (call.dry_run()) {
    const auto plan = co_await parts.db.transact([&](sql::Tx& tx) { return plan_scale(tx, call); });
    json::object told{{"dry_run", true}, {"summary", plan ? plan->summary : ""}};
    const auto change = plan ? object_difference(plan->app.structure, plan->structure) : BeforeAfter{};
    told["before"] = change.before;
    told["after"] = change.after;
    co_return answer(200, told);
  }
  auto record = [&](sql::Tx& tx) -> std::optional<std::int64_t> {
    const auto plan = plan_scale(tx, call);
    if (!plan) return std::nullopt;
    record_event(tx, call.caller().username, plan->app, plan->summary,
                 object_difference(plan->app.structure, plan->structure));
    const auto job = Jobs::insert(tx, plan->app, "scale", plan->live.uuid, plan->structure, parts.jobs.holder());
    remember_job(tx, call, job);
    return job;
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
    record_event(tx, call.caller().username, call.app, call.caller().username + " runs a one-off command");
    return live;
  };
  const auto live = co_await parts.db.transact(read);
  const auto where = call.app.id + " (run): ";
  auto specifying = release_spec(parts, {call.app, live, {}, {}});
  auto spec = co_await on_platform(where, std::move(specifying));
  auto running = cluster::run(parts.kube, parts.settings.cluster, {std::move(spec), command, {}});
  const auto result = co_await on_platform(where, std::move(running));
  co_return answer(200, json::object{{"exit_code", result.exit_code}, {"output", result.output}});
}

}  // namespace

void add_pod_routes(Api& api) {
  auto& parts = api.parts();
  struct Path {
    const char *path, *id, *summary;
  };
  for (const auto& [path, id, summary] : {Path{"/pods/", "listPods", "Pods of the live release, newest first"},
                                          {"/pods/{type}/", "listPodsOfType", "Pods of one process type"},
                                          {"/pods/{type}/{name}/", "getPod", "One pod, as a list"}}) {
    api.add_app("GET", path, Access::use, {id, summary, "", {{200, "PodList"}}},
                [&parts](AppCall& call) { return list_pods(parts, call); });
  }
  for (const auto& [path, id, summary] :
       {Path{"/pods/restart/", "restart", "Restart all pods"},
        {"/pods/{type}/restart/", "restartType", "Restart the pods of one process type"},
        {"/pods/{type}/{name}/restart/", "restartPod", "Restart one pod"}}) {
    api.add_app("POST", path, Access::use, {id, summary, "Nothing", {{200, "Pods"}}, {409}},
                [&parts](AppCall& call) { return restart_pods(parts, call); });
  }
  api.add_app("POST", "/scale/", Access::use,
              {"scale",
               "Set the counts of process types and wait until they are so",
               "Counts",
               {{200, "DryRun"}, {204, ""}},
               {409, 422},
               {"dry_run"}},
              [&parts](AppCall& call) { return scale(parts, call); });
  api.add_app("POST", "/run/", Access::use,
              {"run", "Run a command in a pod of its own and wait for its end", "Command", {{200, "CommandResult"}}},
              [&parts](AppCall& call) { return run(parts, call); });
}

}  // namespace workflow::controller
