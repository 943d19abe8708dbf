#include "controller/jobs.h"

#include "controller/cluster/cluster.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

// A controller that dies is missed after this long; three renewals may be late before that.
constexpr auto lease = "10 seconds";
constexpr sql::Query insert_job{
    "insert_job",
    "INSERT INTO jobs (app_uuid, kind, release_uuid, structure, lease_holder, lease_until) VALUES ($1::uuid, $2, $3::uuid, $4, $5, "
    "now() + $6::interval) RETURNING id"};
constexpr sql::Query select_job{
    "select_job", "SELECT j.kind, j.release_uuid, j.structure, a.id AS app FROM jobs j JOIN apps a ON a.uuid = j.app_uuid "
                  "WHERE j.id = $1::bigint AND j.state = 'running' AND j.lease_holder = $2"};
constexpr sql::Query renew_leases{
    "renew_leases", "UPDATE jobs SET lease_until = now() + $2::interval WHERE lease_holder = $1 AND state = 'running'"};
constexpr sql::Query release_leases{"release_leases",
                                    "UPDATE jobs SET lease_until = now() WHERE lease_holder = $1 AND state = 'running'"};
constexpr sql::Query adopt_jobs{
    "adopt_jobs",
    "UPDATE jobs SET lease_holder = $1, lease_until = now() + $2::interval WHERE id IN (SELECT id FROM jobs WHERE state = 'running' AND "
    "lease_until < now() ORDER BY id FOR UPDATE SKIP LOCKED) RETURNING id"};
constexpr sql::Query finish_job{
    "finish_job", "UPDATE jobs SET state = $2, message = $3, finished = now() WHERE id = $1::bigint AND state = 'running' AND lease_holder = $4"};
constexpr sql::Query update_release{
    "update_release", "UPDATE releases SET state = $2, exception = $3, summary = coalesce($4, summary), updated = now() WHERE uuid = $1::uuid"};
constexpr sql::Query select_all_apps{"select_all_apps", "SELECT id FROM apps ORDER BY id"};
constexpr sql::Query select_slug_releases{
    "select_slug_releases",
    "SELECT r.version, b.image FROM releases r JOIN builds b ON b.uuid = r.build_uuid WHERE r.app_uuid = $1::uuid AND r.state = 'live' "
    "AND b.sha <> '' AND b.dockerfile = '' ORDER BY r.version DESC LIMIT 12"};
constexpr sql::Query select_autoscale{
    "select_autoscale", "SELECT autoscale FROM settings WHERE app_uuid = $1::uuid ORDER BY serial DESC LIMIT 1"};

// What a job works on, read in one transaction.
struct Subject {
  App app;
  cluster::AppSpec spec;
  Release release;
  Release live;
  json::object autoscale;
};

json::object autoscale_of(sql::Tx& tx, const App& app) {
  const auto rows = tx.query(select_autoscale, {app.uuid});
  return rows.empty() ? json::object{} : object_from(rows[0].text("autoscale"));
}

Subject read_subject(sql::Tx& tx, const std::string& app_id, const std::string& release_uuid) {
  auto app = get_app(tx, app_id);
  auto spec = app_spec(tx, app);
  auto release = get_release(tx, release_uuid);
  auto live = live_release(tx, app.uuid);
  auto autoscale = autoscale_of(tx, app);
  return {std::move(app), std::move(spec), std::move(release), std::move(live), std::move(autoscale)};
}

std::vector<App> all_apps(sql::Tx& tx) {
  std::vector<App> found;
  const auto rows = tx.query(select_all_apps);
  for (int i = 0; i < rows.size(); ++i) found.push_back(get_app(tx, rows[i].text("id")));
  return found;
}

std::string text_of(const json::object& map, std::string_view key) { return find_string(map, {key}).value_or(""); }

std::string failure_summary(const Subject& subject) {
  const auto& release = subject.release;
  const bool new_build = release.build && (!subject.live.build || subject.live.build->uuid != release.build->uuid);
  if (release.summary.find(" rolled back to ") != std::string::npos) {
    return subject.live.owner + " performed roll back to a release that failed";
  }
  if (new_build) return release.build->owner + " deployed " + release.build->uuid.substr(0, 7) + " which failed";
  return release.owner + " deployed a config that failed";
}

}  // namespace

Jobs::Jobs(Executor executor, Parts& parts)
    : executor_(executor), parts_(parts), holder_(random_uuid()), tasks_(executor), changes_(executor) {}
Jobs::~Jobs() = default;

std::int64_t Jobs::insert(sql::Tx& tx, const App& app, const std::string& kind, const std::string& release_uuid,
                          const json::object& structure, const std::string& holder) {
  refuse_while_busy(tx, app);
  return tx.query(insert_job, {app.uuid, kind, release_uuid, print_json(structure), holder, lease})[0].integer("id");
}

