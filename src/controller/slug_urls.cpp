#include "controller/slug_urls.h"

#include "controller/cluster/cluster.h"
#include "controller/release_spec.h"
#include "controller/store.h"
#include "lib/base/log.h"

namespace workflow::controller {
namespace {

constexpr sql::Query select_slug_releases{"select_slug_releases",
                                          "SELECT r.version, b.image FROM releases r JOIN builds b ON b.uuid = "
                                          "r.build_uuid WHERE r.app_uuid = $1::uuid AND r.state = 'live' "
                                          "AND b.sha <> '' AND b.dockerfile = '' ORDER BY r.version DESC LIMIT 12"};

Task<> renew_urls_of(const Parts& parts, App app) {
  std::map<ReleaseVersion, Secret> urls;
  co_await parts.db.transact([&](sql::Tx& tx) {
    urls.clear();
    const auto rows = tx.query(select_slug_releases, {app.uuid});
    for (int i = 0; i < rows.size(); ++i) urls[{rows[i].integer("version")}] = slug_url(parts, rows[i].text("image"));
  });
  if (!urls.empty()) co_await cluster::renew_slug_urls(parts.kube, app.name(), std::move(urls));
}

}  // namespace

// Presigned URLs live for 7 days; renewal at the start and twice a day leaves time for many failures in a row.
Task<> renew_slug_urls(const Parts& parts) {
  for (;;) {
    std::vector<App> apps;
    bool failed = false;
    try {
      apps = co_await parts.db.transact(all_apps);
    } catch (const Error& error) {
      failed = true;
      log::warn("slug URLs could not be renewed", kv("error", error.message()));
    }
    for (const auto& app : apps) {
      try {
        co_await renew_urls_of(parts, app);
      } catch (const Error& error) {
        failed = true;
        log::warn("slug URLs could not be renewed", kv("app", app.id), kv("error", error.message()));
      }
    }
    co_await sleep_for(failed ? std::chrono::minutes(5) : std::chrono::hours(12));
  }
}

}  // namespace workflow::controller
