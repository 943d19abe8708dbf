#include "controller/reconcile.h"

#include <algorithm>
#include <set>

#include "controller/jobs.h"
#include "lib/base/log.h"
#include "lib/kube/objects.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

// The cluster lost the app's Deployments, or never got them: the live release is deployed again.
Task<> deploy_what_is_missing(const Parts& parts, App app) {
  const auto version = co_await parts.db.transact([&](sql::Tx& tx) { return live_release(tx, app.uuid).version; });
  std::set<std::string> there;
  const auto deployments =
      co_await parts.kube.list(kube::resources::deployments, app.id, {.label_selector = "heritage=deis"});
  for (const auto& deployment : deployments.items) {
    const auto its_version = find_string(deployment, {"spec", "template", "metadata", "labels", "version"});
    if (its_version == ReleaseVersion{version}.text()) there.insert(kube::label_of(deployment, "type"));
  }
  auto is_missing = [&](const auto& entry) {
    return find_integer(app.structure, {entry.key()}).value_or(0) > 0 && !there.contains(entry.key());
  };
  if (std::ranges::none_of(app.structure, is_missing)) co_return;
  auto begin = [&](sql::Tx& tx) -> std::optional<std::int64_t> {
    const auto locked = lock_app(tx, app.uuid);
    const auto live = live_release(tx, app.uuid);
    if (is_busy(tx, locked) || !live.build || live.version != version) return std::nullopt;
    return Jobs::insert(tx, locked, "deploy", live.uuid, locked.structure, parts.holder);
  };
  const auto id = co_await parts.db.transact(begin);
  if (!id) co_return;
  log::warn("the cluster lacks processes of the app; deploying it again", kv("app", app.id));
  parts.jobs.start(*id, app.uuid);
}

Task<> reconcile_app(const Parts& parts, App app) {
  for (auto pause = 500ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 30s)) {
    std::string trouble;
    try {
      co_await parts.jobs.apply_app(app.uuid);
      co_await deploy_what_is_missing(parts, app);
      co_return;
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) co_return;  // destroyed meanwhile
      // What is wrong with one app alone must not keep the others waiting.
      if (!is_passing(error) || error.kind() == ErrorKind::conflict) {
        log::error("app could not be brought up to date", kv("app", app.id), kv("error", error.message()));
        co_return;
      }
      trouble = error.message();
    }
    log::warn("app could not be brought up to date; trying again", kv("app", app.id), kv("error", trouble));
    co_await sleep_for(pause);
  }
}

}  // namespace

// At start the cluster is brought to what the database says; what is right already is not touched.
Task<> reconcile(const Parts& parts) {
  for (auto pause = 500ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 30s)) {
    std::string trouble;
    try {
      for (const auto& app : co_await parts.db.transact(all_apps)) co_await reconcile_app(parts, app);
      co_return;
    } catch (const Error& error) {
      trouble = error.message();
    }
    log::warn("apps could not be brought up to date; trying again", kv("error", trouble));
    co_await sleep_for(pause);
  }
}

}  // namespace workflow::controller
