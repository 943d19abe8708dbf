#include "controller/jobs.h"

#include <algorithm>
#include <set>

#include "controller/cluster/cluster.h"
#include "controller/feed.h"
#include "controller/repeats.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

// A controller that dies is missed when it has not renewed for a moment and has no connection to the database any more;
// one that hangs, when its lease is over.
constexpr auto lease = "10 seconds";
constexpr auto heartbeat = 1s;
constexpr sql::Query insert_job{"insert_job",
                                "INSERT INTO jobs (app_uuid, kind, release_uuid, structure, lease_holder, lease_until) "
                                "VALUES ($1::uuid, $2, $3::uuid, $4, $5, "
                                "now() + $6::interval) RETURNING id"};
constexpr sql::Query select_job{
    "select_job",
    "SELECT j.kind, j.release_uuid, j.structure, a.id AS app FROM jobs j JOIN apps a ON a.uuid = j.app_uuid "
    "WHERE j.id = $1::bigint AND j.state = 'running' AND j.lease_holder = $2"};
constexpr sql::Query renew_leases{
    "renew_leases", "UPDATE jobs SET lease_until = now() + $2::interval WHERE lease_holder = $1 AND state = 'running'"};
constexpr sql::Query release_leases{
    "release_leases", "UPDATE jobs SET lease_until = now() WHERE lease_holder = $1 AND state = 'running'"};
constexpr sql::Query adopt_jobs{"adopt_jobs",
                                "UPDATE jobs SET lease_holder = $1, lease_until = now() + $2::interval WHERE id IN "
                                "(SELECT id FROM jobs j WHERE state = 'running' AND "
                                "(lease_until < now() OR (lease_until < now() + interval '8 seconds' AND NOT EXISTS "
                                "(SELECT 1 FROM pg_stat_activity s WHERE s.application_name = j.lease_holder))) ORDER "
                                "BY id FOR UPDATE SKIP LOCKED) "
                                "RETURNING id, app_uuid"};
constexpr sql::Query finish_job{"finish_job",
                                "UPDATE jobs SET state = $2, message = $3, finished = now() WHERE id = $1::bigint AND "
                                "state = 'running' AND lease_holder = $4"};
constexpr sql::Query select_job_state{"select_job_state", "SELECT state, message FROM jobs WHERE id = $1::bigint"};
constexpr sql::Query select_job_release{"select_job_release", "SELECT release_uuid FROM jobs WHERE id = $1::bigint"};
constexpr sql::Query update_release{"update_release",
                                    "UPDATE releases SET state = $2, exception = $3, summary = coalesce($4, summary), "
                                    "updated = now() WHERE uuid = $1::uuid"};
constexpr sql::Query select_slug_releases{"select_slug_releases",
                                          "SELECT r.version, b.image FROM releases r JOIN builds b ON b.uuid = "
                                          "r.build_uuid WHERE r.app_uuid = $1::uuid AND r.state = 'live' "
                                          "AND b.sha <> '' AND b.dockerfile = '' ORDER BY r.version DESC LIMIT 12"};
constexpr sql::Query select_autoscale{
    "select_autoscale", "SELECT autoscale FROM settings WHERE app_uuid = $1::uuid ORDER BY serial DESC LIMIT 1"};

json::object autoscale_of(sql::Tx& tx, const App& app) {
  const auto rows = tx.query(select_autoscale, {app.uuid});
  return rows.empty() ? json::object{} : object_from(rows[0].text("autoscale"));
}

std::string text_of(const json::object& map, std::string_view key) { return find_string(map, {key}).value_or(""); }

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

// What is over soon, and worth another try.
bool is_passing(const Error& error) {
  return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout ||
         error.kind() == ErrorKind::conflict;
}

}  // namespace

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
    : executor_(executor),
      parts_(parts),
      tasks_(executor),
      changes_(executor),
      orphans_(executor),
      has_lines_(executor) {
  // A controller that ends gives its work back; after a gap in what we hear, we look as well.
  parts_.feed.on_message([this](const json::object& message) {
    if (message.empty() || message.contains("released")) orphans_.notify_all();
  });
}
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

