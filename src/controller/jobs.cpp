#include "controller/jobs.h"

#include <algorithm>

#include "controller/cluster/cluster.h"
#include "controller/cluster/routers.h"
#include "controller/deploy_hooks.h"
#include "controller/feed.h"
#include "controller/reconcile.h"
#include "controller/release_spec.h"
#include "controller/slug_urls.h"
#include "lib/base/log.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

constexpr sql::Query insert_job{"insert_job",
                                "INSERT INTO jobs (app_uuid, kind, release_uuid, structure, lease_holder, lease_until) "
                                "VALUES ($1::uuid, $2, $3::uuid, $4, $5, "
                                "now() + $6::interval) RETURNING id"};
constexpr sql::Query select_job{
    "select_job",
    "SELECT j.kind, j.release_uuid, j.structure, a.id AS app FROM jobs j JOIN apps a ON a.uuid = j.app_uuid "
    "WHERE j.id = $1::bigint AND j.state = 'running' AND j.lease_holder = $2"};
constexpr sql::Query finish_job{"finish_job",
                                "UPDATE jobs SET state = $2, message = $3, finished = now() WHERE id = $1::bigint AND "
                                "state = 'running' AND lease_holder = $4"};
constexpr sql::Query select_job_state{"select_job_state", "SELECT state, message FROM jobs WHERE id = $1::bigint"};
constexpr sql::Query select_job_release{"select_job_release", "SELECT release_uuid FROM jobs WHERE id = $1::bigint"};
constexpr sql::Query update_release{"update_release",
                                    "UPDATE releases SET state = $2, exception = $3, summary = coalesce($4, summary), "
                                    "updated = now() WHERE uuid = $1::uuid"};
constexpr sql::Query select_autoscale{
    "select_autoscale", "SELECT autoscale FROM settings WHERE app_uuid = $1::uuid ORDER BY serial DESC LIMIT 1"};

json::object autoscale_of(sql::Tx& tx, const App& app) {
  const auto rows = tx.query(select_autoscale, {app.uuid});
  return rows.empty() ? json::object{} : object_from(rows[0].text("autoscale"));
}

std::string failure_summary(const Release& release, const Release& live) {
  const bool new_build = release.build && (!live.build || live.build->uuid != release.build->uuid);
  if (release.summary.find(" rolled back to ") != std::string::npos) {
    return live.owner + " performed roll back to a release that failed";
  }
  if (new_build) return release.build->owner + " deployed " + release.build->uuid.substr(0, 7) + " which failed";
  return release.owner + " deployed a config that failed";
}

// The original's own sentences stand alone, as its clients know them; others say what they are about.
std::string verdict_of(const Error& error) {
  const auto& fields = error.fields();
  if (fields.size() == 1 && (fields.contains("PORT") || fields.contains("registry")))
    return fields.begin()->second.front();
  return error.message();
}

}  // namespace

bool is_passing(const Error& error) {
  return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout ||
         error.kind() == ErrorKind::conflict;
}

// What a job works on, read in one transaction.
struct Jobs::Subject {
  std::string kind;
  json::object structure;
  App app;
  cluster::AppSpec spec;
  Release release;
  Release live;
  json::object autoscale;
};

Jobs::Jobs(Executor executor, Parts& parts)
    : parts_(parts),
      tasks_(executor),
      supervisor_(executor),
      changes_(executor),
      has_lines_(executor),
      leases_(executor, parts, [this](std::int64_t id, std::string app) { start(id, std::move(app)); }) {}
Jobs::~Jobs() = default;

std::int64_t Jobs::insert(sql::Tx& tx, const App& app, const std::string& kind, const std::string& release_uuid,
                          const json::object& structure, const std::string& holder) {
  refuse_while_busy(tx, app);
  return tx.query(insert_job, {app.uuid, kind, release_uuid, print_json(structure), holder, lease})[0].integer("id");
}

void Jobs::start(std::int64_t id, std::string app_uuid) {
  auto stop = std::make_shared<asio::cancellation_signal>();
  if (running_.try_emplace(id, std::move(app_uuid), std::move(stop)).second) tasks_.spawn("job", work(id));
}

Task<JobResult> Jobs::perform(std::int64_t id, std::string app_uuid) {
  start(id, std::move(app_uuid));
  for (;;) {
    if (const auto found = finished_.find(id); found != finished_.end()) {
      auto result = found->second;
      finished_.erase(found);
      if (result.elsewhere) co_return co_await follow(id);
      co_return result;
    }
    co_await changes_.wait(changes_.version());
  }
}

