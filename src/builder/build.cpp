#include "builder/build.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "lib/archive/zstd.h"
#include "lib/async/process.h"
#include "lib/async/together.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/slug_name.h"
#include "lib/base/utf8.h"
#include "lib/procfile/procfile.h"

namespace workflow::builder {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Stage = BuildState::Stage;

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

json::object procfile_from(std::string_view text) {
  json::object procfile;
  for (const auto& [type, command] : procfile::parse(text)) procfile[type] = command;
  return procfile;
}

class Build {
 public:
  Build(Parts& parts, BuildJob& job, Output& output, Phases& phases)
      : parts_(parts),
        job_(job),
        output_(output),
        phases_(phases),
        keys_(build_keys(job.app, job.commit, random_hex(16))),
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
  }

  Built result() {
    return {.build = {.app = job_.app,
                      .user = job_.user,
                      .commit = job_.commit,
                      .image = SlugName{keys_.slug, sha256_}.text(),
                      .procfile = std::move(procfile_)},
            .slug = keys_.slug,
            .leftovers = leftovers_};
  }

  // A build that failed leaves no slug either.
  Task<> remove_all() {
    leftovers_.objects.push_back(keys_.slug);
    co_await remove(parts_, leftovers_);
  }

 private:
  Task<> make_slug() {
    auto begin = Clock::now();
    co_await together(parts_.executor, check_refs(), upload(), check_type(),
                      patiently([this] { return create_secrets(); }),
                      patiently([this] { return find_ca_certificates(); }), patiently([this] { return drop_cache(); }));
    phases_.upload = Clock::now() - begin;
    begin = Clock::now();
    co_await run_pod();
    co_await together(parts_.executor, patiently([this] { return fetch_process_types(); }),
                      patiently([this] { return fetch_digest(); }));
    phases_.build = Clock::now() - begin;
  }

  // What git would refuse in the end is refused at once.
  Task<> check_refs() {
    const auto refusal = co_await parts_.git.refusal_to_store(job_.app, job_.stores, job_.quarantine);
    if (refusal) throw Error(ErrorKind::unprocessable, "git cannot store this push: " + *refusal);
  }

  Task<> upload() {
    leftovers_.objects = {keys_.tar, keys_.procfile, keys_.digest};
    co_await patiently([this] { return upload_once(); });
  }