Secret Jobs::slug_url(const std::string& image) const {
  if (!parts_.store) throw Error(ErrorKind::unprocessable, "no object store is configured: set S3_ENDPOINT");
  const auto key = image.ends_with(".tgz") ? image : image + "/slug.tgz";
  return Secret(parts_.store->presigned_get(parts_.settings.bucket, key, std::chrono::hours(24 * 7)));
}

cluster::ReleaseSpec Jobs::spec_without_registry(const App& app, const Release& release, const json::object& structure,
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
  if (spec.build == cluster::BuildKind::slug) spec.slug_url = slug_url(build.image);
  if (!config.registry.empty()) {
    spec.registry = cluster::RegistryCredentials{
        text_of(config.registry, "hostname"), text_of(config.registry, "username"),
        Secret(text_of(config.registry, "password")), parts_.settings.cluster.pull_secret_prefix};
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

// The app's own credentials first, then what the operator has for all apps.
Task<cluster::ReleaseSpec> Jobs::release_spec(App app, Release release, json::object structure,
                                              json::object autoscale) {
  using cluster::RegistryLocation;
  auto spec = spec_without_registry(app, release, structure, autoscale);
  const auto location = parts_.settings.cluster.registry_location;
  spec.must_name_port = spec.registry.has_value() || location != RegistryLocation::on_cluster;
  if (!spec.must_name_port && release.build->port.value_or(0) > 0) spec.port = release.build->port;
  if (spec.registry) co_return spec;
  if (location == RegistryLocation::off_cluster) spec.registry = co_await platform_credentials();
  if (location == RegistryLocation::ecr) spec.kept_pull_secret = parts_.settings.cluster.pull_secret_prefix + "-ecr";
  if (location == RegistryLocation::gcr) spec.kept_pull_secret = parts_.settings.cluster.pull_secret_prefix + "-gcr";
  co_return spec;
}

Task<cluster::RegistryCredentials> Jobs::platform_credentials() {
  constexpr const char* name = "registry-secret";
  const auto& settings = parts_.settings.cluster;
  const auto secret = co_await parts_.kube.find(kube::resources::secrets, settings.platform_namespace, name);
  auto value = [&](const char* key) {
    const auto text = secret ? find_string(*secret, {"data", key}) : std::nullopt;
    return std::string(trim(from_base64(text.value_or("")).value_or("")));
  };
  cluster::RegistryCredentials credentials{value("hostname"), value("username"), Secret(value("password")),
                                           settings.pull_secret_prefix + "-off-cluster"};
  if (credentials.hostname.empty()) credentials.hostname = "https://index.docker.io/v1/";
  if (credentials.user.empty() || credentials.password.reveal().empty()) {
    throw Error(ErrorKind::unprocessable, "DEIS_REGISTRY_LOCATION is off-cluster, but Secret " + std::string(name) +
                                              " in namespace " + settings.platform_namespace +
                                              " lacks username or password: the operator has to set them");
  }
  co_return credentials;
}

// The image's registry is asked once; what it cannot say is part of the message when nobody else says it.
Task<> Jobs::find_port(cluster::ReleaseSpec& spec, Build build) {
  if (spec.must_name_port || cluster::port_of(spec) || build.port) co_return;
  http::Client client(executor_);
  try {
    const auto config = co_await image_config(client, parts_.settings.registries, build.image, std::nullopt);
    const auto ports = exposed_ports(config);
    const int port = ports.empty() ? 0 : ports.front();
    co_await parts_.db.transact([&](sql::Tx& tx) { set_port(tx, build.uuid, port); });
    if (port > 0) spec.port = port;
  } catch (const Error& error) {
    spec.why_no_port = error.message();
    log::info("the port of an image cannot be read", kv("app", spec.app), kv("error", error.message()),
              kv("detail", error.detail()));
  }
}

Task<JobResult> Jobs::attempt(std::int64_t id, Subject subject) {
  const bool is_deploy = subject.kind == "deploy";
  auto next = co_await release_spec(subject.app, subject.release, subject.structure, subject.autoscale);
  if (subject.spec.routable && cluster::routed_type(next)) co_await find_port(next, *subject.release.build);
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
      auto spec = co_await release_spec(subject.app, subject.live, subject.app.structure, subject.autoscale);
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
  if (!parts_.settings.hook_urls.empty()) tasks_.spawn("deploy hooks", tell_hooks(app, release));
}

// An empty POST to each URL, in the original's form: parameters in alphabetical order, signed over the whole URL.
Task<> Jobs::tell_hooks(App app, Release release) {
  http::Client client(executor_);
  auto form = [](const std::string& text) { return replace_all(percent_encode(text, " "), " ", "+"); };
  const auto query = "app=" + form(app.id) + "&release=v" + std::to_string(release.version) +
                     "&release_summary=" + form(release.summary) +
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
    if (trouble.empty())
      log::info("deploy hook sent", kv("app", app.id), kv("url", base));
    else
      log::warn("deploy hook failed", kv("app", app.id), kv("url", base), kv("error", trouble));
  }
}

Task<> Jobs::apply_app(std::string app_uuid) {
  constexpr int most_conflicts = 5;
  auto read = [app_uuid](sql::Tx& tx) { return app_spec(tx, lock_app(tx, app_uuid)); };
  auto spec = co_await parts_.db.transact(read);
  for (int conflicts = 0;;) {
    std::optional<Error> failure;
    try {
      co_await cluster::apply_app(parts_.kube, parts_.settings.cluster, spec);
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
    if (!failure && fresh == spec) co_return;
    spec = std::move(fresh);
  }
}

// For a change that is not a request's: the next one, or the next start, tries again.
Task<> Jobs::apply_again(std::string app_uuid) {
  try {
    co_await apply_app(std::move(app_uuid));
  } catch (const Error& error) {
    log::warn("settings could not be applied after a deploy", kv("error", error.message()));
  }
}

Task<> Jobs::apply_or_take_back(std::string app_uuid, std::string message, std::function<void(sql::Tx&)> take_back,
                                ErrorKind kind) {
  std::optional<Error> failure;
  try {
    co_await apply_app(app_uuid);
  } catch (const Error& error) {
    failure = error;
  }
  if (!failure) co_return;
  if (failure->kind() == ErrorKind::not_found) throw *failure;  // the app was destroyed meanwhile
  co_await parts_.db.transact([&](sql::Tx& tx) {
    lock_app(tx, app_uuid);
    take_back(tx);
  });
  const auto reason = failure->detail().empty() ? failure->message() : failure->message() + ": " + failure->detail();
  throw Error(kind, message.empty() ? failure->message() : message).with_detail(reason);
}

// --- what goes on beside the requests

Task<bool> Jobs::renew() {
  try {
    auto renew_all = [this](sql::Tx& tx) {
      tx.execute(renew_leases, {parts_.holder, lease});
      renew_requests(tx, parts_.holder);
    };
    co_await parts_.db.transact(renew_all);
    co_return true;
  } catch (const Error& error) {
    log::warn("leases could not be renewed", kv("error", error.message()));
  }
  co_return false;
}

Task<> Jobs::keep_leases() {
  // After an outage of the database the others have to come back as well before their jobs count as orphans.
  constexpr auto grace = 6s;
  auto adopt_from = std::chrono::steady_clock::now();
  for (;;) {
    const auto seen = orphans_.version();
    const auto now = std::chrono::steady_clock::now();
    if (!co_await renew()) adopt_from = now + grace;
    try {
      if (now >= adopt_from) co_await adopt();
    } catch (const Error& error) {
      log::warn("orphaned jobs could not be looked for", kv("error", error.message()));
    }
    try {
      co_await with_deadline(heartbeat, "time to renew", orphans_.wait(seen));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
    }
  }
}

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

Task<> Jobs::adopt() {
  auto take = [this](sql::Tx& tx) {
    const auto rows = tx.query(adopt_jobs, {parts_.holder, lease});
    std::map<std::int64_t, std::string> taken;
    for (int i = 0; i < rows.size(); ++i) taken[rows[i].integer("id")] = rows[i].text("app_uuid");
    return taken;
  };
  for (const auto& [id, app] : co_await parts_.db.transact(take)) {
    log::info("job adopted", kv("job", id));
    start(id, app);
  }
}

// Presigned URLs live for 7 days; renewal at the start and twice a day leaves time for many failures in a row.
Task<> Jobs::renew_urls() {
  if (!parts_.store) co_return;
  for (;;) {
    std::vector<App> apps;
    bool failed = false;
    try {
      apps = co_await parts_.db.transact(all_apps);
    } catch (const Error& error) {
      failed = true;
      log::warn("slug URLs could not be renewed", kv("error", error.message()));
    }
    for (const auto& app : apps) {
      try {
        co_await renew_urls_of(app);
      } catch (const Error& error) {
        failed = true;
        log::warn("slug URLs could not be renewed", kv("app", app.id), kv("error", error.message()));
      }
    }
    co_await sleep_for(failed ? std::chrono::minutes(5) : std::chrono::hours(12));
  }
}

Task<> Jobs::renew_urls_of(App app) {
  std::map<ReleaseVersion, Secret> urls;
  co_await parts_.db.transact([&](sql::Tx& tx) {
    urls.clear();
    const auto rows = tx.query(select_slug_releases, {app.uuid});
    for (int i = 0; i < rows.size(); ++i) urls[{rows[i].integer("version")}] = slug_url(rows[i].text("image"));
  });
  if (!urls.empty()) co_await cluster::renew_slug_urls(parts_.kube, app.name(), std::move(urls));
}

// At start the cluster is brought to what the database says; what is right already is not touched.
Task<> Jobs::reconcile() {
  for (auto pause = 500ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 30s)) {
    std::string trouble;
    try {
      for (const auto& app : co_await parts_.db.transact(all_apps)) co_await reconcile_app(app);
      co_return;
    } catch (const Error& error) {
      trouble = error.message();
    }
    log::warn("apps could not be brought up to date; trying again", kv("error", trouble));
    co_await sleep_for(pause);
  }
}

Task<> Jobs::reconcile_app(App app) {
  for (auto pause = 500ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 30s)) {
    std::string trouble;
    try {
      co_await apply_app(app.uuid);
      co_await deploy_what_is_missing(app);
      co_return;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) co_return;  // destroyed meanwhile
      // What is wrong with one app alone must not keep the others waiting.
      if (!is_passing(error) || error.kind() == ErrorKind::conflict) {
        log::error("app could not be brought up to date", kv("app", app.id), kv("error", error.message()));
        co_return;
      }
      trouble = error.message();
    }
    log::warn("app could not be brought up to date; trying again", kv("app", app.id), kv("error", trouble));
    co_await sleep_for(pause);
  }
}

