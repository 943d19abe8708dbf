// Endpoints of config, builds and releases (spec/controller-api.md, sections 2.5 to 2.7).
#include "controller/releases.h"

#include "controller/cluster/cluster.h"
#include "controller/jobs.h"
#include "controller/repeats.h"
#include "controller/rules.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr sql::Query count_builds{"count_builds", "SELECT count(*) AS n FROM builds WHERE app_uuid = $1::uuid"};
constexpr sql::Query select_builds{
    "select_builds",
    "SELECT b.uuid, u.username AS owner, b.image, b.sha, b.procfile, b.dockerfile, "
    "to_char(b.created AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS created, "
    "to_char(b.updated AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS updated FROM builds b JOIN users u ON "
    "u.id = b.owner_id "
    "WHERE b.app_uuid = $1::uuid ORDER BY b.created DESC LIMIT $2::bigint OFFSET $3::bigint"};
constexpr sql::Query count_releases{
    "count_releases", "SELECT count(*) AS n FROM releases WHERE app_uuid = $1::uuid AND state <> 'pending'"};
// What a change comes to: a release that is live at once, or one that a job makes live.
struct Begun {
  Release release;
  std::optional<std::int64_t> job;
};

Begun begin(sql::Tx& tx, const Jobs& jobs, const Call& call, const App& app, NewRelease release, const Build* build,
            const json::object& structure) {
  release.state = build ? "pending" : "live";
  const auto release_before = live_release(tx, app.uuid).version;
  Begun begun{insert_release(tx, release), std::nullopt};
  if (!build) {
    record_event(tx, begun.release.owner, app, release.summary,
                 {{{"release", release_before}}, {{"release", begun.release.version}}});
    return begun;
  }
  begun.job = Jobs::insert(tx, app, "deploy", begun.release.uuid, structure, jobs.holder());
  remember_job(tx, call, *begun.job);
  return begun;
}

// Waits for the deploy; a failed one is the client's answer, with the reason.
Task<> finish(Parts& parts, const App& app, const Begun& begun) {
  parts.jobs.announce(app, begun.release);
  if (!begun.job) co_return;
  const auto result = co_await parts.jobs.perform(*begun.job, app.uuid);
  if (!result.ok) throw Error(ErrorKind::invalid, result.message);
}

// The release that an earlier sending of this request began, once its deploy has ended.
Task<Release> finished_before(Parts& parts, std::int64_t job) {
  const auto result = co_await parts.jobs.follow(job);
  if (!result.ok) throw Error(ErrorKind::invalid, result.message);
  co_return co_await parts.db.transact([job](sql::Tx& tx) { return get_release(tx, Jobs::release_of(tx, job)); });
}

// What ?dry_run=true answers: nothing of it is done.
http::Response would_change(const std::string& summary, const BeforeAfter& change) {
  return answer(
      200, json::object{{"dry_run", true}, {"summary", summary}, {"before", change.before}, {"after", change.after}});
}

Task<> check_tags(Parts& parts, const Config& before, const Config& after) {
  if (after.tags.empty()) co_return;
  std::map<std::string, std::string> tags;
  std::vector<std::string> all, fresh;
  for (const auto& [key, value] : after.tags) {
    const auto text = std::string(key) + "=" + python_text(value);
    tags[std::string(key)] = python_text(value);
    all.push_back(text);
    const auto* old = before.tags.if_contains(key);
    if (!old || *old != value) fresh.push_back(text);
  }
  auto counting = cluster::count_nodes(parts.kube, tags);
  if (co_await on_platform("", std::move(counting)) > 0) co_return;
  auto message = "No nodes matched the provided labels: " + join(all, ", ");
  if (!before.tags.empty() && !fresh.empty()) message += " - Addition of " + join(fresh, ", ") + " is the cause";
  throw Error(ErrorKind::invalid, message);
}

// The live config with the change applied; throws for anything that cannot be.
Config changed_config(const Settings& settings, const Config& live, const json::object& body) {
  Fields fields(body);
  std::map<std::string_view, json::object> changes;
  for (const auto& [name, map] : config_maps()) changes[name] = config_change(fields, name);
  fields.done();
  Config next = live;
  for (const auto& [name, map] : config_maps()) {
    if (name == "healthcheck")
      next.healthcheck = merge_healthcheck(std::move(next.healthcheck), changes[name]);
    else
      next.*map = merge_map(std::move(next.*map), changes[name], name);
  }
  migrate_healthcheck_values(next);
  // What is there already may shrink step by step.
  if (!changes["values"].empty()) {
    if (auto problems = problems_of_sizes(next.values); !problems.empty()) throw Error(std::move(problems));
  }
  json::object registry;
  for (const auto& [key, value] : next.registry) registry[lower(key)] = value;
  next.registry = std::move(registry);
  if (!next.registry.empty() && !next.values.contains("PORT")) {
    throw Error(ErrorKind::invalid, "PORT needs to be set in the config when using a private registry");
  }
  if (next.tags.empty()) next.tags = settings.default_tags;
  return next;
}

