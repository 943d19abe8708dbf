#include "builder/git.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include "builder/client.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"

namespace workflow::builder {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr auto quick = 60s;      // what only looks
constexpr auto patient = 10min;  // what goes through all objects

void give_to(const fs::path& path, const SystemUser& user) {
  if (::chown(path.c_str(), static_cast<uid_t>(user.uid), static_cast<gid_t>(user.gid)) != 0) {
    throw Error(ErrorKind::unavailable, "cannot give " + path.string() +
                                            " to the user of repositories: " + std::generic_category().message(errno));
  }
}

// What a process that was killed may leave in its repository: locks, which git takes for another process's, and objects
// of pushes that never were accepted. Only for a repository that nobody uses.
void remove_remains(const fs::path& repository) {
  std::error_code absent;
  std::vector<fs::path> remains;
  for (fs::recursive_directory_iterator at(repository / "refs", absent), end; !absent && at != end; ++at) {
    if (at->path().extension() == ".lock") remains.push_back(at->path());
  }
  for (const auto* name : {"HEAD.lock", "config.lock", "packed-refs.lock", "packed-refs.new", "shallow.lock", "gc.pid"})
    remains.push_back(repository / name);
  for (fs::directory_iterator at(repository / "objects", absent), end; !absent && at != end; ++at) {
    const auto name = at->path().filename().string();
    if (name.starts_with("tmp_objdir-") || name.starts_with("incoming-")) remains.push_back(at->path());
  }
  for (const auto& path : remains) fs::remove_all(path);
}

}  // namespace

SystemUser get_user(const std::string& name) {
  passwd entry{};
  passwd* found = nullptr;
  std::array<char, 16384> buffer;
  if (::getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) {
    throw Error(ErrorKind::unavailable, "this system has no user \"" + name + "\"");
  }
  return {static_cast<int>(entry.pw_uid), static_cast<int>(entry.pw_gid)};
}

void Git::prepare() const {
  fs::create_directories(settings_.repos);
  give_to(settings_.repos, settings_.user);
  fs::remove_all(work_folder());
  fs::create_directories(work_folder());
  give_to(work_folder(), settings_.user);
  fs::remove_all(settings_.hooks);
  fs::create_directories(settings_.hooks);
  for (const auto* hook : {"pre-receive", "reference-transaction"})
    fs::create_symlink(settings_.program, settings_.hooks / hook);
}

std::map<std::string, std::string> Git::environment(Hooks hooks) const {
  const std::pair<const char*, std::string> settings[] = {
      {"core.hooksPath", hooks == Hooks::ours ? settings_.hooks.string() : "/dev/null"},
      {"receive.autogc", "false"},  // done after the pusher has the answer
      {"receive.maxInputSize", std::to_string(settings_.max_push_bytes)},
      {"receive.denyDeleteCurrent", "ignore"},  // the hook decides, and says why
      // What a push from a shallow clone leaves out is not needed here; who clones gets as little.
      {"receive.shallowUpdate", "true"},
      {"receive.keepAlive", "1"},  // seconds: its sign that it works on what has arrived
  };
  std::map<std::string, std::string> env{{"PATH", "/usr/bin:/bin"},          {"LANG", "C.UTF-8"},
                                         {"HOME", "/nonexistent"},           {"GIT_CONFIG_NOSYSTEM", "1"},
                                         {"GIT_CONFIG_GLOBAL", "/dev/null"}, {"GIT_TERMINAL_PROMPT", "0"},
                                         {socket_variable, settings_.socket}};
  int count = 0;
  for (const auto& [key, value] : settings) {
    env["GIT_CONFIG_KEY_" + std::to_string(count)] = key;
    env["GIT_CONFIG_VALUE_" + std::to_string(count)] = value;
    ++count;
  }
  env["GIT_CONFIG_COUNT"] = std::to_string(count);
  return env;
}

ProcessSpec Git::command(std::vector<std::string> arguments, Quarantine quarantine, Hooks hooks) const {
  ProcessSpec spec{.argv = {"git"},
                   .env = environment(hooks),
                   .cwd = settings_.repos.string(),
                   .new_session = true,
                   .die_with_parent = true};
  spec.argv.insert(spec.argv.end(), std::make_move_iterator(arguments.begin()),
                   std::make_move_iterator(arguments.end()));
  spec.env->merge(quarantine);
  spec.uid = settings_.user.uid;
  spec.gid = settings_.user.gid;
  return spec;
}

