// src/lib/async/supervisor.h: the one loop for background work that must not end: watchers, accept loops, workers.
//   Whatever leaves such work, an Error, a filesystem_error, bad_alloc or an int, is caught, told once, and after a
//   pause the work runs again. Only cancellation ends it. What fails for long is what readiness says (`problem`).
//
//     Supervisor supervisor(executor);
//     supervisor.keep("remove forgotten uploads", [&] { return remove_forgotten_uploads(store, clock); });
//     http::add_health(router, {.supervisor = supervisor});
//     co_await with_cleanup(server.serve(), [&supervisor] { return supervisor.stop(); });
//
//   Work with a record of its own (a pod, a job) keeps the record outside of the body, so that a failure forgets
//   nothing:
//
//     tasks.spawn("pod " + name, supervisor.until_done("pod " + name, [record] { return step(*record); }));
#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "lib/async/task.h"

namespace workflow {

class Supervisor {
 public:
  // Whether the process does its work without it: readiness looks at services alone.
  enum class Role { service, housekeeping };
  enum class Next { again, done };
  struct Options {
    Role role = Role::service;
    // The pause doubles with each failure in a row, up to the longest.
    std::chrono::milliseconds first_pause{100}, longest_pause{30'000};
    // A run that lasts so long without failing works. One that returns works at once.
    std::chrono::milliseconds settled_after{5'000};
    // Called when what is wrong has changed, and with "" once it works again: to make an event of it.
    std::function<void(const std::string& problem)> report;
  };
  using Body = std::function<Task<>()>;  // waits for something to do, in a loop or once: it is called again
  using Step = std::function<Task<Next>()>;

  explicit Supervisor(Executor executor);
  ~Supervisor();  // requires stop(), as TaskGroup does
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  void keep(std::string name, Body body, Options options);  // runs from now on until stop()
  void keep(std::string name, Body body) { keep(std::move(name), std::move(body), Options()); }
  Task<> join();  // waits until none of them runs: until stop()
  Task<> stop();

  // The same loop as a task of the caller's own group; this supervisor outlives it.
  Task<> forever(std::string name, Body body, Options options);
  Task<> until_done(std::string name, Step step, Options options);
  Task<> forever(std::string name, Body body) { return forever(std::move(name), std::move(body), Options()); }
  Task<> until_done(std::string name, Step step) { return until_done(std::move(name), std::move(step), Options()); }

  // What has failed three times in a row or more, of the services: "accept connections: Too many open files".
  std::optional<std::string> problem() const;
  // Prometheus: failures since the start and whether it fails now, of each task that has failed; those of ended tasks
  // are one sum (task="").
  std::string metrics() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// After `failures` in a row, one or more.
std::chrono::milliseconds pause_after(int failures, const Supervisor::Options& options);

}  // namespace workflow
