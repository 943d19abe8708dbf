#include "builder/cleaner.h"

#include "lib/base/log.h"

namespace workflow::builder {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view home = "home/";
constexpr auto sweep_pause = 24h;

}  // namespace

std::optional<AppName> app_of_key(std::string_view key) {
  if (!key.starts_with(home)) return std::nullopt;
  key.remove_prefix(home.size());
  const auto slash = key.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto folder = key.substr(0, slash), rest = key.substr(slash);
  const auto colon = folder.find(":git-");
  if (colon == std::string_view::npos && !rest.starts_with("/cache/")) return std::nullopt;
  return AppName::parse(folder.substr(0, colon));
}

std::vector<std::string> abandoned(const std::vector<s3::ObjectInfo>& objects, Time before) {
  std::vector<std::string> keys;
  for (const auto& object : objects) {
    const bool is_builds = object.key.ends_with("/tar") || object.key.ends_with("/push/Procfile") ||
                           object.key.ends_with("/push/slug.sha256");
    if (is_builds && object.key.contains(":git-") && app_of_key(object.key) && object.modified < before)
      keys.push_back(object.key);
  }
  return keys;
}

std::map<AppName, std::vector<std::string>> old_slugs(const std::vector<s3::ObjectInfo>& objects, Time before) {
  std::map<AppName, std::vector<std::string>> slugs;
  for (const auto& object : objects) {
    if (!object.key.contains(":git-") || !object.key.ends_with("/push/slug.tgz") || object.modified >= before) continue;
    if (auto app = app_of_key(object.key)) slugs[*std::move(app)].push_back(object.key);
  }
  return slugs;
}

std::vector<AppName> without_namespace(const std::set<AppName>& found,
                                       const std::function<bool(const AppName&)>& has_namespace) {
  std::vector<AppName> gone;
  for (const auto& app : found) {
    if (!has_namespace(app)) gone.push_back(app);
  }
  return gone;
}

Cleaner::Cleaner(Parts& parts, Pushes& pushes, Channel<AppName>& destroyed)
    : parts_(parts), pushes_(pushes), destroyed_(destroyed), tasks_(parts.executor) {}

bool Cleaner::has_namespace(const AppName& app) const { return parts_.namespaces.find("", app.text()) != nullptr; }

Task<> Cleaner::run() {
  co_await with_cleanup(follow(), [this] { return tasks_.stop(); });
}

Task<> Cleaner::follow() {
  co_await parts_.namespaces.wait_synced();
  tasks_.spawn("look for what destroyed apps left", sweep_daily());
  while (auto app = co_await destroyed_.pop()) tasks_.spawn("clean up after an app", consider(*std::move(app)));
}

Task<> Cleaner::sweep_daily() {
  for (;;) {
    co_await sweep();
    co_await sleep_for(sweep_pause);
  }
}

// Of an app that lives on. Its lock, and their age, tell that no push of now is to release them: what the controller
// does not know then, it will never know.
Task<> Cleaner::prune(AppName app, std::vector<std::string> slugs) {
  auto work = [this, app, slugs = std::move(slugs)]() -> Task<> {
    const auto needed = co_await parts_.controller.needed_slugs(app);
    for (const auto& key : slugs) {
      if (needed.contains(key)) continue;
      co_await parts_.store.remove(parts_.config.bucket, key);
      log::info("removed a slug that no release needs", kv("app", app), kv("key", key));
    }
  };
  try {
    co_await pushes_.with_app_locked(app, std::move(work));
  } catch (const Error& error) {
    // An app that is gone is somebody else's work; else the next sweep looks again.
    if (error.kind() != ErrorKind::not_found)
      log::warn("slugs that no release needs stay for now", kv("app", app), kv("error", error.message()));
  }
}

Task<> Cleaner::sweep() {
  std::set<AppName> found;
  for (auto& app : parts_.git.repositories()) found.insert(std::move(app));
  try {
    const auto objects = co_await parts_.store.list(parts_.config.bucket, std::string(home));
    for (const auto& object : objects) {
      if (auto app = app_of_key(object.key)) found.insert(*std::move(app));
    }
    const auto longest_build = parts_.config.build_timeout + 5min;
    for (const auto& key : abandoned(objects, SystemClock().now() - longest_build))
      co_await parts_.store.remove(parts_.config.bucket, key);
    const auto longest_push = parts_.config.build_timeout + parts_.config.release_timeout;
    for (auto& [app, slugs] : old_slugs(objects, SystemClock().now() - longest_push))
      if (has_namespace(app)) co_await prune(app, std::move(slugs));
    log::debug("looked for what nobody needs", kv("objects", objects.size()));
  } catch (const Error& error) {
    // No bucket: nothing was ever pushed. Else the next start looks again.
    if (error.kind() != ErrorKind::not_found)
      log::warn("the object store cannot be searched", kv("error", error.message()));
  }
  for (auto& app : without_namespace(found, [this](const AppName& name) { return has_namespace(name); })) {
    co_await consider(std::move(app));
  }
}

// A namespace may be away while its app lives on (a cluster that is being set up anew), and the controller forgets an
// app only after its namespace is gone: it is asked again for a while.
Task<> Cleaner::consider(AppName app) {
  for (auto pause = 250ms; pause <= 2min; pause *= 2) {
    try {
      if (!co_await parts_.controller.app_exists(app)) {
        co_await pushes_.with_app_locked(app, [this, app] { return remove(app); });
        co_return;
      }
    } catch (const Error& error) {
      log::warn("cannot clean up after an app yet", kv("app", app), kv("error", error.message()));
    }
    co_await sleep_for(pause);
    if (has_namespace(app)) co_return;  // made anew
  }
}

Task<> Cleaner::remove(AppName app) {
  // Somebody may have made it anew while we waited for a push to end.
  if (co_await parts_.controller.app_exists(app)) co_return;
  co_await offload([this, app] { parts_.git.remove_repository(app); });
  std::size_t removed = 0;
  for (const auto& prefix : {std::string(home) + app.text() + ":git-", std::string(home) + app.text() + "/"}) {
    for (const auto& object : co_await parts_.store.list(parts_.config.bucket, prefix)) {
      co_await parts_.store.remove(parts_.config.bucket, object.key);
      ++removed;
    }
  }
  log::info("removed what a destroyed app left", kv("app", app), kv("objects", removed));
}

}  // namespace workflow::builder