// The change as it is now, under the app's lock.
struct ConfigPlan {
  App app;
  Release current;
  Config next;
  std::string summary;
};
ConfigPlan plan_config(sql::Tx& tx, const Parts& parts, const AppCall& call) {
  ConfigPlan plan{.app = lock_app(tx, call.app.uuid)};
  refuse_while_busy(tx, plan.app);
  plan.current = live_release(tx, plan.app.uuid);
  const auto expected = call.request.headers.find("If-Match");
  if (expected && *expected != "*" && *expected != etag_of(print_json(to_json(plan.app, plan.current.config)))) {
    throw with_status(412, "The config has changed since you read it");
  }
  plan.next = changed_config(parts.settings, plan.current.config, call.body);
  plan.summary = change_summary(call.caller().username, plan.current.config, plan.next);
  if (plan.summary.empty())
    throw Error(ErrorKind::conflict, call.caller().username + " changed nothing - release stopped");
  return plan;
}

Task<http::Response> set_config(Parts& parts, AppCall& call) {
  const auto& app = call.app;
  if (call.begun_job) {
    const auto release = co_await finished_before(parts, *call.begun_job);
    co_return answer(201, to_json(app, release.config));
  }
  const auto live = co_await parts.db.transact([&](sql::Tx& tx) { return live_release(tx, app.uuid); });
  co_await check_tags(parts, live.config, changed_config(parts.settings, live.config, call.body));
  if (call.dry_run()) {
    const auto plan = co_await parts.db.transact([&](sql::Tx& tx) { return plan_config(tx, parts, call); });
    co_return would_change(plan.summary, config_difference(plan.current.config, plan.next));
  }
  auto record = [&](sql::Tx& tx) {
    // Somebody else's release may have come between: the change is merged over what is live now.
    const auto plan = plan_config(tx, parts, call);
    NewRelease release{.app_uuid = app.uuid, .owner = call.caller().id};
    release.config_uuid = insert_config(tx, app.uuid, call.caller().id, plan.next);
    const auto& build = plan.current.build;
    if (build) release.build_uuid = build->uuid;
    release.summary = plan.summary;
    record_event(tx, call.caller().username, app,
                 "config " + app.id + "-" + release.config_uuid.substr(0, 7) + " updated",
                 config_difference(plan.current.config, plan.next));
    return begin(tx, parts.jobs, call, plan.app, release, build ? &*build : nullptr, plan.app.structure);
  };
  const auto begun = co_await parts.db.transact(record);
  co_await finish(parts, app, begun);
  co_return answer(201, to_json(app, begun.release.config));
}

Build build_from(const json::object& body, const std::string& owner) {
  Fields fields(body);
  Build build;
  build.owner = owner;
  build.image = fields.text("image", {}).value_or("");
  if (const auto reserved = reserved_repository(build.image); !reserved.empty())
    fields.problem("image", "Repository name " + reserved + " is not allowed, as it is reserved by Deis");
  build.sha = fields.text("sha", {.required = false, .blank_allowed = true, .max = 40}).value_or("");
  build.dockerfile = fields.text("dockerfile", {.required = false, .blank_allowed = true}).value_or("");
  if (auto procfile = fields.map("procfile")) build.procfile = *std::move(procfile);
  for (const auto& [type, command] : build.procfile) {
    if (!is_process_type(type))
      fields.problem("procfile", "Process types can only contain lowercase alphanumeric characters");
    if (command.is_null() || (command.is_string() && trim(command.get_string()).empty())) {
      fields.problem("procfile", "Command can't be empty for process type");
    } else if (!command.is_string()) {
      fields.problem("procfile", "Not a valid string.");
    }
  }
  fields.done();
  return build;
}

Task<http::Response> add_build(Parts& parts, AppCall& call) {
  const auto release = co_await deploy_build(parts, call, call.app, call.caller());
  co_return answer(201, to_json(call.app, *release.build));
}

Task<http::Response> list_builds(Parts& parts, AppCall& call) {
  auto to = [&call](const sql::Row& row) {
    return to_json(
        call.app, Build{row.text("uuid"), row.text("owner"), row.text("image"), row.text("sha"), row.text("dockerfile"),
                        row.text("created"), row.text("updated"), object_from(row.text("procfile"))});
  };
  co_return co_await list_rows(parts, call, {count_builds, select_builds}, {call.app.uuid}, to);
}

