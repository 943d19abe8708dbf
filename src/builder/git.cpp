#include "builder/git.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>

#include "builder/client.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

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

void Git::prepare(const std::string& program, const std::string& socket) const {
  fs::create_directories(settings_.repos);
  give_to(settings_.repos, settings_.user);
  fs::remove_all(work_folder());
  fs::create_directories(work_folder());
  give_to(work_folder(), settings_.user);
  fs::create_directories(settings_.hooks);
  write_file_atomically(settings_.hooks / "pre-receive", "#!/bin/sh\nexec " + program + " pre-receive " + socket + "\n",
                        0755);
}

std::map<std::string, std::string> Git::environment() const {
  const std::pair<const char*, std::string> settings[] = {
      {"core.hooksPath", settings_.hooks.string()},
      {"receive.autogc", "false"},  // done after the pusher has the answer
      {"receive.maxInputSize", std::to_string(settings_.max_push_bytes)},
      {"receive.denyDeleteCurrent", "ignore"},  // the hook decides, and says why
  };
  std::map<std::string, std::string> env{{"PATH", "/usr/bin:/bin"},          {"LANG", "C.UTF-8"},
                                         {"HOME", "/nonexistent"},           {"GIT_CONFIG_NOSYSTEM", "1"},
                                         {"GIT_CONFIG_GLOBAL", "/dev/null"}, {"GIT_TERMINAL_PROMPT", "0"}};
  int count = 0;
  for (const auto& [key, value] : settings) {
    env["GIT_CONFIG_KEY_" + std::to_string(count)] = key;
    env["GIT_CONFIG_VALUE_" + std::to_string(count)] = value;
    ++count;
  }
  env["GIT_CONFIG_COUNT"] = std::to_string(count);
  return env;
}

ProcessSpec Git::command(std::vector<std::string> arguments, Quarantine quarantine) const {
  ProcessSpec spec{.argv = {"git"},
                   .env = environment(),
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

Task<bool> Git::ensure_repository(AppName app, std::string incarnation) const {
  const auto target = repository(app);
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

ProcessSpec Git::receive_pack(const AppName& app, const std::string& push_id) const {
  auto spec = command({"receive-pack", repository(app).string()}, {{push_variable, push_id}});
  spec.in = spec.out = spec.err = ProcessSpec::Stream::pipe;
  return spec;
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

Task<fs::path> Git::archive(AppName app, ObjectId commit, Quarantine quarantine) const {
  const auto file = work_folder() / (app.text() + "-" + random_hex(8) + ".tar.gz");
  auto pack = command(
      {"--git-dir=" + repository(app).string(), "archive", "--format=tar.gz", "-1", "-o", file.string(), commit.text()},
      std::move(quarantine));
  // A small push can hold what unpacks to more than the disk.
  pack.argv.insert(pack.argv.begin(),
                   {"prlimit", "--core=0", "--fsize=" + std::to_string(settings_.max_push_bytes), "--"});
  auto packed = co_await run(std::move(pack), patient);
  if (packed.status != 0) {
    fs::remove(file);
    if (packed.status == 128 + SIGXFSZ) throw Error(ErrorKind::too_large, "the source is larger than a push may be");
    throw Error(ErrorKind::unprocessable, "git cannot pack the commit " + commit.brief()).with_detail(packed.err);
  }
  co_return file;
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
