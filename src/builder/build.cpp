#include "builder/build.h"

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/kube/yaml.h"

namespace workflow::builder {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Stage = BuildState::Stage;

// Runs all at the same time. The first failure cancels the others, and is what is thrown.
template <typename... Tasks>
Task<> together(Executor executor, Tasks... tasks) {
  TaskGroup group(executor);
  std::exception_ptr failure;
  auto watched = [&](Task<> task) -> Task<> {
    try {
      co_await std::move(task);
    } catch (...) {
      if (failure) co_return;
      failure = std::current_exception();
      group.cancel();
    }
  };
  (group.spawn("part of a build", watched(std::move(tasks))), ...);
  co_await with_cleanup(group.join(), [&group] { return group.stop(); });
  if (failure) std::rethrow_exception(failure);
}

// Tries again while what it needs is not there: an object store or an API server that is being restarted is worth
// waiting for.
template <typename Work>
Task<> patiently(Work work) {
  const auto until = Clock::now() + 30s;
  for (auto pause = 50ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 2s)) {
    try {
      co_await work();
      co_return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unavailable || Clock::now() + pause > until) throw;
      log::warn("a build waits for what it needs", kv("error", error.message()));
    }
    co_await sleep_for(pause);
  }
}

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
      : parts_(parts),
        job_(job),
        output_(output),
        phases_(phases),
        keys_(build_keys(job.app, job.commit)),
        pod_{.ns = parts.config.ns,
             .name = build_pod_name(job.app, job.commit, random_hex(8)),
             .app = job.app,
             .commit = job.commit} {
    // The cluster's limit comes after ours, for builds whose builder is gone.
    pod_.deadline = std::chrono::ceil<std::chrono::seconds>(parts.config.build_timeout) + 60s;
  }

  Task<> run() {
    const auto limit = "the build took longer than " + minutes_text(parts_.config.build_timeout) + " and was stopped";
    co_await with_deadline(parts_.config.build_timeout, limit, make_slug());
    co_await together(parts_.executor, remove_traces(), release());
  }

  ReleaseVersion version() const { return *version_; }

  // Deletes the pod and the secret, if they are there.
  Task<> remove_traces() {
    if (has_pod_)
      co_await quietly(parts_.kube.remove(kube::resources::pods, pod_.ns, pod_.name, {.grace_period_seconds = 1}),
                       "pod");
    has_pod_ = false;
    if (has_secret_)
      co_await quietly(parts_.kube.remove(kube::resources::secrets, pod_.ns, build_secret_name(job_.app)), "secret");
    has_secret_ = false;
  }

 private:
  Task<> make_slug() {
    auto begin = Clock::now();
    co_await together(parts_.executor, upload(), check_type(), patiently([this] { return create_secret(); }),
                      patiently([this] { return find_ca_certificates(); }), patiently([this] { return drop_cache(); }));
    phases_.upload = Clock::now() - begin;
    begin = Clock::now();
    co_await run_pod();
    co_await patiently([this] { return fetch_process_types(); });
    phases_.build = Clock::now() - begin;
  }

  Task<> upload() {
    const auto file = co_await parts_.git.archive(job_.app, job_.commit, job_.quarantine);
    auto remove_file = [file]() -> Task<> {
      std::filesystem::remove(file);
      co_return;
    };
    co_await with_cleanup(patiently([this, file] { return upload_file(file); }), remove_file);
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
                "'deis config:set HEPHY_BUILDER=procfile -a " +
                    job_.app.text() + "'");
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
    const auto found =
        co_await parts_.kube.find(kube::resources::config_maps, pod_.ns, parts_.config.build.ca_config_map);
    pod_.has_ca_certificates = found && find_string(*found, {"data", "ca.crt"});
  }

  Task<> drop_cache() {
    if (job_.drop_cache || job_.config.has("DEIS_DISABLE_CACHE"))
      co_await parts_.store.remove(parts_.config.bucket, keys_.cache + "/cache.tgz");
  }

  // The watch may tell of the pod only after the answer to its creation: until then absent does not mean deleted. A pod
  // that came and went between two looks is asked for.
  Task<> watched() {
    auto known = [](const kube::Informer::Object& pod) { return pod != nullptr; };
    for (bool exists = true; exists;) {
      bool silent = false;
      try {
        co_await parts_.build_pods.wait_for(pod_.ns, pod_.name, known, 1s, "no word of the pod");
      } catch (const Error&) {
        silent = true;
      }
      exists = silent && co_await parts_.kube.find(kube::resources::pods, pod_.ns, pod_.name);
    }
  }

  Task<BuildState> reached(Stage stage) {
    BuildState state;
    auto accept = [this, &state, stage](const kube::Informer::Object& pod) {
      state = build_state(pod.get());
      if (!state.waits_for.empty() && std::exchange(waits_for_, state.waits_for) != state.waits_for) {
        output_.line("Waiting for room to build: " + state.waits_for);
      }
      return state.stage >= stage;
    };
    // The deadline of the whole build ends this.
    co_await parts_.build_pods.wait_for(pod_.ns, pod_.name, accept, parts_.config.build_timeout,
                                        "the build did not end");
    co_return state;
  }

  Task<> create_pod() {
    has_pod_ = true;
    auto pod = build_pod(pod_, parts_.config.build, job_.config);
    try {
      co_await parts_.kube.create(kube::resources::pods, pod_.ns, std::move(pod));
    } catch (const Error& error) {
      // Nobody else uses the name: an earlier try was carried out, and its answer lost.
      if (error.kind() != ErrorKind::conflict) throw;
    }
  }

  Task<> run_pod() {
    output_.line("Starting build... but first, coffee!");
    co_await patiently([this] { return create_pod(); });
    log::info("build started", kv("app", job_.app), kv("commit", job_.commit), kv("pod", pod_.name));
    co_await watched();
    auto state = co_await reached(Stage::running);
    if (!state.trouble) co_await show_log();
    state = co_await reached(Stage::ended);
    if (state.trouble) throw Error(ErrorKind::unprocessable, *state.trouble + ", stopping build");
    if (state.exit_code != 0) {
      throw Error(ErrorKind::unprocessable,
                  "Build pod exited with code " + std::to_string(state.exit_code) + ", stopping build");
    }
  }

  // The container's log, live and complete. The end of a log that is followed may be told seconds after the container's
  // (a kubelet looks every five), so the end of the pod counts, and what is missing by then is read at once.
  Task<> show_log() {
    TaskGroup following(parts_.executor);
    following.spawn("follow a build's log", follow_log());
    auto watch = [&]() -> Task<> {
      co_await reached(Stage::ended);
      try {
        co_await with_deadline(50ms, "the log goes on", following.join());
      } catch (const Error&) {
      }
    };
    co_await with_cleanup(watch(), [&following] { return following.stop(); });
    std::string trouble;
    try {
      if (!log_ended_) co_await read_log(false);
    } catch (const Error& error) {
      trouble = error.message();
    }
    // The exit code tells what became of the build, also without its words.
    if (!trouble.empty()) output_.line(" !     The rest of the build's log cannot be shown: " + trouble);
  }

  // Connections that break are made again.
  Task<> follow_log() {
    for (auto pause = 100ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
      try {
        co_await read_log(true);
        co_return;
      } catch (const Error& error) {
        log::warn("the log of a build broke off", kv("pod", pod_.name), kv("error", error.message()));
      }
      co_await sleep_for(pause);
    }
  }

  // From its beginning; what was shown is skipped.
  Task<> read_log(bool follow) {
    auto log =
        co_await parts_.kube.log(pod_.ns, pod_.name, {.container = std::string(build_container), .follow = follow});
    auto skip = log_shown_;
    for (;;) {
      const auto piece = co_await log->read();
      if (piece.empty()) break;
      const auto old = std::min<std::uint64_t>(skip, piece.size());
      skip -= old;
      log_shown_ += piece.size() - old;
      if (old < piece.size()) output_.raw(std::string_view(piece).substr(old));
      co_await output_.flushed();
    }
    log_ended_ = true;
  }

  Task<> fetch_process_types() {
    procfile_ = procfile_from(co_await parts_.store.get(parts_.config.bucket, keys_.push + "/Procfile", 1u << 20));
  }

  Task<> release() {
    output_.line("Build complete.");
    output_.line("Launching App...");
    const auto begin = Clock::now();
    NewBuild build{.app = job_.app,
                   .user = job_.user,
                   .commit = job_.commit,
                   .image = keys_.push + "/slug.tgz",
                   .procfile = std::move(procfile_)};
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
      log::warn("what a build left could not be removed", kv("what", what), kv("pod", pod_.name),
                kv("error", error.message()));
    }
  }

  Parts& parts_;
  BuildJob& job_;
  Output& output_;
  Phases& phases_;
  BuildKeys keys_;
  BuildPod pod_;
  bool has_pod_ = false, has_secret_ = false;
  std::string waits_for_;        // as the pusher was told
  std::uint64_t log_shown_ = 0;  // bytes
  bool log_ended_ = false;
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
