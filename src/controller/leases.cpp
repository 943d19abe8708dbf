#include "controller/leases.h"

#include <map>

#include "controller/feed.h"
#include "controller/repeats.h"
#include "controller/store.h"
#include "lib/base/log.h"

namespace workflow::controller {
namespace {

using namespace std::chrono_literals;

// A controller that dies is missed when it has not renewed for a moment and has no connection to the database any more;
// one that hangs, when its lease is over.
constexpr auto heartbeat = 1s;
constexpr sql::Query renew_leases{
    "renew_leases", "UPDATE jobs SET lease_until = now() + $2::interval WHERE lease_holder = $1 AND state = 'running'"};
constexpr sql::Query release_leases{
    "release_leases", "UPDATE jobs SET lease_until = now() WHERE lease_holder = $1 AND state = 'running'"};
constexpr sql::Query adopt_jobs{"adopt_jobs",
                                "UPDATE jobs SET lease_holder = $1, lease_until = now() + $2::interval WHERE id IN "
                                "(SELECT id FROM jobs j WHERE state = 'running' AND "
                                "(lease_until < now() OR (lease_until < now() + interval '8 seconds' AND NOT EXISTS "
                                "(SELECT 1 FROM pg_stat_activity s WHERE s.application_name = j.lease_holder))) ORDER "
                                "BY id FOR UPDATE SKIP LOCKED) "
                                "RETURNING id, app_uuid"};

}  // namespace

Leases::Leases(Executor executor, Parts& parts, Adopted adopted)
    : parts_(parts), adopted_(std::move(adopted)), orphans_(std::move(executor)) {
  // A controller that ends gives its work back; after a gap in what we hear, we look as well.
  parts_.feed.on_message([this](const json::object& message) {
    if (message.empty() || message.contains("released")) orphans_.notify_all();
  });
}

Task<bool> Leases::renew() {
  try {
    // Of this moment: more may come while the database works, on another thread.
    const auto unanswered = parts_.unanswered;
    auto renew_all = [this, &unanswered](sql::Tx& tx) {
      tx.execute(renew_leases, {parts_.holder, lease});
      for (const auto& request : unanswered) release_request(tx, request);
      renew_requests(tx, parts_.holder);
    };
    co_await parts_.db.transact(renew_all);
    auto& all = parts_.unanswered;
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(unanswered.size()));
    co_return true;
  } catch (const Error& error) {
    log::warn("leases could not be renewed", kv("error", error.message()));
  }
  co_return false;
}

Task<> Leases::keep() {
  // After an outage of the database the others have to come back as well before their jobs count as orphans.
  constexpr auto grace = 6s;
  auto adopt_from = std::chrono::steady_clock::now();
  for (;;) {
    const auto seen = orphans_.version();
    const auto now = std::chrono::steady_clock::now();
    if (!co_await renew()) adopt_from = now + grace;
    try {
      if (now >= adopt_from) co_await adopt();
    } catch (const Error& error) {
      log::warn("orphaned jobs could not be looked for", kv("error", error.message()));
    }
    try {
      co_await with_deadline(heartbeat, "time to renew", orphans_.wait(seen));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::timeout) throw;
    }
  }
}

Task<> Leases::adopt() {
  auto take = [this](sql::Tx& tx) {
    const auto rows = tx.query(adopt_jobs, {parts_.holder, lease});
    std::map<std::int64_t, std::string> taken;
    for (int i = 0; i < rows.size(); ++i) taken[rows[i].integer("id")] = rows[i].text("app_uuid");
    return taken;
  };
  for (const auto& [id, app] : co_await parts_.db.transact(take)) {
    log::info("job adopted", kv("job", id));
    adopted_(id, app);
  }
}

Task<> Leases::give_back() {
  auto release = [this](sql::Tx& tx) {
    tx.execute(release_leases, {parts_.holder});
    release_requests(tx, parts_.holder);
    tell(tx, {{"released", parts_.holder}});
  };
  co_await parts_.db.transact(release);
}

}  // namespace workflow::controller
