#include "builder/pushes.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
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
  Push(Executor executor, AppName name, UserName pusher)
      : id(random_hex(32)), app(std::move(name)), user(std::move(pusher)), tidying(std::move(executor)) {}

  std::string id;
  AppName app;
  UserName user;
  AppConfig config;
  Clock::time_point began = Clock::now();
  Clock::time_point last_sign = began;  // of life, from the pusher or from a git that works on what it has
  PushRequest request;
  bool received = false;  // the hook runs: all of the pack is here
  bool deciding = false;  // a hook, and with it the build or the release, is under way
  bool refused = false;   // a hook said no
  bool pusher_gone = false;
  bool is_first = false;  // to this app; an earlier one of the name may have left a cache
  Sink words;             // to the pusher, once the pack is here
  Phases phases;
  std::vector<RefUpdate> updates;
  std::set<std::string> stored;    // the refs of updates that git was let store
  bool broken_off = false;         // git was not let store one, and dies of that
  std::vector<RefUpdate> deploys;  // the branches whose storing releases what was built
  std::optional<Built> built;
  std::optional<ReleaseVersion> version;
  bool may_yet_serve = false;  // the release's fate is not known
  TaskGroup tidying;

  bool has_sideband() const { return request.can("side-band-64k"); }
  bool wants_report() const { return request.can("report-status") || request.can("report-status-v2"); }
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
  if (const auto* fetched = std::get_if<UploadPack>(&command))
    co_return co_await give(std::move(call), *who, fetched->app);
  co_return co_await receive(std::move(call), *who, std::get<ReceivePack>(command).app);
}

std::string Pushes::busy_text(const Holder& holder) const {
  if (holder.who.empty()) return "Another git push is ongoing";
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - holder.since).count();
  return "Another git push is ongoing (" + holder.who + "'s, for " + std::to_string(seconds) + " s)";
}

// Clone and fetch, for those who may push.
Task<int> Pushes::give(Call call, Identity who, AppName app) {
  std::string refusal;
  try {
    co_await parts_.controller.get_config(app, who.user);
    const auto ns = parts_.namespaces.find("", app.text());
    if (!parts_.git.has_repository(app, ns ? kube::uid_of(*ns) : ""))
      refusal = "Nothing was pushed to " + app.text() + " yet";
  } catch (const Error& error) {
    refusal = refusal_text(error, app, who.user);
    log::info("clone refused", kv("app", app), kv("user", who.user), kv("reason", error.message()));
  }
  if (!refusal.empty()) co_return refuse_git(call, refusal);
  log::info("clone", kv("app", app), kv("user", who.user));
  co_return co_await upload_pack(std::move(call), app);
}

Task<int> Pushes::upload_pack(Call call, AppName app) {
  const auto patience = std::chrono::ceil<std::chrono::seconds>(parts_.config.receive_timeout);
  ChildProcess git(parts_.git.upload_pack(app, patience));
  // Until the end of one side, or of the other, who then is gone.
  auto relay = [](stream_descriptor from, stream_descriptor to) -> Task<> {
    std::string piece(piece_size, '\0');
    for (;;) {
      const auto [error, size] = co_await from.async_read_some(asio::buffer(piece), quietly);
      if (error) co_return;
      const auto [failed, written] = co_await asio::async_write(to, asio::buffer(piece, size), quietly);
      if (failed) co_return;
    }
  };
  auto stream = [this](Fd fd) { return stream_descriptor(parts_.executor, fd.release()); };
  TaskGroup asking(parts_.executor), answering(parts_.executor);
  asking.spawn("hear who clones", relay(stream(std::move(call.in)), stream(std::move(git.in()))));
  answering.spawn("answer who clones", relay(stream(std::move(git.out())), stream(std::move(call.out))));
  answering.spawn("tell who clones of errors", relay(stream(std::move(git.err())), stream(std::move(call.err))));
  int status = 1;
  auto wait = [&]() -> Task<> {
    status = co_await exited(git);
    try {
      co_await with_deadline(parts_.config.receive_timeout, "who clones does not listen", answering.join());
    } catch (const Error& error) {
      log::info("the end of a clone was not heard", kv("app", app), kv("error", error.message()));
    }
  };
  auto stop = [&]() -> Task<> {
    git.signal(SIGKILL);
    co_await asking.stop();
    co_await answering.stop();
  };
  co_await with_cleanup(wait(), stop);
  co_return status;
}

