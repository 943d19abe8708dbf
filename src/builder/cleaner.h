// src/builder/cleaner.h: removes the repository and the stored objects of apps that were destroyed, and of the others
// what no build and no release needs.
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "builder/build.h"
#include "builder/pushes.h"

namespace workflow::builder {

// The app that an object of the bucket belongs to: "home/<app>:git-…/…" and "home/<app>/cache/…".
std::optional<AppName> app_of_key(std::string_view key);

// Sources and process types of builds that ended without removing them, as when the builder was killed: older than
// `before`. Slugs are not among them, since a release may run them.
std::vector<std::string> abandoned(const std::vector<s3::ObjectInfo>& objects, Time before);

// Slugs older than `before`, by app: perhaps of releases, perhaps of builds whose builder was killed before it released
// them or removed them.
std::map<AppName, std::vector<std::string>> old_slugs(const std::vector<s3::ObjectInfo>& objects, Time before);

// What is there without a namespace of its name: perhaps of destroyed apps.
std::vector<AppName> without_namespace(const std::set<AppName>& found,
                                       const std::function<bool(const AppName&)>& has_namespace);

// A namespace that goes, or went while we did not look, is a reason to ask the controller, and only what the controller
// does not know is removed.
class Cleaner {
 public:
  // `destroyed` tells of namespaces that went.
  Cleaner(Parts& parts, Pushes& pushes, Channel<AppName>& destroyed);
  Task<> run();  // until cancelled

 private:
  bool has_namespace(const AppName& app) const;
  Task<> follow();
  Task<> sweep_daily();
  Task<> sweep();
  Task<> prune(AppName app, std::vector<std::string> slugs);
  Task<> consider(AppName app);
  Task<> remove(AppName app);

  Parts& parts_;
  Pushes& pushes_;
  Channel<AppName>& destroyed_;
  TaskGroup tasks_;
};

}  // namespace workflow::builder
