#include "builder/build.h"

#include <boost/asio/experimental/awaitable_operators.hpp>

#include "builder/command.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/kube/yaml.h"

namespace workflow::builder {
namespace {

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Stage = BuildState::Stage;

std::string minutes_text(std::chrono::milliseconds time) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time).count();
  return seconds % 60 ? std::to_string(seconds) + " seconds" : std::to_string(seconds / 60) + " minutes";
}

json::object procfile_from(std::string_view yaml) {
  const auto document = kube::parse_yaml(yaml);
  if (!document.is_object()) throw Error(ErrorKind::unprocessable, "the build's process types are not a mapping");
  json::object procfile;
  for (const auto& [type, command] : document.get_object()) {
    procfile[type] = command.is_string() ? command : json::value(print_json(command));
  }
  return procfile;
}

class Build {
 public:
  Build(Parts& parts, BuildJob& job, Output& output, Phases& phases)
      : parts_(parts), job_(job), output_(output), phases_(phases), keys_(build_keys(job.app, job.commit)),
        pod_{.ns = parts.config.ns, .name = build_pod_name(job.app, job.commit, random_hex(8)), .app = job.app, .commit = job.commit} {
    pod_.deadline = std::chrono::ceil<std::chrono::seconds>(parts.config.build_timeout);
  }

  Task<> run() {
    const auto limit = "the build took longer than " + minutes_text(parts_.config.build_timeout) + " and was stopped";
    co_await with_deadline(parts_.config.build_timeout, limit, make_slug());
    co_await (remove_traces() && release());
  }

  ReleaseVersion version() const { return *version_; }

  // Deletes the pod and the secret, if they are there.
  Task<> remove_traces() {
    if (has_pod_) co_await quietly(parts_.kube.remove(kube::resources::pods, pod_.ns, pod_.name, {.grace_period_seconds = 1}), "pod");
    has_pod_ = false;
    if (has_secret_) co_await quietly(parts_.kube.remove(kube::resources::secrets, pod_.ns, build_secret_name(job_.app)), "secret");
    has_secret_ = false;
  }

 private:
  Task<> make_slug() {
    auto begin = Clock::now();
    co_await (upload() && check_type() && create_secret() && find_ca_certificates() && drop_cache());
    phases_.upload = Clock::now() - begin;
    begin = Clock::now();
    co_await run_pod();
    co_await fetch_process_types();
    phases_.build = Clock::now() - begin;
  }

  Task<> upload() {
    const auto file = co_await parts_.git.archive(job_.app, job_.commit, job_.quarantine);
    auto remove_file = [file]() -> Task<> {
      std::filesystem::remove(file);
      co_return;
    };
    co_await with_cleanup(upload_file(file), remove_file);
  }

  Task<> upload_file(std::filesystem::path file) {
    const auto& bucket = parts_.config.bucket;
    bool no_bucket = false;
    try {
      co_await parts_.store.put_file(bucket, keys_.tar, file.string());
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      no_bucket = true;
    }
    if (!no_bucket) co_return;
    co_await parts_.store.create_bucket(bucket);
    co_await parts_.store.put_file(bucket, keys_.tar, file.string());
  }

  Task<> check_type() {
    const auto tree = co_await parts_.git.inspect(job_.app, job_.commit, job_.quarantine);
    if (build_type(tree, job_.config) == BuildType::buildpack) co_return;
    throw Error(ErrorKind::unprocessable,
                "Workflow cannot build a Dockerfile yet. To build with a buildpack instead: remove the Dockerfile, or "
                "'deis config:set HEPHY_BUILDER=procfile -a " + job_.app.text() + "'");
  }