Task<bool> Git::ensure_repository(AppName app, std::string incarnation) {
  const auto target = repository(app);
  if (touched_.insert(app).second) co_await offload([target] { remove_remains(target); });
  const auto mark = target / "workflow-incarnation";
  const bool exists = fs::exists(target / "HEAD");
  const auto before = find_file(mark).value_or("");
  const bool is_earlier = exists && !incarnation.empty() && !before.empty() && before != incarnation;
  if (!exists || is_earlier) {
    const auto fresh = work_folder() / (app.text() + "-" + random_hex(8));
    auto made = co_await run(
        command({"init", "--quiet", "--bare", "--initial-branch=master", "--template=", fresh.string()}, {}), quick);
    if (made.status != 0)
      throw Error(ErrorKind::unavailable, "the app's repository could not be made").with_detail(made.err);
    co_await offload([fresh, target] {
      fs::remove_all(target);  // of an earlier app, or without HEAD: no repository
      fs::rename(fresh, target);
    });
  }
  if (!incarnation.empty() && before != incarnation) write_file_atomically(mark, incarnation, 0644);
  co_return is_earlier;
}

bool Git::has_repository(const AppName& app, const std::string& incarnation) const {
  const auto path = repository(app);
  if (!fs::exists(path / "HEAD")) return false;
  const auto mark = find_file(path / "workflow-incarnation").value_or("");
  return mark.empty() || mark == incarnation;
}

ProcessSpec Git::upload_pack(const AppName& app, std::chrono::seconds patience) const {
  auto spec = command(
      {"upload-pack", "--strict", "--timeout=" + std::to_string(patience.count()), repository(app).string()}, {});
  spec.in = spec.out = spec.err = ProcessSpec::Stream::pipe;
  return spec;
}

ProcessSpec Git::receive_pack(const AppName& app, const std::string& push_id) const {
  auto spec = command({"receive-pack", repository(app).string()}, {{push_variable, push_id}}, Hooks::ours);
  spec.in = spec.out = spec.err = ProcessSpec::Stream::pipe;
  return spec;
}

Task<std::optional<std::string>> Git::refusal_to_store(AppName app, std::vector<RefUpdate> updates,
                                                       Quarantine quarantine) const {
  std::string transaction = "start\n";
  for (const auto& [before, after, ref] : updates) {
    if (!after.is_null())
      transaction += "update " + ref + " " + after.text() + " " + before.text() + "\n";
    else if (!before.is_null())
      transaction += "delete " + ref + " " + before.text() + "\n";
  }
  // In a quarantine git prepares no transaction, whatever becomes of it.
  quarantine.erase("GIT_QUARANTINE_PATH");
  auto update = command({"--git-dir=" + repository(app).string(), "update-ref", "--stdin"}, std::move(quarantine));
  auto tried = co_await run(std::move(update), quick, transaction + "prepare\nabort\n");
  if (tried.status == 0) co_return std::nullopt;
  std::string_view words = trim(tried.err);
  for (const std::string_view part : {"fatal: ", "prepare: "}) {
    if (words.starts_with(part)) words.remove_prefix(part.size());
  }
  co_return printable(words.substr(0, 500));
}

Task<SourceTree> Git::inspect(AppName app, ObjectId commit, Quarantine quarantine) const {
  auto names = co_await run(command({"--git-dir=" + repository(app).string(), "ls-tree", "--name-only", commit.text(),
                                     "--", "Dockerfile", "Procfile"},
                                    std::move(quarantine)),
                            quick);
  if (names.status != 0)
    throw Error(ErrorKind::unprocessable, "git cannot read the commit " + commit.brief()).with_detail(names.err);
  SourceTree tree;
  for (const auto& name : split(names.out, '\n')) {
    if (name == "Dockerfile") tree.has_dockerfile = true;
    if (name == "Procfile") tree.has_procfile = true;
  }
  co_return tree;
}

ProcessSpec Git::archive(const AppName& app, const ObjectId& commit, Quarantine quarantine) const {
  auto spec = command({"--git-dir=" + repository(app).string(), "archive", "--format=tar", commit.text()},
                      std::move(quarantine));
  spec.out = ProcessSpec::Stream::pipe;
  spec.err = ProcessSpec::Stream::null;
  return spec;
}

Task<> Git::collect_garbage(AppName app) const {
  auto collected =
      co_await run(command({"--git-dir=" + repository(app).string(), "gc", "--auto", "--quiet"}, {}), patient);
  if (collected.status != 0) log::warn("git gc failed", kv("app", app), kv("git", collected.err.substr(0, 500)));
}

void Git::remove_repository(const AppName& app) const { fs::remove_all(repository(app)); }

std::vector<AppName> Git::repositories() const {
  std::vector<AppName> apps;
  for (const auto& entry : fs::directory_iterator(settings_.repos)) {
    if (entry.path().extension() != ".git") continue;
    if (auto app = AppName::parse(entry.path().stem().string())) apps.push_back(*std::move(app));
  }
  return apps;
}

}  // namespace workflow::builder
