#include "builder/pushes.h"

#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/write.hpp>
#include <csignal>

#include "builder/client.h"
#include "builder/command.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"

namespace workflow::builder {
namespace {

using asio::posix::stream_descriptor;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto quietly = asio::as_tuple(asio::use_awaitable);
constexpr std::size_t piece_size = 64 << 10, most_updates = 4 << 20;

void say(const Fd& fd, std::string_view text) {
  [[maybe_unused]] const auto written = ::write(fd.get(), text.data(), text.size());
}

int refuse_git(const Call& call, std::string_view message) {
  say(call.out, git_error(message));
  return 1;
}

std::string refusal_text(const Error& error, const AppName& app, const UserName& user) {
  switch (error.kind()) {
    case ErrorKind::forbidden:
      return "You do not have permission to push to " + app.text() + " (your key is " + user.text() +
             "'s). Its owner can grant it: deis perms:create " + user.text() + " -a " + app.text();
    case ErrorKind::not_found: return "There is no app " + app.text() + ". To make it: deis create " + app.text();
    case ErrorKind::unavailable:
    case ErrorKind::timeout: return "Workflow's controller does not answer: push again in a moment";
    default: return error.message();
  }
}

std::string failure_text(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::internal) return error.message();
  } catch (...) {
  }
  return "an error of the platform's own; its log says more under request " + log::current_request();
}

Task<std::string> read_all(Executor executor, Fd fd, std::size_t limit) {
  stream_descriptor from(executor, fd.release());
  std::string all, piece(piece_size, '\0');
  for (;;) {
    const auto [error, size] = co_await from.async_read_some(asio::buffer(piece), quietly);
    if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
    if (error) co_return all;
    all.append(piece, 0, size);
    if (all.size() > limit) throw Error(ErrorKind::too_large, "the push changes too many branches and tags at once");
  }
}

}  // namespace

struct Pushes::Push {
  std::string id;
  AppName app;
  UserName user;
  AppConfig config;
  Clock::time_point began = Clock::now();
  bool received = false;  // the hook runs: all of the pack is here
  bool deciding = false;  // the hook, and with it the build, is under way
  bool refused = false;   // the hook said no
  bool pusher_gone = false;
  bool is_first = false;  // to this app; an earlier one of the name may have left a cache
};