void Jobs::start(std::int64_t id) {
  if (running_.insert(id).second) tasks_.spawn("job", work(id));
}

Task<JobResult> Jobs::perform(std::int64_t id) {
  start(id);
  for (;;) {
    if (const auto found = finished_.find(id); found != finished_.end()) {
      auto result = found->second;
      finished_.erase(found);
      co_return result;
    }
    co_await changes_.wait(changes_.version());
  }
}

Task<> Jobs::work(std::int64_t id) {
  JobResult result;
  for (auto pause = 200ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
    std::string trouble;
    try {
      struct Row {
        std::string kind, release, structure;
      };
      auto read = [&](sql::Tx& tx) -> std::optional<Row> {
        const auto rows = tx.query(select_job, {id, holder_});
        if (rows.empty()) return std::nullopt;
        return Row{rows[0].text("kind"), rows[0].text("release_uuid"), rows[0].text("structure")};
      };
      const auto row = co_await parts_.db.transact(read);
      if (!row) {
        result = {false, "the app was destroyed, or another controller has taken over"};
        break;
      }
      auto structure = object_from(row->structure);
      if (row->kind == "deploy") result = co_await deploy(id, row->release, std::move(structure));
      else result = co_await scale(id, row->release, std::move(structure));
      break;
    } catch (const Error& error) {
      trouble = describe(std::current_exception());
      // The API server or the database is away: the job is not lost, it goes on when they are back.
      if (error.kind() != ErrorKind::unavailable && error.kind() != ErrorKind::timeout && error.kind() != ErrorKind::conflict) {
        result = {false, error.message()};
      }
    }
    if (!result.message.empty()) {
      auto fail = [&](sql::Tx& tx) {
        const auto rows = tx.query(select_job, {id, holder_});
        if (rows.empty()) return;
        if (rows[0].text("kind") == "deploy") {
          tx.execute(update_release, {rows[0].text("release_uuid"), "failed", "error: (app::deploy): " + result.message, std::nullopt});
        }
        tx.execute(finish_job, {id, "failed", result.message, holder_});
      };
      co_await parts_.db.transact(fail);
      log::error("job failed", kv("job", id), kv("error", trouble));
      break;
    }
    log::warn("job interrupted; trying again", kv("job", id), kv("error", trouble));
    co_await sleep_for(pause);
  }
  running_.erase(id);
  finished_[id] = std::move(result);
  changes_.notify_all();
  // Whoever waits takes the result at once; one that nobody waits for is not kept.
  co_await sleep_for(1s);
  finished_.erase(id);
}

cluster::ReleaseSpec Jobs::release_spec(const App& app, const Release& release, const json::object& structure,
                                        const json::object& autoscale) const {
  const auto& config = release.config;
  const auto& build = *release.build;
  cluster::ReleaseSpec spec{.app = app.name(), .version = {release.version}, .summary = release.summary};
  spec.created = parse_rfc3339(release.created).value_or(Time{});
  spec.build = kind_of(build);
  spec.has_procfile = !build.procfile.empty();
  spec.image = build.image;
  spec.source_version = build.sha;
  for (const auto& [key, value] : config.values) spec.config[std::string(key)] = python_text(value);
  if (spec.build == cluster::BuildKind::slug) {
    if (!parts_.store) throw Error(ErrorKind::internal, "no object store is configured: set S3_ENDPOINT");
    const auto key = build.image.ends_with(".tgz") ? build.image : build.image + "/slug.tgz";
    spec.slug_url = Secret(parts_.store->presigned_get(parts_.settings.bucket, key, std::chrono::hours(24 * 7)));
  }
  if (!config.registry.empty()) {
    spec.registry = cluster::RegistryCredentials{text_of(config.registry, "hostname"), text_of(config.registry, "username"),
                                                 Secret(text_of(config.registry, "password"))};
  }
  for (const auto& [key, value] : config.tags) spec.tags[std::string(key)] = python_text(value);

  auto process = [&](const std::string& type) {
    cluster::ProcessSpec out;
    out.command = text_of(build.procfile, type);
    out.memory = cluster::memory_limit(text_of(config.memory, type)).value_or(cluster::Limit{});
    out.cpu = cluster::cpu_limit(text_of(config.cpu, type)).value_or(cluster::Limit{});
    const auto* probes = config.healthcheck.if_contains(type);
    if (!probes && (type == "web" || type == "cmd")) probes = config.healthcheck.if_contains("web/cmd");
    if (probes && probes->is_object()) out.healthcheck = probes->get_object();
    auto grace = text_of(config.termination_grace_period, type);
    if (grace.empty()) grace = text_of(config.values, "KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS");
    if (const auto seconds = parse_integer(grace)) out.termination_grace_seconds = static_cast<int>(*seconds);
    out.post_start = text_of(config.lifecycle_post_start, type);
    out.pre_stop = text_of(config.lifecycle_pre_stop, type);
    out.autoscaled = autoscale.contains(type);
    return out;
  };
  for (const auto& [type, count] : structure) {
    const auto name = ProcessType::parse(std::string(type));
    if (!name) continue;
    auto& entry = spec.processes[*name] = process(name->text());
    entry.replicas = static_cast<int>(find_integer(structure, {type}).value_or(0));
  }
  spec.run = process("run");
  return spec;
}

