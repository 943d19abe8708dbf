// src/engine/controllers/reconciler.h: one look at one object: reads the store, asks the controller's pure plan,
// carries it
//   out. Inside controllers only; controllers.cpp says what wakes which.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/controllers/action.h"
#include "engine/controllers/autoscaler.h"
#include "engine/controllers/controllers.h"
#include "engine/controllers/garbage.h"

namespace workflow::engine {

class Reconciler {
 public:
  Reconciler(ControllersConfig config, Store& store, Clock& clock);

  // Each returns when to look again if nothing happens before.
  using Again = Task<std::optional<Time>>;
  using Step = Again (Reconciler::*)(std::string ns, std::string name);
  Again deployment(std::string ns, std::string name);
  Again replica_set(std::string ns, std::string name);
  Again daemon_set(std::string ns, std::string name);
  Again stateful_set(std::string ns, std::string name);
  Again job(std::string ns, std::string name);
  Again lost_job_pod(std::string ns, std::string name);  // a pod whose job is gone, or another one by now
  Again cron_job(std::string ns, std::string name);
  Again autoscaler(std::string ns, std::string name);
  Again disruption_budget(std::string ns, std::string name);
  Again service_endpoints(std::string ns, std::string name);
  Again service(std::string ns, std::string name);
  Again name_space(std::string, std::string name);
  Again claim(std::string ns, std::string name);
  Again volume(std::string, std::string name);
  Again place(std::string ns, std::string name);
  Again expire_event(std::string ns, std::string name);
  Again quota(std::string ns, std::string name);

 private:
  ControllerContext context(std::string component) const;
  bool is_leaving(const std::string& ns) const;
  // What `owner` controls, and what it might adopt.
  Objects within_reach(const kube::Resource& r, const json::object& owner) const;
  std::vector<Dependent> contents_of(const std::string& ns);
  // Events about pods made and removed; returns why the first refused one was refused.
  Task<std::string> tell_creations(ObjectPtr owner, std::vector<Created> results, std::vector<std::string> removed,
                                   std::string who);

  ControllersConfig config_;
  Store& store_;
  Clock& clock_;
  std::map<std::string, std::string> creation_failures_;  // of replica sets, by key
  std::map<std::string, AutoscalerHistory> histories_;    // of autoscalers, by key
};

}  // namespace workflow::engine