Task<http::Response> show_build(Parts& parts, AppCall& call) {
  constexpr sql::Query select_release_of_build{
      "select_release_of_build",
      "SELECT uuid FROM releases WHERE app_uuid = $1::uuid AND build_uuid::text = $2 ORDER BY version DESC LIMIT 1"};
  auto read = [&](sql::Tx& tx) {
    const auto rows = tx.query(select_release_of_build, {call.app.uuid, call.param("uuid")});
    if (rows.empty()) throw not_found("Build");
    return *get_release(tx, rows[0].text("uuid")).build;
  };
  co_return answer(200, to_json(call.app, co_await parts.db.transact(read)));
}

Task<http::Response> list_releases(Parts& parts, AppCall& call) {
  const auto page = Page::of(call.request);
  std::int64_t count = 0;
  auto read = [&](sql::Tx& tx) {
    count = tx.query(count_releases, {call.app.uuid})[0].integer("n");
    return releases_of(tx, call.app.uuid, page.limit, page.offset);
  };
  json::array releases;
  for (const auto& release : co_await parts.db.transact(read)) releases.push_back(to_json(call.app, release));
  co_return page_answer(call.request, page, count, std::move(releases));
}

Task<http::Response> show_release(Parts& parts, AppCall& call) {
  const auto version = call.param("version");
  const auto number = version.starts_with('v') ? parse_integer(std::string_view(version).substr(1)) : std::nullopt;
  if (!number) throw not_found("Release");
  const auto release =
      co_await parts.db.transact([&](sql::Tx& tx) { return find_release(tx, call.app.uuid, *number); });
  if (!release) throw not_found("Release");
  co_return answer(200, to_json(call.app, *release));
}

std::optional<std::int64_t> wanted_version(const json::object& body) {
  const auto* value = body.if_contains("version");
  if (!value || value->is_null()) return std::nullopt;
  const auto version =
      value->is_structured() || value->is_bool() ? std::nullopt : parse_integer(trim(python_text(*value)));
  if (!version) throw Error(ErrorKind::invalid, "version must be a whole number, the v left out");
  return version;
}

struct RollbackPlan {
  App app;
  Release current, target;
  json::object structure;
  std::string summary;
};
RollbackPlan plan_rollback(sql::Tx& tx, const AppCall& call, std::optional<std::int64_t> wanted) {
  RollbackPlan plan{.app = lock_app(tx, call.app.uuid)};
  refuse_while_busy(tx, plan.app);
  plan.current = live_release(tx, plan.app.uuid);
  const auto version = wanted.value_or(plan.current.version - 1);
  if (version < 1) throw Error(ErrorKind::invalid, "version cannot be below 0");
  if (version == 1) throw Error(ErrorKind::invalid, "Cannot roll back to initial release.");
  auto target = find_release(tx, plan.app.uuid, version);
  if (!target) throw Error(ErrorKind::invalid, "Release matching query does not exist.");
  if (target->state != "live") throw Error(ErrorKind::invalid, "Cannot roll back to failed release.");
  if (plan.current.build && !target->build)
    throw Error(ErrorKind::invalid, "Cannot roll back to a release without a build.");
  plan.target = *std::move(target);
  const auto& build = plan.target.build;
  plan.structure = build ? structure_after(plan.app.structure, plan.current.build, *build, true) : plan.app.structure;
  plan.summary = call.caller().username + " rolled back to v" + std::to_string(version);
  return plan;
}

BeforeAfter rollback_difference(const RollbackPlan& plan) {
  auto change = config_difference(plan.current.config, plan.target.config);
  auto image = [](const Release& release) {
    return release.build ? json::value(json::string(release.build->image)) : json::value(nullptr);
  };
  const auto rest = object_difference({{"image", image(plan.current)}, {"structure", plan.app.structure}},
                                      {{"image", image(plan.target)}, {"structure", plan.structure}});
  for (const auto& [key, value] : rest.before) change.before[key] = value;
  for (const auto& [key, value] : rest.after) change.after[key] = value;
  return change;
}