Task<int> Pushes::receive(Call call, Identity who, AppName app) {
  if (refusing_) co_return refuse_git(call, "The builder is being restarted: push again in a moment");
  auto push = std::make_shared<Push>(parts_.executor, app, who.user);
  std::string refusal;
  try {
    push->config = co_await parts_.controller.get_config(app, who.user);
  } catch (const Error& error) {
    refusal = refusal_text(error, app, who.user);
    log::info("push refused", kv("app", app), kv("user", who.user), kv("reason", error.message()),
              kv("detail", error.detail()));
  }
  if (const auto busy = busy_.find(app); refusal.empty() && busy != busy_.end()) refusal = busy_text(busy->second);
  if (!refusal.empty()) {
    count("refused");
    co_return refuse_git(call, refusal);
  }
  busy_.emplace(app, Holder{who.user.text(), Clock::now()});
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
    // Should git die before its hooks have ended, what they do is still the app's one push.
    while (push->deciding) co_await changes_.wait(changes_.version());
  };
  co_await with_cleanup(receiving(), [this, push] { return forget(push); });
  background_.spawn("collect garbage", parts_.git.collect_garbage(app));
  co_return status;
}

// The end of a push, whatever became of it.
Task<> Pushes::forget(std::shared_ptr<Push> push) {
  pushes_.erase(push->id);
  co_await push->tidying.join();
  if (!push->built || push->version || push->may_yet_serve) co_return;
  if (!push->refused) {
    count("failed");
    log::warn("git did not store what was built", kv("app", push->app), kv("commit", push->built->build.commit));
  }
  co_await remove(parts_, {.objects = {push->built->slug}});
}

Task<int> Pushes::receive_pack(Call call, std::shared_ptr<Push> push) {
  ChildProcess git(parts_.git.receive_pack(push->app, push->id));
  stream_descriptor in(parts_.executor, call.in.release());
  stream_descriptor git_in(parts_.executor, git.in().release());
  stream_descriptor git_out(parts_.executor, git.out().release()), git_err(parts_.executor, git.err().release());
  auto out = std::make_shared<PacketRelay>(parts_.executor, std::move(call.out));
  const auto err = sink_to(parts_.executor, std::move(call.err));
  push->words = [push = push.get(), out, err](std::string text) {
    return push->has_sideband() ? out->put(sideband_packets(text)) : err(std::move(text));
  };
  TaskGroup reading(parts_.executor), telling(parts_.executor);
  reading.spawn("read the pusher", read_pusher(push, in, std::move(git_in), git));
  Sink relay = [out, push = push.get()](std::string bytes) -> Task<bool> {
    push->last_sign = Clock::now();
    co_return co_await out->relay(bytes);
  };
  telling.spawn("tell the pusher", tell_pusher(push, std::move(git_out), std::move(relay)));
  Sink errors = [err, push = push.get()](std::string bytes) -> Task<bool> {
    if (push->broken_off) co_return true;  // of its death, which is none of the pusher's business
    co_return co_await err(std::move(bytes));
  };
  telling.spawn("tell the pusher of errors", tell_pusher(push, std::move(git_err), std::move(errors)));
  auto tell_end = [&]() -> Task<> {
    co_await telling.join();
    if (!push->broken_off || !push->wants_report()) co_return;
    std::vector<RefResult> results;
    for (const auto& update : push->updates)
      results.push_back({update.ref, push->stored.contains(update.ref) ? "" : "release failed"});
    co_await out->put(report_packets(results, push->has_sideband() ? Sideband::yes : Sideband::no));
  };
  int status = 1;
  auto wait = [&]() -> Task<> {
    status = co_await exited(git);
    // Somebody who keeps the connection and reads nothing does not keep the app's turn.
    try {
      co_await with_deadline(parts_.config.receive_timeout, "the pusher does not listen", tell_end());
    } catch (const Error& error) {
      log::info("the end of a push was not heard", kv("app", push->app), kv("error", error.message()));
    }
  };
  auto stop = [&]() -> Task<> {
    git.signal(SIGKILL);
    co_await reading.stop();
    co_await telling.stop();
  };
  co_await with_cleanup(wait(), stop);
  co_return push->refused ? 1 : status;
}