// The cluster lost the app's Deployments, or never got them: the live release is deployed again.
Task<> Jobs::deploy_what_is_missing(App app) {
  const auto version = co_await parts_.db.transact([&](sql::Tx& tx) { return live_release(tx, app.uuid).version; });
  std::set<std::string> there;
  const auto deployments =
      co_await parts_.kube.list(kube::resources::deployments, app.id, {.label_selector = "heritage=deis"});
  for (const auto& deployment : deployments.items) {
    const auto its_version = find_string(deployment, {"spec", "template", "metadata", "labels", "version"});
    if (its_version == ReleaseVersion{version}.text()) there.insert(kube::label_of(deployment, "type"));
  }
  auto is_missing = [&](const auto& entry) {
    return find_integer(app.structure, {entry.key()}).value_or(0) > 0 && !there.contains(entry.key());
  };
  if (std::ranges::none_of(app.structure, is_missing)) co_return;
  auto begin = [&](sql::Tx& tx) -> std::optional<std::int64_t> {
    const auto locked = lock_app(tx, app.uuid);
    const auto live = live_release(tx, app.uuid);
    if (is_busy(tx, locked) || !live.build || live.version != version) return std::nullopt;
    return insert(tx, locked, "deploy", live.uuid, locked.structure, parts_.holder);
  };
  const auto id = co_await parts_.db.transact(begin);
  if (!id) co_return;
  log::warn("the cluster lacks processes of the app; deploying it again", kv("app", app.id));
  start(*id, app.uuid);
}

void Jobs::run() {
  tasks_.spawn("feed", parts_.feed.run());
  tasks_.spawn("leases", keep_leases());
  tasks_.spawn("progress", tell_progress());
  tasks_.spawn("slug URLs", renew_urls());
  tasks_.spawn("reconcile", reconcile());
}

Task<> Jobs::stop() {
  co_await tasks_.stop();
  // What was under way goes on elsewhere, or here after a restart, at once.
  auto release = [this](sql::Tx& tx) {
    tx.execute(release_leases, {parts_.holder});
    release_requests(tx, parts_.holder);
    tell(tx, {{"released", parts_.holder}});
  };
  co_await parts_.db.transact(release);
}

}  // namespace workflow::controller