class Pushes::Lock {
 public:
  Lock(Pushes& pushes, AppName app) : pushes_(pushes), app_(std::move(app)) {}
  ~Lock() {
    pushes_.busy_.erase(app_);
    pushes_.changes_.notify_all();
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  Pushes& pushes_;
  AppName app_;
};

Pushes::Pushes(Parts& parts, TaskGroup& background)
    : parts_(parts), background_(background), identity_key_(random_bytes(32)), changes_(parts.executor) {}

Task<int> Pushes::keys(Call call) {
  if (call.fields.size() != 3) co_return 2;
  const auto& type = call.fields[1];
  const auto& blob = call.fields[2];
  const auto fingerprint = fingerprint_of(type, blob);
  if (!fingerprint) co_return 0;
  std::optional<UserName> user;
  try {
    user = co_await parts_.controller.find_user(*fingerprint);
  } catch (const Error& error) {
    log::warn("a key cannot be looked up", kv("fingerprint", *fingerprint), kv("error", error.message()),
              kv("detail", error.detail()));
    co_return 1;
  }
  if (user)
    say(call.out, authorized_key(type, blob, sign_identity({*user, *fingerprint}, identity_key_)));
  else
    log::info("a key that nobody has", kv("fingerprint", *fingerprint));
  co_return 0;
}

Task<int> Pushes::session(Call call) {
  if (call.fields.size() != 4) co_return 2;
  const auto who = verify_identity(call.fields[1], identity_key_);
  if (!who) {
    say(call.err, "Log in again.\n");
    co_return 1;
  }
  const auto command = parse_command(call.fields[2]);
  if (std::holds_alternative<Ping>(command)) {
    say(call.out, "pong");
    co_return 0;
  }
  if (const auto* refused = std::get_if<RefusedCommand>(&command)) {
    if (refused->is_git) co_return refuse_git(call, refused->message);
    say(call.err, refused->message + "\n");
    co_return 1;
  }
  co_return co_await receive(std::move(call), *who, std::get<ReceivePack>(command).app);
}

Task<int> Pushes::receive(Call call, Identity who, AppName app) {
  if (refusing_) co_return refuse_git(call, "The builder is being restarted: push again in a moment");
  auto push = std::make_shared<Push>(random_hex(32), app, who.user);
  std::string refusal;
  try {
    push->config = co_await parts_.controller.get_config(app, who.user);
  } catch (const Error& error) {
    refusal = refusal_text(error, app, who.user);
    log::info("push refused", kv("app", app), kv("user", who.user), kv("reason", error.message()),
              kv("detail", error.detail()));
  }
  if (refusal.empty() && busy_.contains(app)) refusal = "Another git push is ongoing";
  if (!refusal.empty()) {
    count("refused");
    co_return refuse_git(call, refusal);
  }
  busy_.insert(app);
  const Lock lock(*this, app);
  std::exception_ptr failure;
  try {
    const auto ns = parts_.namespaces.find("", app.text());
    push->is_first = co_await parts_.git.ensure_repository(app, ns ? kube::uid_of(*ns) : "");
  } catch (...) {
    failure = std::current_exception();
    if (is_cancelled(failure)) throw;
    log::error("a repository cannot be made", kv("app", app), kv("error", describe(failure)));
  }
  if (failure) co_return refuse_git(call, failure_text(failure));
  pushes_[push->id] = push;
  int status = 1;
  auto receiving = [&]() -> Task<> {
    status = co_await receive_pack(std::move(call), push);
    // Should git die before its hook has ended, the build is still the app's one push.
    while (push->deciding) co_await changes_.wait(changes_.version());
  };
  auto forget = [&]() -> Task<> {
    pushes_.erase(push->id);
    co_return;
  };
  co_await with_cleanup(receiving(), forget);
  background_.spawn("collect garbage", parts_.git.collect_garbage(app));
  co_return status;
}

Task<int> Pushes::receive_pack(Call call, std::shared_ptr<Push> push) {
  ChildProcess git(parts_.git.receive_pack(push->app, push->id));
  stream_descriptor in(parts_.executor, call.in.release()), out(parts_.executor, call.out.release()),
      err(parts_.executor, call.err.release());
  stream_descriptor git_in(parts_.executor, git.in().release());
  stream_descriptor git_out(parts_.executor, git.out().release()), git_err(parts_.executor, git.err().release());
  TaskGroup reading(parts_.executor), telling(parts_.executor);
  reading.spawn("read the pusher", read_pusher(push, in, std::move(git_in), git));
  telling.spawn("tell the pusher", tell_pusher(push, std::move(git_out), out));
  telling.spawn("tell the pusher of errors", tell_pusher(push, std::move(git_err), err));
  int status = 1;
  auto wait = [&]() -> Task<> {
    status = co_await exited(git);
    co_await telling.join();
  };
  auto stop = [&]() -> Task<> {
    git.signal(SIGKILL);
    co_await reading.stop();
    co_await telling.stop();
  };
  co_await with_cleanup(wait(), stop);
  co_return push->refused ? 1 : status;
}

// From the pusher to git. A pusher who goes silent before the pack is complete is given up.
Task<> Pushes::read_pusher(std::shared_ptr<Push> push, stream_descriptor& from, stream_descriptor to,
                           ChildProcess& git) {
  std::string piece(piece_size, '\0');
  for (;;) {
    std::size_t size = 0;
    try {
      auto reading = from.async_read_some(asio::buffer(piece), asio::use_awaitable);
      size = co_await with_deadline(push->received ? 24h : parts_.config.receive_timeout, "the pusher is silent",
                                    std::move(reading));
    } catch (const boost::system::system_error& error) {
      if (error.code() == asio::error::operation_aborted) throw;
    } catch (const Error&) {
      if (push->received) continue;
      log::info("the pusher was silent for too long", kv("app", push->app));
      git.signal(SIGKILL);
    }
    if (size == 0) co_return;  // closes git's input
    const auto [error, written] = co_await asio::async_write(to, asio::buffer(piece, size), quietly);
    if (error) co_return;
  }
}

// From git to the pusher. A pusher who is gone changes nothing for git, which would give up the push otherwise.
Task<> Pushes::tell_pusher(std::shared_ptr<Push> push, stream_descriptor from, stream_descriptor& to) {
  std::string piece(piece_size, '\0');
  bool gone = false;
  for (;;) {
    const auto [error, size] = co_await from.async_read_some(asio::buffer(piece), quietly);
    if (error) co_return;
    if (gone) continue;
    const auto [broken, written] = co_await asio::async_write(to, asio::buffer(piece, size), quietly);
    if (!broken) continue;
    gone = true;
    if (!std::exchange(push->pusher_gone, true) && push->received) {
      log::info("the pusher is gone, the push goes on", kv("app", push->app));
    }
  }
}

Task<int> Pushes::pre_receive(Call call) {
  if (call.fields.size() != 5) co_return 2;
  const auto found = pushes_.find(call.fields[1]);
  if (found == pushes_.end()) {
    say(call.err, "This is not a push that the builder knows.\n");
    co_return 1;
  }
  const auto push = found->second;
  push->received = push->deciding = true;
  int status = 1;
  auto answer = [&]() -> Task<> { status = co_await run_hook(push, std::move(call)); };
  auto end = [&]() -> Task<> {
    push->refused = status != 0;
    push->deciding = false;
    changes_.notify_all();
    co_return;
  };
  co_await with_cleanup(answer(), end);
  co_return status;
}

Task<int> Pushes::run_hook(std::shared_ptr<Push> push, Call call) {
  Quarantine quarantine;
  const char* names[] = {"GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"};
  for (std::size_t i = 0; i < 3; ++i) {
    if (!call.fields[i + 2].empty()) quarantine[names[i]] = call.fields[i + 2];
  }
  call.out.reset();
  Output output(parts_.executor, std::move(call.err), parts_.config.heartbeat);
  TaskGroup words(parts_.executor);
  words.spawn("speak to the pusher", output.run());
  int status = 1;
  auto work = [&]() -> Task<> {
    try {
      auto updates = co_await read_all(parts_.executor, std::move(call.in), most_updates);
      status = co_await decide(push, std::move(updates), std::move(quarantine), output);
    } catch (const Error& error) {
      output.line(" !     " + error.message());
    }
    try {
      co_await with_deadline(60s, "the pusher does not listen", output.flushed());
    } catch (const Error& error) {
      log::info("the last words of a push were not heard", kv("app", push->app), kv("error", error.message()));
    }
  };
  co_await with_cleanup(work(), [&words] { return words.stop(); });
  co_return status;
}

Task<int> Pushes::decide(std::shared_ptr<Push> push, std::string text, Quarantine quarantine, Output& output) {
  const auto updates = parse_ref_updates(text);
  if (!updates) {
    output.line(" !     git told what changes in a form that the builder does not know");
    co_return 1;
  }
  const auto plan = plan_push(*updates, deploy_branches(push->config.value("DEIS_DEPLOY_BRANCH")));
  if (plan.refusal) {
    output.line(" !     " + *plan.refusal);
    co_return 1;
  }
  for (const auto& notice : plan.notices) output.line(notice);
  if (!plan.build) {
    count("stored");
    co_return 0;
  }
  co_return co_await build(push, *plan.build, std::move(quarantine), output);
}

Task<int> Pushes::build(std::shared_ptr<Push> push, ObjectId commit, Quarantine quarantine, Output& output) {
  Phases phases;
  phases.receive = Clock::now() - push->began;
  std::exception_ptr failure;
  std::optional<ReleaseVersion> version;
  try {
    BuildJob job{push->app, push->user, commit, push->config, std::move(quarantine), push->is_first};
    version = co_await build_and_release(parts_, std::move(job), output, phases);
  } catch (...) {
    failure = std::current_exception();
    if (is_cancelled(failure)) throw;
  }
  phases.total = Clock::now() - push->began;
  if (!version) {
    count("failed");
    log::warn("push failed", kv("app", push->app), kv("user", push->user), kv("commit", commit),
              kv("error", describe(failure)));
    output.line(" !     " + failure_text(failure));
    co_return 1;
  }
  count("deployed");
  observe(phases);
  log::info("deployed", kv("app", push->app), kv("release", *version), kv("user", push->user), kv("commit", commit),
            kv("pusher_gone", push->pusher_gone), kv("receive", seconds_text(phases.receive)),
            kv("upload", seconds_text(phases.upload)), kv("build", seconds_text(phases.build)),
            kv("release_time", seconds_text(phases.release)), kv("total", seconds_text(phases.total)));
  output.line("Done, " + push->app.text() + ":" + version->text() + " deployed to Workflow\n");
  output.line("Use 'deis open' to view this application in your browser\n");
  output.line("To learn more, use 'deis help' or visit https://deis.com/\n");
  output.line(phases_text(phases));
  co_return 0;
}

void Pushes::count(std::string_view result) {
  parts_.metrics.count("builder_pushes_total", "Pushes by what became of them", {{"result", std::string(result)}});
}

void Pushes::observe(const Phases& phases) {
  const std::pair<const char*, std::chrono::nanoseconds> parts[] = {{"receive", phases.receive},
                                                                    {"upload", phases.upload},
                                                                    {"build", phases.build},
                                                                    {"release", phases.release},
                                                                    {"total", phases.total}};
  for (const auto& [phase, time] : parts) {
    parts_.metrics.observe("builder_push_seconds", "How long each part of a deployed push took", time,
                           {{"phase", phase}});
  }
}

Task<> Pushes::finished() {
  while (!busy_.empty()) co_await changes_.wait(changes_.version());
}

Task<> Pushes::with_app_locked(AppName app, std::function<Task<>()> work) {
  while (!busy_.insert(app).second) co_await changes_.wait(changes_.version());
  const Lock lock(*this, app);
  co_await work();
}

}  // namespace workflow::builder