Task<http::Response> roll_back(Parts& parts, AppCall& call) {
  if (call.begun_job) {
    const auto release = co_await finished_before(parts, *call.begun_job);
    co_return answer(201, json::object{{"version", release.version}});
  }
  const auto wanted = wanted_version(call.body);
  if (call.dry_run()) {
    const auto plan = co_await parts.db.transact([&](sql::Tx& tx) { return plan_rollback(tx, call, wanted); });
    co_return would_change(plan.summary, rollback_difference(plan));
  }
  auto record = [&](sql::Tx& tx) {
    const auto plan = plan_rollback(tx, call, wanted);
    NewRelease release{.app_uuid = plan.app.uuid, .owner = call.caller().id, .config_uuid = plan.target.config.uuid};
    const auto& build = plan.target.build;
    if (build) release.build_uuid = build->uuid;
    release.summary = plan.summary;
    record_event(tx, call.caller().username, plan.app, "rollback to v" + std::to_string(plan.target.version) + " begun",
                 rollback_difference(plan));
    return begin(tx, parts.jobs, call, plan.app, release, build ? &*build : nullptr, plan.structure);
  };
  const auto begun = co_await parts.db.transact(record);
  co_await finish(parts, call.app, begun);
  co_return answer(201, json::object{{"version", begun.release.version}});
}

}  // namespace

Task<Release> deploy_build(Parts& parts, const Call& call, App app, User user) {
  if (call.begun_job) co_return co_await finished_before(parts, *call.begun_job);
  auto build = build_from(call.body, user.username);
  auto record = [&](sql::Tx& tx) {
    const auto locked = lock_app(tx, app.uuid);
    // The original's build routes say so with 400, and its clients know that.
    refuse_while_busy(tx, locked, ErrorKind::invalid);
    const auto live = live_release(tx, app.uuid);
    const bool procfile_gone = live.build && !live.build->procfile.empty() && build.procfile.empty();
    if (procfile_gone && parts.settings.reject_missing_procfile) {
      throw Error(ErrorKind::conflict,
                  "Last deployment had a Procfile but is missing in this deploy. For a successful deployment provide a "
                  "Procfile.");
    }
    if (procfile_gone && !parts.settings.remove_missing_procfile) build.procfile = live.build->procfile;
    NewRelease release{.app_uuid = app.uuid, .owner = user.id, .config_uuid = live.config.uuid};
    release.build_uuid = insert_build(tx, app.uuid, user.id, build);
    release.summary = build_summary(build);
    record_event(tx, user.username, app, "build " + app.id + "-" + release.build_uuid->substr(0, 7) + " created",
                 {{{"image", live.build ? json::value(json::string(live.build->image)) : json::value(nullptr)}},
                  {{"image", build.image}}});
    const auto structure = structure_after(locked.structure, live.build, build, parts.settings.remove_missing_procfile);
    return begin(tx, parts.jobs, call, locked, release, &build, structure);
  };
  const auto begun = co_await parts.db.transact(record);
  co_await finish(parts, app, begun);
  co_return begun.release;
}

void add_release_routes(Api& api) {
  auto& parts = api.parts();
  api.add_app("GET", "/config/", Access::use, {"getConfig", "The config of the live release", "", {{200, "Config"}}},
              [&parts](AppCall& call) -> Task<http::Response> {
                const auto live =
                    co_await parts.db.transact([&](sql::Tx& tx) { return live_release(tx, call.app.uuid); });
                co_return answer(200, to_json(call.app, live.config));
              });
  api.add_app("POST", "/config/", Access::use,
              {"setConfig",
               "Merge a change over the live config, as a new release, and deploy it; null takes a key away",
               "ConfigChange",
               {{200, "DryRun"}, {201, "Config"}},
               {409, 412, 422},
               {"dry_run"}},
              [&parts](AppCall& call) { return set_config(parts, call); });
  api.add_app("GET", "/builds/", Access::use, {"listBuilds", "Builds, newest first", "", {{200, "Build[]"}}},
              [&parts](AppCall& call) { return list_builds(parts, call); });
  api.add_app("POST", "/builds/", Access::use,
              {"createBuild", "Release and deploy an image", "BuildRequest", {{201, "Build"}}, {409, 422}},
              [&parts](AppCall& call) { return add_build(parts, call); });
  api.add_app("GET", "/builds/{uuid}/", Access::use, {"getBuild", "One build", "", {{200, "Build"}}},
              [&parts](AppCall& call) { return show_build(parts, call); });
  api.add_app("GET", "/releases/", Access::use,
              {"listReleases", "Releases, newest first, with those that failed", "", {{200, "Release[]"}}},
              [&parts](AppCall& call) { return list_releases(parts, call); });
  api.add_app("GET", "/releases/{version}/", Access::use,
              {"getRelease", "One release, by its version: v2", "", {{200, "Release"}}},
              [&parts](AppCall& call) { return show_release(parts, call); });
  api.add_app("POST", "/releases/rollback/", Access::use,
              {"rollBack",
               "Make a new release of an earlier one, by default the one before, and deploy it",
               "Rollback",
               {{200, "DryRun"}, {201, "ReleaseVersion"}},
               {409, 422},
               {"dry_run"}},
              [&parts](AppCall& call) { return roll_back(parts, call); });
}

}  // namespace workflow::controller