Task<JobResult> Jobs::follow(std::int64_t id) {
  for (;;) {
    const auto seen = parts_.feed.changes().version();
    auto read = [id](sql::Tx& tx) -> std::optional<JobResult> {
      const auto rows = tx.query(select_job_state, {id});
      if (rows.empty()) throw Error(ErrorKind::not_found, "No App matches the given query.");
      const auto state = rows[0].text("state");
      if (state == "running") return std::nullopt;
      return JobResult{state == "done", rows[0].text("message")};
    };
    if (auto result = co_await parts_.db.transact(read)) co_return *std::move(result);
    co_await parts_.feed.changes().wait(seen);
  }
}

std::string Jobs::release_of(sql::Tx& tx, std::int64_t id) {
  const auto rows = tx.query(select_job_release, {id});
  if (rows.empty()) throw Error(ErrorKind::not_found, "No App matches the given query.");
  return rows[0].text("release_uuid");
}

Task<> Jobs::abandon(std::string app_uuid) {
  auto busy_with = [&](const auto& entry) { return entry.second.app_uuid == app_uuid; };
  for (;;) {
    const auto found = std::ranges::find_if(running_, busy_with);
    if (found == running_.end()) co_return;
    if (!std::exchange(found->second.abandoned, true)) found->second.stop->emit(asio::cancellation_type::terminal);
    co_await changes_.wait(changes_.version());
  }
}

Task<> Jobs::work(std::int64_t id) {
  JobResult result{false, "the work was broken off"};
  std::exception_ptr failure;
  try {
    co_await cancelled_by(running_.at(id).stop, persist(id, result));
  } catch (...) {
    failure = std::current_exception();
  }
  const bool abandoned = running_.at(id).abandoned;
  if (failure) {
    // Our own end: the lease is given back, and the work goes on elsewhere or after the restart.
    if (is_cancelled(failure) && !abandoned) std::rethrow_exception(failure);
    if (!abandoned) log::error("job failed", kv("job", id), kv("error", describe(failure)));
    result = {false, abandoned ? "the app is being destroyed" : "an error of the platform's own; its log says more"};
    try {
      co_await parts_.db.transact([&](sql::Tx& tx) { record_failure(tx, id, result.message); });
    } catch (const Error& error) {
      log::error("the end of a job could not be recorded", kv("job", id), kv("error", error.message()));
    }
  }
  running_.erase(id);
  finished_[id] = std::move(result);
  changes_.notify_all();
  // Whoever waits takes the result at once; one that nobody waits for is not kept.
  co_await sleep_for(1s);
  finished_.erase(id);
}

// Until it is done, failed for good, or not ours any more. While the API server or the database is away, the job waits.
Task<> Jobs::persist(std::int64_t id, JobResult& result) {
  constexpr auto patience_with_conflicts = 60s;
  const auto began = std::chrono::steady_clock::now();
  std::optional<std::string> verdict;
  std::optional<AppName> app;
  for (auto pause = 200ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
    std::string trouble;
    try {
      if (verdict) {
        co_await parts_.db.transact([&](sql::Tx& tx) { record_failure(tx, id, *verdict); });
        result = {false, *verdict};
        co_return;
      }
      auto subject = co_await parts_.db.transact([&](sql::Tx& tx) { return read_subject(tx, id); });
      if (!subject) {
        result = {.elsewhere = true};
        if (app) co_await remove_leftovers(*app);
        co_return;
      }
      app = subject->app.name();
      result = co_await attempt(id, *std::move(subject));
      co_return;
    } catch (const Error& error) {
      trouble = describe(std::current_exception());
      const bool lasting =
          error.kind() == ErrorKind::conflict && std::chrono::steady_clock::now() - began > patience_with_conflicts;
      if (!verdict && (!is_passing(error) || lasting)) verdict = verdict_of(error);
    }
    if (verdict)
      log::error("job failed", kv("job", id), kv("error", trouble));
    else
      log::warn("job interrupted; trying again", kv("job", id), kv("error", trouble));
    co_await sleep_for(verdict ? 0ms : pause);
  }
}

std::optional<Jobs::Subject> Jobs::read_subject(sql::Tx& tx, std::int64_t id) const {
  const auto rows = tx.query(select_job, {id, parts_.holder});
  if (rows.empty()) return std::nullopt;
  auto app = get_app(tx, rows[0].text("app"));
  return Subject{.kind = rows[0].text("kind"),
                 .structure = object_from(rows[0].text("structure")),
                 .app = app,
                 .spec = app_spec(tx, app),
                 .release = get_release(tx, rows[0].text("release_uuid")),
                 .live = live_release(tx, app.uuid),
                 .autoscale = autoscale_of(tx, app)};
}

