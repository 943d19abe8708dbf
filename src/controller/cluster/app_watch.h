// src/controller/cluster/app_watch.h: one app's Deployments, pods and events, as they change.
#pragma once
#include <map>
#include <vector>

#include "controller/cluster/rollout.h"
#include "lib/kube/client.h"

namespace workflow::controller::cluster {

// Begin before writing, so that no change is missed; stop it before it goes.
class AppWatch {
 public:
  AppWatch(kube::Client& client, const AppName& app);
  void begin();
  Task<> ready();  // returns when the first lists are there; throws timeout
  Task<> stop();
  void forget_events();  // what comes now is about something new

  const AppName& app() const { return app_; }
  ObjectPtr deployment(const std::string& name) const;
  std::map<std::string, ObjectPtr> deployments() const;                                    // by name
  std::vector<ObjectPtr> pods(const std::string& type, const std::string& version) const;  // "" = any version
  std::vector<ObjectPtr> all_pods() const;
  // Events about ReplicaSets and pods of this Deployment that came, or came again, after ready() or forget_events().
  std::vector<kube::EventView> events(const std::string& deployment) const;

  std::uint64_t version() const { return changed_.version(); }
  // Until something changed since `seen`, or `until` (nullopt: for ever).
  Task<> wait(std::uint64_t seen, std::optional<Time> until);

 private:
  kube::Informer::Callbacks notify();
  AppName app_;
  Notifier changed_;
  kube::Informer deployments_, pods_, events_;
  std::map<std::string, std::string> old_events_;  // uid → resourceVersion at the start
  TaskGroup tasks_;
};

}  // namespace workflow::controller::cluster
