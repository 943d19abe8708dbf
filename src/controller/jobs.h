// src/controller/jobs.h: deploys and scalings as durable jobs: recorded, one at a time per app, finished by whichever
// controller is alive. A client that goes away stops nothing.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "controller/api.h"
#include "controller/cluster/routers.h"
#include "controller/leases.h"
#include "controller/store.h"
#include "lib/async/supervisor.h"

namespace workflow::controller {

struct JobResult {
  bool ok = false;
  std::string message;
  bool elsewhere = false;  // another controller has taken over
};

// What is over soon, and worth another try.
bool is_passing(const Error& error);

class Jobs {
 public:
  Jobs(Executor executor, Parts& parts);
  ~Jobs();

  // Inside the transaction that also writes the release: the app's work is recorded with it or not at all. Throws
  // conflict when other work on the app is under way.
  static std::int64_t insert(sql::Tx& tx, const App& app, const std::string& kind, const std::string& release_uuid,
                             const json::object& structure, const std::string& holder);
  const std::string& holder() const { return parts_.holder; }

  // Starts working on a job of the app that was just inserted.
  void start(std::int64_t id, std::string app_uuid);
  // The same, and waits for its end.
  Task<JobResult> perform(std::int64_t id, std::string app_uuid);
  // Waits for the end of a job, whichever controller works on it. Throws not_found when the app is destroyed meanwhile.
  Task<JobResult> follow(std::int64_t id);
  // The release that a job is about.
  static std::string release_of(sql::Tx& tx, std::int64_t id);
  // Ends the work on an app that is about to be destroyed.
  Task<> abandon(std::string app_uuid);
  // Adopts jobs of controllers that died, renews slug URLs, brings the cluster to what the database says; until
  // cancelled.
  void run();
  Task<> stop();
  const Supervisor& supervisor() const { return supervisor_; }  // of what goes on beside the requests

  // Tells the operator's deploy hooks of a new release.
  void announce(const App& app, const Release& release);
  // Brings routes and settings of one app into the cluster as the database has them; returns what routers have in
  // effect then. Throws not_found when there is no such app.
  Task<std::vector<cluster::Route>> apply_app(std::string app_uuid);
  // Until every router serves it: "". After a deadline, which is then an event of the app: what one of them lacks.
  Task<std::string> wait_for_routers(App app, std::vector<cluster::Route> routes);
  // Both.
  Task<std::string> bring_into_effect(App app);
  // The same of a change that the database has by now.
  struct Change {
    App app;
    std::function<void(sql::Tx&)> take_back;  // undoes it there when the cluster refuses it
    std::string refusal;                      // what is thrown then; "": the cluster's own words
    ErrorKind kind = ErrorKind::unavailable;
    std::vector<std::string> hosts;  // that lead to the app from now on
  };
  Task<std::string> bring_into_effect(Change change);

 private:
  struct Subject;
  struct Running {
    std::string app_uuid;
    std::shared_ptr<asio::cancellation_signal> stop;
    bool abandoned = false;
  };
  Task<> work(std::int64_t id);
  Task<> persist(std::int64_t id, JobResult& result);
  Task<JobResult> attempt(std::int64_t id, Subject subject);
  std::optional<Subject> read_subject(sql::Tx& tx, std::int64_t id) const;
  void record_failure(sql::Tx& tx, std::int64_t id, const std::string& why) const;
  Task<> remove_leftovers(AppName app);
  Task<> apply_again(std::string app_uuid);
  Task<> tell_progress();

  Parts& parts_;
  TaskGroup tasks_;
  Supervisor supervisor_;
  std::map<std::int64_t, Running> running_;
  std::map<std::int64_t, JobResult> finished_;
  Notifier changes_;
  Notifier has_lines_;
  std::vector<json::object> lines_;  // progress that is not told yet
  Leases leases_;
};

}  // namespace workflow::controller