// A release that served once stays live, whatever became of a later attempt to run it.
void Jobs::record_failure(sql::Tx& tx, std::int64_t id, const std::string& why) const {
  const auto subject = read_subject(tx, id);
  if (!subject) return;
  if (subject->release.state == "pending") {
    tx.execute(update_release,
               {subject->release.uuid, "failed", "error: " + why, failure_summary(subject->release, subject->live)});
    record_event(tx, subject->release.owner, subject->app, "v" + std::to_string(subject->release.version) + " failed",
                 {{{"release", subject->live.version}},
                  {{"release", subject->live.version}, {"failed", subject->release.version}, {"reason", why}}});
  }
  if (subject->kind == "scale") {
    record_event(tx, subject->release.owner, subject->app, "scaling failed: the counts are as before",
                 {{}, {{"reason", why}}});
  }
  tx.execute(finish_job, {id, "failed", why, parts_.holder});
  tell(tx, {{"job", id}});
}

// What work on an app left in the cluster when the app was destroyed meanwhile.
Task<> Jobs::remove_leftovers(AppName app) {
  const auto exists = co_await parts_.db.transact([&](sql::Tx& tx) { return find_app(tx, app.text()).has_value(); });
  if (!exists) co_await cluster::destroy_app(parts_.kube, app);
}

Task<JobResult> Jobs::attempt(std::int64_t id, Subject subject) {
  const bool is_deploy = subject.kind == "deploy";
  auto next = co_await release_spec(parts_, {subject.app, subject.release, subject.structure, subject.autoscale});
  if (subject.spec.routable && cluster::routed_type(next)) co_await find_port(parts_, next, *subject.release.build);
  auto progress = [this, app = subject.app, kind = subject.kind](std::string_view line) {
    log::info(kind, kv("app", app.id), kv("progress", line));
    if (line.size() > 2000) return;  // more than a notification holds
    lines_.push_back({{"app", app.uuid}, {"progress", line}});
    has_lines_.notify_all();
  };
  cluster::DeployOutcome outcome;
  if (is_deploy) {
    std::shared_ptr<const cluster::ReleaseSpec> previous;
    if (subject.live.build) {
      auto spec = co_await release_spec(parts_, {subject.app, subject.live, subject.app.structure, subject.autoscale});
      previous = std::make_shared<cluster::ReleaseSpec>(std::move(spec));
    }
    outcome = co_await cluster::deploy(parts_.place(), {subject.spec, next, previous, progress});
  } else {
    std::map<ProcessType, int> before;
    for (const auto& [type, process] : next.processes) {
      before[type] = static_cast<int>(find_integer(subject.app.structure, {type.text()}).value_or(0));
    }
    outcome = co_await cluster::scale(parts_.place(), {subject.spec, next, before, progress});
  }
  const auto message = outcome.ok ? std::string() : (is_deploy ? "(app::deploy): " : "(scale): ") + outcome.message;
  auto record = [&](sql::Tx& tx) {
    if (!outcome.late.empty()) {
      record_event(tx, subject.release.owner, subject.app, "the routers were late: some requests may have met old pods",
                   {{}, {{"reason", outcome.late}}});
    }
    if (!outcome.ok) return record_failure(tx, id, message);
    if (tx.execute(finish_job, {id, "done", message, parts_.holder}) == 0) return;
    const auto& procfile = subject.release.build->procfile;
    auto shown_procfile = subject.app.procfile_structure;
    if (!procfile.empty())
      shown_procfile = procfile;
    else if (is_deploy && shown_procfile.empty())
      shown_procfile = subject.structure;
    set_structure(tx, subject.app.uuid, subject.structure, shown_procfile);
    tell(tx, {{"job", id}});
    if (!is_deploy) return;
    tx.execute(update_release, {subject.release.uuid, "live", std::nullopt, std::nullopt});
    if (subject.release.state != "pending") return;  // it was live before: the cluster had lost it
    record_event(tx, subject.release.owner, subject.app, subject.release.summary,
                 {{{"release", subject.live.version}, {"structure", subject.app.structure}},
                  {{"release", subject.release.version}, {"structure", subject.structure}}});
  };
  co_await parts_.db.transact(record);
  // Settings that changed while the job went on, and that it may have undone.
  auto has_changed = [&](sql::Tx& tx) {
    const auto app = find_app(tx, subject.app.id);
    return app && app->uuid == subject.app.uuid && app_spec(tx, *app) != subject.spec;
  };
  if (co_await parts_.db.transact(has_changed)) tasks_.spawn("settings", apply_again(subject.app.uuid));
  if (outcome.ok && is_deploy) {
    tasks_.spawn("clean up", cluster::clean_up(parts_.kube, subject.app.name(), {subject.release.version}));
  }
  co_await remove_leftovers(subject.app.name());
  co_return JobResult{outcome.ok, message};
}

void Jobs::announce(const App& app, const Release& release) {
  if (!parts_.settings.hook_urls.empty()) tasks_.spawn("deploy hooks", tell_deploy_hooks(parts_, app, release));
}

