// src/controller/jobs.h: deploys and scalings as durable jobs: recorded, one at a time per app, finished by whichever
// controller is alive. A client that goes away stops nothing.
#pragma once
#include <map>
#include <memory>
#include <set>
#include <string>

#include "controller/api.h"
#include "controller/store.h"

namespace workflow::controller {

struct JobResult {
  bool ok = false;
  std::string message;
};

class Jobs {
 public:
  Jobs(Executor executor, Parts& parts);
  ~Jobs();

  // Inside the transaction that also writes the release: the app's work is recorded with it or not at all. Throws conflict
  // when other work on the app is under way.
  static std::int64_t insert(sql::Tx& tx, const App& app, const std::string& kind, const std::string& release_uuid,
                             const json::object& structure, const std::string& holder);
  const std::string& holder() const { return holder_; }

  // Starts working on a job that was just inserted, and waits for its end.
  Task<JobResult> perform(std::int64_t id);
  // Adopts jobs of controllers that died, renews slug URLs, brings the cluster to what the database says; until cancelled.
  Task<> run();
  Task<> stop();

  // Routes and settings of one app as the database has them.
  Task<> apply_app(std::string app_uuid);
  // What a release is in the cluster; the release must have a build.
  cluster::ReleaseSpec release_spec(const App& app, const Release& release, const json::object& structure,
                                    const json::object& autoscale) const;

 private:
  struct Waiter;
  void start(std::int64_t id);
  Task<> work(std::int64_t id);
  Task<JobResult> deploy(std::int64_t id, std::string release_uuid, json::object structure);
  Task<JobResult> scale(std::int64_t id, std::string release_uuid, json::object structure);
  Task<> keep_leases();
  Task<> adopt();
  Task<> renew_urls();
  Task<> reconcile();
  Task<> tell_hooks(App app, Release release);

  Executor executor_;
  Parts& parts_;
  std::string holder_;
  TaskGroup tasks_;
  std::set<std::int64_t> running_;
  std::map<std::int64_t, JobResult> finished_;
  Notifier changes_;
};

}  // namespace workflow::controller