  Task<> create_secret() {
    auto secret = build_secret(pod_.ns, job_.app, job_.config);
    bool exists = false;
    has_secret_ = true;
    try {
      co_await parts_.kube.create(kube::resources::secrets, pod_.ns, secret);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::conflict) throw;
      exists = true;
    }
    if (!exists) co_return;
    co_await parts_.kube.remove(kube::resources::secrets, pod_.ns, build_secret_name(job_.app));
    co_await parts_.kube.create(kube::resources::secrets, pod_.ns, std::move(secret));
  }

  Task<> find_ca_certificates() {
    const auto found = co_await parts_.kube.find(kube::resources::config_maps, pod_.ns, parts_.config.build.ca_config_map);
    pod_.has_ca_certificates = found && find_string(*found, {"data", "ca.crt"});
  }

  Task<> drop_cache() {
    if (job_.config.has("DEIS_DISABLE_CACHE")) co_await parts_.store.remove(parts_.config.bucket, keys_.cache + "/cache.tgz");
  }

  Task<BuildState> reached(Stage stage) {
    BuildState state;
    auto accept = [&state, stage](const kube::Informer::Object& pod) {
      state = build_state(pod.get());
      return state.stage >= stage;
    };
    // The deadline of the whole build ends this.
    co_await parts_.build_pods.wait_for(pod_.ns, pod_.name, accept, parts_.config.build_timeout, "the build did not end");
    co_return state;
  }

  Task<> run_pod() {
    output_.line("Starting build... but first, coffee!");
    has_pod_ = true;
    auto created = co_await parts_.kube.create(kube::resources::pods, pod_.ns, build_pod(pod_, parts_.config.build, job_.config));
    log::info("build started", kv("app", job_.app), kv("commit", job_.commit), kv("pod", pod_.name));
    // The watch may tell of the pod only after this: absent is not deleted yet.
    auto known = [](const kube::Informer::Object& pod) { return pod != nullptr; };
    co_await parts_.build_pods.wait_for(pod_.ns, pod_.name, known, 60s, "the Kubernetes API does not tell of the build's pod");
    auto state = co_await reached(Stage::running);
    if (!state.trouble) co_await follow_log();
    state = co_await reached(Stage::ended);
    if (state.trouble) throw Error(ErrorKind::unprocessable, *state.trouble + ", stopping build");
    if (state.exit_code != 0) {
      throw Error(ErrorKind::unprocessable, "Build pod exited with code " + std::to_string(state.exit_code) + ", stopping build");
    }
  }

  // The container's log to its end. A connection that breaks is made again, and what was shown is skipped.
  Task<> follow_log() {
    std::uint64_t shown_bytes = 0;
    for (auto pause = 100ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
      std::string trouble;
      try {
        auto log = co_await parts_.kube.log(pod_.ns, pod_.name, {.container = std::string(build_container), .follow = true});
        auto skip = shown_bytes;
        for (;;) {
          const auto piece = co_await log->read();
          if (piece.empty()) co_return;
          const auto old = std::min<std::uint64_t>(skip, piece.size());
          skip -= old;
          shown_bytes += piece.size() - old;
          if (old < piece.size()) output_.raw(std::string_view(piece).substr(old));
          co_await output_.flushed();
        }
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::unavailable && error.kind() != ErrorKind::timeout) throw;
        trouble = error.message();
      }
      log::warn("the log of a build broke off", kv("pod", pod_.name), kv("error", trouble));
      co_await sleep_for(pause);
    }
  }

  Task<> fetch_process_types() {
    procfile_ = procfile_from(co_await parts_.store.get(parts_.config.bucket, keys_.push + "/Procfile", 1u << 20));
  }

  Task<> release() {
    output_.line("Build complete.");
    output_.line("Launching App...");
    const auto begin = Clock::now();
    NewBuild build{.app = job_.app, .user = job_.user, .commit = job_.commit, .image = keys_.push + "/slug.tgz", .procfile = std::move(procfile_)};
    std::string trouble;
    try {
      version_ = co_await parts_.controller.release(std::move(build));
    } catch (const Error& error) {
      trouble = error.message();
    }
    phases_.release = Clock::now() - begin;
    if (!trouble.empty()) {
      throw Error(ErrorKind::unprocessable, "The controller returned an error when publishing the release: " + trouble);
    }
  }

  Task<> quietly(Task<> removal, std::string_view what) {
    try {
      co_await with_deadline(20s, "the Kubernetes API does not answer", std::move(removal));
    } catch (const Error& error) {
      log::warn("what a build left could not be removed", kv("what", what), kv("pod", pod_.name), kv("error", error.message()));
    }
  }

  Parts& parts_;
  BuildJob& job_;
  Output& output_;
  Phases& phases_;
  BuildKeys keys_;
  BuildPod pod_;
  bool has_pod_ = false, has_secret_ = false;
  json::object procfile_;
  std::optional<ReleaseVersion> version_;
};

}  // namespace

Task<ReleaseVersion> build_and_release(Parts& parts, BuildJob job, Output& output, Phases& phases) {
  Build build(parts, job, output, phases);
  co_await with_cleanup(build.run(), [&build] { return build.remove_traces(); });
  co_return build.version();
}

Task<> remove_leftovers(Parts& parts) {
  const auto& ns = parts.config.ns;
  const std::string label(build_label);
  for (const auto* resource : {&kube::resources::pods, &kube::resources::secrets}) {
    const auto left = co_await parts.kube.list(*resource, ns, {.label_selector = label});
    for (const auto& object : left.items) {
      log::info("removing what a build left", kv("kind", resource->kind), kv("name", kube::name_of(object)));
      co_await parts.kube.remove(*resource, ns, kube::name_of(object));
    }
  }
}

}  // namespace workflow::builder