Task<std::vector<cluster::Route>> Jobs::apply_app(std::string app_uuid) {
  constexpr int most_conflicts = 5;
  auto read = [app_uuid](sql::Tx& tx) { return app_spec(tx, lock_app(tx, app_uuid)); };
  auto spec = co_await parts_.db.transact(read);
  for (int conflicts = 0;;) {
    std::vector<cluster::Route> routes;
    std::optional<Error> failure;
    try {
      routes = co_await cluster::apply_app(parts_.kube, parts_.settings.cluster, spec);
    } catch (const Error& error) {
      failure = error;
    }
    co_await remove_leftovers(spec.app);
    // Not found: somebody with an older view of the app removed what we were about to change.
    const bool met_another =
        failure && (failure->kind() == ErrorKind::conflict || failure->kind() == ErrorKind::not_found);
    if (failure && (!met_another || ++conflicts > most_conflicts)) throw *failure;
    if (failure) co_await sleep_for(50ms * conflicts);
    // What somebody else changed meanwhile may have been applied before ours: the last to write looks again.
    auto fresh = co_await parts_.db.transact(read);
    if (!failure && fresh == spec) co_return routes;
    spec = std::move(fresh);
  }
}

Task<std::string> Jobs::wait_for_routers(App app, std::vector<cluster::Route> routes) {
  auto lacking = co_await parts_.routers.wait_for(std::move(routes));
  if (lacking.empty()) co_return lacking;
  log::warn("the routers are late", kv("app", app.id), kv("reason", lacking));
  auto note = [&](sql::Tx& tx) {
    record_event(tx, app.owner, app, "the routers do not serve the change yet; it goes on",
                 {{}, {{"reason", lacking}}});
  };
  co_await parts_.db.transact(note);
  co_return lacking;
}

Task<std::string> Jobs::bring_into_effect(App app) {
  auto routes = co_await apply_app(app.uuid);
  co_return co_await wait_for_routers(std::move(app), std::move(routes));
}

// For a change that is not a request's: the next one, or the next start, tries again.
Task<> Jobs::apply_again(std::string app_uuid) {
  try {
    co_await apply_app(std::move(app_uuid));
  } catch (const Error& error) {
    log::warn("settings could not be applied after a deploy", kv("error", error.message()));
  }
}

Task<std::string> Jobs::bring_into_effect(Change change) {
  std::vector<cluster::Route> routes;
  std::optional<Error> failure;
  try {
    routes = co_await apply_app(change.app.uuid);
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure) {
    // One whose platform domain is not known here cannot be asked for by its whole name.
    std::erase_if(change.hosts, [](const auto& host) { return !host.contains('.'); });
    for (auto& route : routes) {
      if (route.service == change.app.id && !route.absent) route.hosts = change.hosts;
    }
    co_return co_await wait_for_routers(std::move(change.app), std::move(routes));
  }
  if (failure->kind() == ErrorKind::not_found) throw *failure;  // the app was destroyed meanwhile
  co_await parts_.db.transact([&](sql::Tx& tx) {
    lock_app(tx, change.app.uuid);
    change.take_back(tx);
  });
  const auto reason = failure->detail().empty() ? failure->message() : failure->message() + ": " + failure->detail();
  throw Error(change.kind, change.refusal.empty() ? failure->message() : change.refusal).with_detail(reason);
}

// --- what goes on beside the requests

// Progress is told in its order; what cannot be told is lost, which harms nobody.
Task<> Jobs::tell_progress() {
  for (;;) {
    const auto seen = has_lines_.version();
    if (auto lines = std::exchange(lines_, {}); !lines.empty()) {
      auto tell_all = [&lines](sql::Tx& tx) {
        for (auto& line : lines) tell(tx, line);
      };
      try {
        co_await parts_.db.transact(tell_all);
      } catch (const Error& error) {
        log::warn("progress could not be told", kv("error", error.message()));
      }
    }
    co_await has_lines_.wait(seen);
  }
}

void Jobs::run() {
  const Supervisor::Options beside{.role = Supervisor::Role::housekeeping};
  supervisor_.keep("hear what other controllers tell", [this] { return parts_.feed.run(); });
  supervisor_.keep("keep leases and adopt jobs", [this] { return leases_.keep(); });
  supervisor_.keep("tell progress", [this] { return tell_progress(); }, beside);
  if (parts_.store) supervisor_.keep("renew URLs of slugs", [this] { return renew_slug_urls(parts_); }, beside);
  auto bring_up_to_date = [this]() -> Task<Supervisor::Next> {
    co_await reconcile(parts_);
    co_return Supervisor::Next::done;
  };
  tasks_.spawn("reconcile", supervisor_.until_done("bring the cluster up to date", bring_up_to_date, beside));
}

Task<> Jobs::stop() {
  co_await tasks_.stop();
  co_await supervisor_.stop();
  co_await leases_.give_back();
}

}  // namespace workflow::controller