Task<JobResult> Jobs::deploy(std::int64_t id, std::string release_uuid, json::object structure) {
  auto app_of = [&](sql::Tx& tx) {
    const auto rows = tx.query(select_job, {id, holder_});
    return read_subject(tx, rows[0].text("app"), release_uuid);
  };
  auto subject = co_await parts_.db.transact(app_of);
  auto next = release_spec(subject.app, subject.release, structure, subject.autoscale);
  std::shared_ptr<const cluster::ReleaseSpec> previous;
  if (subject.live.build && subject.live.version != subject.release.version) {
    previous = std::make_shared<cluster::ReleaseSpec>(
        release_spec(subject.app, subject.live, subject.app.structure, subject.autoscale));
  }
  auto progress = [app = subject.app.id](std::string_view line) { log::info("deploy", kv("app", app), kv("progress", line)); };
  auto outcome = co_await cluster::deploy(parts_.kube, parts_.settings.cluster, subject.spec, next, previous, progress);
  const auto message = outcome.ok ? std::string() : "(app::deploy): " + outcome.message;
  auto record = [&](sql::Tx& tx) {
    if (tx.execute(finish_job, {id, outcome.ok ? "done" : "failed", message, holder_}) == 0) return;
    if (outcome.ok) {
      tx.execute(update_release, {release_uuid, "live", std::nullopt, std::nullopt});
      const auto& procfile = subject.release.build->procfile;
      set_structure(tx, subject.app.uuid, structure, procfile.empty() ? subject.app.procfile_structure.empty() ? structure
                                                                                                               : subject.app.procfile_structure
                                                                      : procfile);
    } else {
      tx.execute(update_release, {release_uuid, "failed", "error: " + message, failure_summary(subject)});
    }
    record_event(tx, subject.release.owner, subject.app.id,
                 outcome.ok ? subject.release.summary : "v" + std::to_string(subject.release.version) + " failed");
  };
  co_await parts_.db.transact(record);
  if (outcome.ok) {
    tasks_.spawn("clean up", cluster::clean_up(parts_.kube, subject.app.name(), {subject.release.version}));
    tasks_.spawn("deploy hooks", tell_hooks(subject.app, subject.release));
  }
  co_return JobResult{outcome.ok, message};
}

Task<JobResult> Jobs::scale(std::int64_t id, std::string release_uuid, json::object structure) {
  auto app_of = [&](sql::Tx& tx) {
    const auto rows = tx.query(select_job, {id, holder_});
    return read_subject(tx, rows[0].text("app"), release_uuid);
  };
  auto subject = co_await parts_.db.transact(app_of);
  auto spec = release_spec(subject.app, subject.release, structure, subject.autoscale);
  std::map<ProcessType, int> before;
  for (const auto& [type, count] : subject.app.structure) {
    if (auto name = ProcessType::parse(std::string(type))) {
      before[*name] = static_cast<int>(find_integer(subject.app.structure, {type}).value_or(0));
    }
  }
  for (const auto& [type, process] : spec.processes) before.try_emplace(type, 0);
  auto progress = [app = subject.app.id](std::string_view line) { log::info("scale", kv("app", app), kv("progress", line)); };
  auto outcome = co_await cluster::scale(parts_.kube, parts_.settings.cluster, subject.spec, spec, before, progress);
  const auto message = outcome.ok ? std::string() : "(scale): " + outcome.message;
  auto record = [&](sql::Tx& tx) {
    if (tx.execute(finish_job, {id, outcome.ok ? "done" : "failed", message, holder_}) == 0 || !outcome.ok) return;
    const auto& procfile = subject.release.build->procfile;
    set_structure(tx, subject.app.uuid, structure, procfile.empty() ? subject.app.procfile_structure : procfile);
  };
  co_await parts_.db.transact(record);
  co_return JobResult{outcome.ok, message};
}