// What the pusher sends next. Throws timeout when he is silent for too long. Silence is his only while git has taken
// all that he sent, and says nothing itself: a git that unpacks does.
Task<std::size_t> Pushes::read_piece(Push& push, stream_descriptor& from, stream_descriptor& to, std::string& piece) {
  for (;;) {
    const auto patience = push.last_sign + parts_.config.receive_timeout - Clock::now();
    try {
      auto reading = from.async_read_some(asio::buffer(piece), asio::use_awaitable);
      const auto size = co_await with_deadline(patience, "the pusher is silent", std::move(reading));
      push.last_sign = Clock::now();
      co_return size;
    } catch (const Error&) {
      int unread = 0;
      const bool is_read = ::ioctl(to.native_handle(), FIONREAD, &unread) != 0 || unread == 0;
      if (!is_read || push.received) push.last_sign = Clock::now();
      if (push.last_sign + parts_.config.receive_timeout < Clock::now()) throw;
      if (!is_read) log::debug("git has not yet taken what the pusher sent", kv("app", push.app), kv("bytes", unread));
    }
  }
}

// From the pusher to git. A pusher who goes silent before the pack is complete is given up.
Task<> Pushes::read_pusher(std::shared_ptr<Push> push, stream_descriptor& from, stream_descriptor to,
                           ChildProcess& git) {
  std::string piece(piece_size, '\0');
  for (;;) {
    std::size_t size = 0;
    try {
      size = co_await read_piece(*push, from, to, piece);
    } catch (const boost::system::system_error& error) {
      if (error.code() == asio::error::operation_aborted) throw;
    } catch (const Error&) {
      log::info("the pusher was silent for too long", kv("app", push->app));
      git.signal(SIGTERM);  // it removes what it has unpacked
    }
    if (size == 0) co_return;  // closes git's input
    push->request.feed(std::string_view(piece).substr(0, size));
    const auto [error, written] = co_await asio::async_write(to, asio::buffer(piece, size), quietly);
    if (error) co_return;
  }
}