  Task<> upload_once() {
    const auto& bucket = parts_.config.bucket;
    bool no_bucket = false;
    try {
      co_await upload_source();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::not_found) throw;
      no_bucket = true;
    }
    if (!no_bucket) co_return;
    co_await parts_.store.create_bucket(bucket);
    co_await upload_source();
  }

  // From git's tar straight into the object store. A small push can hold what unpacks to more than any disk.
  Task<> upload_source() {
    ChildProcess git(parts_.git.archive(job_.app, job_.commit, job_.quarantine));
    asio::posix::stream_descriptor tar(parts_.executor, git.out().release());
    archive::ZstdStream zstd;
    std::string piece(256 << 10, '\0');
    std::uint64_t left = parts_.config.max_push_bytes;
    bool ended = false;
    auto read = [&]() -> Task<std::string> {
      for (std::string packed; !ended;) {
        const auto [error, size] =
            co_await tar.async_read_some(asio::buffer(piece), asio::as_tuple(asio::use_awaitable));
        if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
        if (size > left) throw Error(ErrorKind::too_large, "the source is larger than a push may be");
        left -= size;
        ended = static_cast<bool>(error);
        if (ended && co_await exited(git) != 0)
          throw Error(ErrorKind::unprocessable, "git cannot pack the commit " + job_.commit.brief());
        packed = ended ? zstd.end() : zstd.add(std::string_view(piece).substr(0, size));
        if (!packed.empty()) co_return packed;
      }
      co_return "";
    };
    co_await parts_.store.put_stream(parts_.config.bucket, keys_.tar, read);
  }

  Task<> check_type() {
    const auto tree = co_await parts_.git.inspect(job_.app, job_.commit, job_.quarantine);
    if (build_type(tree, job_.config) == BuildType::buildpack) co_return;
    throw Error(ErrorKind::unprocessable,
                "Workflow cannot build a Dockerfile yet. To build with a buildpack instead: remove the Dockerfile, or "
                "'deis config:set HEPHY_BUILDER=procfile -a " +
                    job_.app.text() + "'");
  }

  // Good for this build's objects, and as long as the build may take.
  BuildUrls presigned_urls() const {
    const auto& store = parts_.store;
    const auto& bucket = parts_.config.bucket;
    const auto time = std::min(pod_.deadline, s3::longest_presign);
    BuildUrls urls{{"TAR_URL", store.presigned_get(bucket, keys_.tar, time)},
                   {"SLUG_PUT_URL", store.presigned_put(bucket, keys_.slug, time)},
                   {"PROCFILE_PUT_URL", store.presigned_put(bucket, keys_.procfile, time)},
                   {"DIGEST_PUT_URL", store.presigned_put(bucket, keys_.digest, time)}};
    if (!job_.config.has("DEIS_DISABLE_CACHE")) {
      urls["CACHE_GET_URL"] = store.presigned_get(bucket, keys_.cache, time);
      urls["CACHE_PUT_URL"] = store.presigned_put(bucket, keys_.cache, time);
    }
    return urls;
  }

  Task<> create_secrets() {
    const auto urls = presigned_urls();
    pod_.urls.clear();
    for (const auto& [name, url] : urls) pod_.urls.push_back(name);
    leftovers_.secrets = {build_secret_name(job_.app), urls_secret_name(job_.app)};
    co_await together(parts_.executor, create_secret(build_secret(pod_.ns, job_.app, job_.config)),
                      create_secret(urls_secret(pod_.ns, job_.app, urls)));
  }

  // In the place of one that an earlier build left.
  Task<> create_secret(json::object secret) {
    bool exists = false;
    try {
      co_await parts_.kube.create(kube::resources::secrets, pod_.ns, secret);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::conflict) throw;
      exists = true;
    }
    if (!exists) co_return;
    co_await parts_.kube.remove(kube::resources::secrets, pod_.ns, kube::name_of(secret));
    co_await parts_.kube.create(kube::resources::secrets, pod_.ns, std::move(secret));
  }

  Task<> find_ca_certificates() {
    const auto found =
        co_await parts_.kube.find(kube::resources::config_maps, pod_.ns, parts_.config.build.ca_config_map);
    pod_.has_ca_certificates = found && find_string(*found, {"data", "ca.crt"});
  }

  Task<> drop_cache() {
    if (job_.drop_cache || job_.config.has("DEIS_DISABLE_CACHE"))
      co_await parts_.store.remove(parts_.config.bucket, keys_.cache);
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
    leftovers_.pod = pod_.name;
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
      if (!log_ended_) co_await read_log(Log::so_far);
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
        co_await read_log(Log::to_its_end);
        co_return;
      } catch (const Error& error) {
        log::warn("the log of a build broke off", kv("pod", pod_.name), kv("error", error.message()));
      }
      co_await sleep_for(pause);
    }
  }

  // From its beginning; what was shown is skipped.
  enum class Log { so_far, to_its_end };
  Task<> read_log(Log what) {
    auto log = co_await parts_.kube.log(pod_.ns, pod_.name,
                                        {.container = std::string(build_container), .follow = what == Log::to_its_end});
    auto skip = log_shown_;
    for (;;) {
      const auto piece = co_await log->read();
      if (piece.empty()) break;
      const auto old = std::min<std::uint64_t>(skip, piece.size());
      skip -= old;
      log_shown_ += piece.size() - old;
      if (old < piece.size()) output_.raw(log_text_.add(std::string_view(piece).substr(old)));
      co_await output_.flushed();
    }
    output_.raw(log_text_.end());
    log_ended_ = true;
  }

  Task<> fetch_process_types() {
    procfile_ = procfile_from(co_await parts_.store.get(parts_.config.bucket, keys_.procfile, 1u << 20));
  }

  Task<> fetch_digest() {
    sha256_ = co_await parts_.store.get(parts_.config.bucket, keys_.digest, 64);
    if (!is_sha256(sha256_)) throw Error(ErrorKind::unprocessable, "the build did not say what its slug is");
  }

  Parts& parts_;
  BuildJob& job_;
  Output& output_;
  Phases& phases_;
  BuildKeys keys_;
  BuildPod pod_;
  Leftovers leftovers_;
  std::string waits_for_;        // as the pusher was told
  std::uint64_t log_shown_ = 0;  // bytes
  Utf8Stream log_text_;
  bool log_ended_ = false;
  std::string sha256_;  // of the slug
  json::object procfile_;
};

Task<> remove_quietly(Task<> removal, std::string what) {
  try {
    co_await with_deadline(20s, "no answer", std::move(removal));
  } catch (const Error& error) {
    log::warn("what a build left could not be removed", kv("what", what), kv("error", error.message()));
  }
}

}  // namespace

Task<> remove(Parts& parts, Leftovers leftovers) {
  const auto& ns = parts.config.ns;
  if (!leftovers.pod.empty()) {
    auto removal = parts.kube.remove(kube::resources::pods, ns, leftovers.pod, {.grace_period_seconds = 1});
    co_await remove_quietly(std::move(removal), leftovers.pod);
  }
  for (const auto& name : leftovers.secrets) {
    auto removal = parts.kube.remove(kube::resources::secrets, ns, name);
    co_await remove_quietly(std::move(removal), name);
  }
  for (const auto& key : leftovers.objects) {
    auto removal = parts.store.remove(parts.config.bucket, key);
    co_await remove_quietly(std::move(removal), key);
  }
}

Task<Built> build_slug(Parts& parts, BuildJob job, Output& output, Phases& phases) {
  Build build(parts, job, output, phases);
  bool built = false;
  auto run = [&]() -> Task<> {
    co_await build.run();
    built = true;
  };
  auto clean_up = [&]() -> Task<> {
    if (!built) co_await build.remove_all();
  };
  co_await with_cleanup(run(), clean_up);
  co_return build.result();
}

Task<ReleaseVersion> release(Parts& parts, NewBuild build, Output& output, Phases& phases) {
  output.line("Build complete.");
  output.line("Launching App...");
  const auto begin = Clock::now();
  std::optional<ReleaseVersion> version;
  std::optional<Error> trouble;
  try {
    version = co_await parts.controller.release(std::move(build));
  } catch (const Error& error) {
    trouble = error;
  }
  phases.release = Clock::now() - begin;
  if (version) co_return *version;
  const bool unsure = trouble->kind() == ErrorKind::unavailable || trouble->kind() == ErrorKind::timeout;
  throw Error(unsure ? trouble->kind() : ErrorKind::unprocessable,
              "The controller returned an error when publishing the release: " + trouble->message());
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