// An empty POST to each URL, in the original's form: parameters in alphabetical order, signed over the whole URL.
Task<> Jobs::tell_hooks(App app, Release release) {
  if (parts_.settings.hook_urls.empty()) co_return;
  http::Client client(executor_);
  auto form = [](const std::string& text) { return replace_all(percent_encode(text, " "), " ", "+"); };
  const auto query = "app=" + form(app.id) + "&release=v" + std::to_string(release.version) + "&release_summary=" + form(release.summary) +
                     "&sha=" + form(release.build ? release.build->sha : "") + "&user=" + form(release.owner);
  for (const auto& base : parts_.settings.hook_urls) {
    const auto text = base + "?" + query;
    const auto url = http::Url::parse(text);
    std::string trouble;
    try {
      if (!url) throw Error(ErrorKind::invalid, "not a URL");
      http::ClientRequest request{.method = "POST", .url = *url, .timeout = 10s};
      if (parts_.settings.hook_key) {
        request.headers.set("Authorization", to_hex(hmac_sha1(parts_.settings.hook_key->reveal(), text)));
      }
      auto response = co_await client.send(std::move(request));
      co_await response.text(1u << 20, 10s);
    } catch (const Error& error) {
      trouble = error.message();
    }
    if (trouble.empty()) log::info("deploy hook sent", kv("app", app.id), kv("url", base));
    else log::warn("deploy hook failed", kv("app", app.id), kv("url", base), kv("error", trouble));
  }
}

Task<> Jobs::apply_app(std::string app_uuid) {
  auto spec = co_await parts_.db.transact([app_uuid](sql::Tx& tx) { return app_spec(tx, lock_app(tx, app_uuid)); });
  co_await cluster::apply_app(parts_.kube, parts_.settings.cluster, std::move(spec));
}

Task<> Jobs::keep_leases() {
  for (;;) {
    co_await sleep_for(3s);
    try {
      co_await parts_.db.transact([this](sql::Tx& tx) { tx.execute(renew_leases, {holder_, lease}); });
      co_await adopt();
    } catch (const Error& error) {
      log::warn("leases could not be renewed", kv("error", error.message()));
    }
  }
}

Task<> Jobs::adopt() {
  auto take = [this](sql::Tx& tx) {
    const auto rows = tx.query(adopt_jobs, {holder_, lease});
    std::vector<std::int64_t> ids;
    for (int i = 0; i < rows.size(); ++i) ids.push_back(rows[i].integer("id"));
    return ids;
  };
  for (const auto id : co_await parts_.db.transact(take)) {
    log::info("job adopted", kv("job", id));
    start(id);
  }
}

// Presigned URLs live for 7 days; renewal at the start and twice a day leaves time for many failures in a row.
Task<> Jobs::renew_urls() {
  if (!parts_.store) co_return;
  for (;; co_await sleep_for(12h)) {
    for (const auto& app : co_await parts_.db.transact(all_apps)) {
      std::map<ReleaseVersion, Secret> urls;
      auto read = [&](sql::Tx& tx) {
        const auto rows = tx.query(select_slug_releases, {app.uuid});
        for (int i = 0; i < rows.size(); ++i) {
          const auto image = rows[i].text("image");
          const auto key = image.ends_with(".tgz") ? image : image + "/slug.tgz";
          urls[{rows[i].integer("version")}] = Secret(parts_.store->presigned_get(parts_.settings.bucket, key, std::chrono::hours(24 * 7)));
        }
      };
      try {
        co_await parts_.db.transact(read);
        co_await cluster::renew_slug_urls(parts_.kube, app.name(), std::move(urls));
      } catch (const Error& error) {
        log::warn("slug URLs could not be renewed", kv("app", app.id), kv("error", error.message()));
      }
    }
  }
}

// At start the cluster is brought to what the database says; what is right already is not touched.
Task<> Jobs::reconcile() {
  for (const auto& app : co_await parts_.db.transact(all_apps)) {
    for (auto pause = 500ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 30s)) {
      std::string trouble;
      try {
        co_await apply_app(app.uuid);
      } catch (const Error& error) {
        if (error.kind() == ErrorKind::not_found) break;  // destroyed meanwhile
        trouble = error.message();
      }
      if (trouble.empty()) break;
      log::warn("app could not be brought up to date; trying again", kv("app", app.id), kv("error", trouble));
      co_await sleep_for(pause);
    }
  }
}

Task<> Jobs::run() {
  tasks_.spawn("leases", keep_leases());
  tasks_.spawn("slug URLs", renew_urls());
  tasks_.spawn("reconcile", reconcile());
  co_await adopt();
}

Task<> Jobs::stop() {
  co_await tasks_.stop();
  // What was under way goes on elsewhere, or here after a restart, at once.
  co_await parts_.db.transact([this](sql::Tx& tx) { tx.execute(release_leases, {holder_}); });
}

}  // namespace workflow::controller