// From git to the pusher. A pusher who is gone changes nothing for git, which would give up the push otherwise.
Task<> Pushes::tell_pusher(std::shared_ptr<Push> push, stream_descriptor from, Sink sink) {
  std::string piece(piece_size, '\0');
  bool gone = false;
  for (;;) {
    const auto [error, size] = co_await from.async_read_some(asio::buffer(piece), quietly);
    if (error) co_return;
    if (gone) continue;
    if (co_await sink(piece.substr(0, size))) continue;
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
  push->received = true;
  Quarantine quarantine;
  const char* names[] = {"GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"};
  for (std::size_t i = 0; i < 3; ++i) {
    if (!call.fields[i + 2].empty()) quarantine[names[i]] = call.fields[i + 2];
  }
  call.out.reset();
  auto work = [&](Output& output) -> Task<int> {
    auto updates = co_await read_all(parts_.executor, std::move(call.in), most_updates);
    co_return co_await consider(push, std::move(updates), std::move(quarantine), output);
  };
  co_return co_await decide(push, sink_to(parts_.executor, std::move(call.err)), work);
}

Task<int> Pushes::reference_transaction(Call call) {
  if (call.fields.size() != 5) co_return 2;
  const auto found = pushes_.find(call.fields[1]);
  if (found == pushes_.end()) co_return 1;
  const auto push = found->second;
  if (!push->built) co_return 0;
  const auto updates = parse_transaction(co_await read_all(parts_.executor, std::move(call.in), most_updates));
  const bool deploys = std::ranges::any_of(updates, [&](const RefUpdate& update) {
    return std::ranges::any_of(push->deploys, [&](const RefUpdate& one) { return one.ref == update.ref; });
  });
  // Several branches of one commit: the first one that is stored releases it.
  if (deploys && !push->version) {
    const auto status =
        co_await decide(push, push->words, [this, push](Output& output) { return release(push, output); });
    push->broken_off = status != 0;
    if (push->broken_off) co_return status;
  }
  for (const auto& update : updates) push->stored.insert(update.ref);
  co_return 0;
}

Task<int> Pushes::decide(std::shared_ptr<Push> push, Sink sink, std::function<Task<int>(Output&)> work) {
  push->deciding = true;
  Output output(parts_.executor, std::move(sink), parts_.config.heartbeat);
  TaskGroup words(parts_.executor);
  words.spawn("speak to the pusher", output.run());
  int status = 1;
  auto answer = [&]() -> Task<> {
    try {
      status = co_await work(output);
    } catch (const Error& error) {
      output.line(" !     " + error.message());
    }
    try {
      co_await with_deadline(60s, "the pusher does not listen", output.flushed());
    } catch (const Error& error) {
      log::info("the last words of a push were not heard", kv("app", push->app), kv("error", error.message()));
    }
  };
  auto end = [&]() -> Task<> {
    co_await words.stop();
    push->refused = status != 0;
    push->deciding = false;
    changes_.notify_all();
  };
  co_await with_cleanup(answer(), end);
  co_return status;
}

Task<int> Pushes::consider(std::shared_ptr<Push> push, std::string text, Quarantine quarantine, Output& output) {
  const auto updates = parse_ref_updates(text);
  if (!updates) {
    output.line(" !     git told what changes in a form that the builder does not know");
    co_return 1;
  }
  push->updates = *updates;
  auto plan = plan_push(*updates, deploy_branches(push->config.value("DEIS_DEPLOY_BRANCH")));
  if (plan.refusal) {
    output.line(" !     " + *plan.refusal);
    co_return 1;
  }
  for (const auto& notice : plan.notices) output.line(notice);
  if (!plan.build) {
    count("stored");
    co_return 0;
  }
  co_return co_await build(push, std::move(plan), std::move(quarantine), output);
}

Task<int> Pushes::build(std::shared_ptr<Push> push, PushPlan plan, Quarantine quarantine, Output& output) {
  push->phases.receive = Clock::now() - push->began;
  std::exception_ptr failure;
  try {
    BuildJob job{.app = push->app, .user = push->user, .commit = *plan.build};
    // One of several refs that cannot be stored is the others' end only if the pusher wants it so.
    job.stores = push->request.can("atomic") ? push->updates : plan.deploys;
    job.config = push->config;
    job.quarantine = std::move(quarantine);
    job.drop_cache = push->is_first;
    push->built = co_await build_slug(parts_, std::move(job), output, push->phases);
  } catch (...) {
    failure = std::current_exception();
    if (is_cancelled(failure)) throw;
  }
  if (failure) {
    count("failed");
    log::warn("push failed", kv("app", push->app), kv("user", push->user), kv("commit", *plan.build),
              kv("error", describe(failure)));
    output.line(" !     " + failure_text(failure));
    co_return 1;
  }
  push->deploys = std::move(plan.deploys);
  push->tidying.spawn("remove what a build left", remove(parts_, push->built->leftovers));
  co_return 0;
}

Task<int> Pushes::release(std::shared_ptr<Push> push, Output& output) {
  const auto& commit = push->built->build.commit;
  std::exception_ptr failure;
  push->may_yet_serve = true;  // also when we are ended meanwhile
  try {
    push->version = co_await builder::release(parts_, push->built->build, output, push->phases);
  } catch (const Error& error) {
    push->may_yet_serve = error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::timeout;
    failure = std::current_exception();
  }
  auto& phases = push->phases;
  phases.total = Clock::now() - push->began;
  if (failure) {
    count("failed");
    log::warn("push failed", kv("app", push->app), kv("user", push->user), kv("commit", commit),
              kv("error", describe(failure)));
    output.line(" !     " + failure_text(failure));
    co_return 1;
  }
  count("deployed");
  observe(phases);
  log::info("deployed", kv("app", push->app), kv("release", *push->version), kv("user", push->user),
            kv("commit", commit), kv("pusher_gone", push->pusher_gone), kv("receive", seconds_text(phases.receive)),
            kv("upload", seconds_text(phases.upload)), kv("build", seconds_text(phases.build)),
            kv("release_time", seconds_text(phases.release)), kv("total", seconds_text(phases.total)));
  output.line("Done, " + push->app.text() + ":" + push->version->text() + " deployed to Workflow\n");
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
  while (!busy_.emplace(app, Holder{"", Clock::now()}).second) co_await changes_.wait(changes_.version());
  const Lock lock(*this, app);
  co_await work();
}

}  // namespace workflow::builder
