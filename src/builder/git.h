// src/builder/git.h: git as the user of repositories, with no configuration but ours.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "builder/build_pod.h"
#include "builder/refs.h"
#include "lib/async/process.h"

namespace workflow::builder {

struct SystemUser {
  int uid = 0, gid = 0;
};
SystemUser get_user(const std::string& name);  // throws unavailable when the system has no such user

struct GitSettings {
  SystemUser user;
  std::filesystem::path repos;  // a bare repository per app: <app>.git
  std::filesystem::path hooks;  // core.hooksPath
  std::string program, socket;  // what the hooks run, and where it finds us
  std::uint64_t max_push_bytes = 0;
};

// Where the objects of a push lie until it is accepted: git's variables for the hook (git-receive-pack(1),
// "Quarantine").
using Quarantine = std::map<std::string, std::string>;

class Git {
 public:
  explicit Git(GitSettings settings) : settings_(std::move(settings)) {}
  // Makes the folders and the hooks; forgets what an earlier process left half done.
  void prepare() const;
  std::filesystem::path repository(const AppName& app) const { return settings_.repos / (app.text() + ".git"); }
  // `incarnation` tells apps of one name apart that follow one another; "" when it is not known. A repository of an
  // earlier one is replaced by an empty one, so that what was pushed to it is not taken for deployed. Returns whether
  // it was. The first time, locks and objects that a killed process left in it are removed.
  Task<bool> ensure_repository(AppName app, std::string incarnation);
  // Whether something was pushed to the app that is there now, and not only to an earlier one of its name.
  bool has_repository(const AppName& app, const std::string& incarnation) const;
  // The process that gives the app's commits to somebody's git, who may not be silent for longer than `patience`.
  ProcessSpec upload_pack(const AppName& app, std::chrono::seconds patience) const;
  // The process that speaks to the pusher's git over its standard streams; its hooks know the push by `push_id`.
  ProcessSpec receive_pack(const AppName& app, const std::string& push_id) const;
  // Why git would not store what is pushed, in its words; nullopt when it would. Changes nothing.
  Task<std::optional<std::string>> refusal_to_store(AppName app, std::vector<RefUpdate> updates,
                                                    Quarantine quarantine) const;
  Task<SourceTree> inspect(AppName app, ObjectId commit, Quarantine quarantine) const;
  // The process that writes a tar of the commit's tree, without what is marked export-ignore, to its standard output.
  ProcessSpec archive(const AppName& app, const ObjectId& commit, Quarantine quarantine) const;
  Task<> collect_garbage(AppName app) const;
  void remove_repository(const AppName& app) const;
  std::vector<AppName> repositories() const;

 private:
  enum class Hooks { none, ours };
  std::map<std::string, std::string> environment(Hooks hooks) const;
  ProcessSpec command(std::vector<std::string> arguments, Quarantine quarantine, Hooks hooks = Hooks::none) const;
  std::filesystem::path work_folder() const { return settings_.repos / ".work"; }

  GitSettings settings_;
  std::set<AppName> touched_;  // repositories that this process has looked after
};

}  // namespace workflow::builder
