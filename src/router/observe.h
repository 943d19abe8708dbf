// src/router/observe.h: what the cluster says, kept current by watches.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lib/kube/client.h"
#include "router/model.h"

namespace workflow {
class Supervisor;
}

namespace workflow::router {

using ObjectPtr = kube::Informer::Object;

// "address:port" of every ready pod behind `service`, sorted. The port is the one that the service offers as port 80
// (or as its first one), as the pods have it. Of a service with two families of addresses the first one counts.
std::vector<std::string> addresses_of(const json::object& service, const std::vector<ObjectPtr>& slices);

// The pages of errors in a ConfigMap: those that are known, and not too long.
Pages pages_of(const json::object& config_map);

class Cluster {
 public:
  struct Options {
    std::string ns, platform_domain;
    bool has_authority = false;  // see Observed
  };
  Cluster(kube::Client& client, Options options);
  void watch(Supervisor& supervisor);  // until it is stopped
  Task<> wait_synced();
  bool synced();
  // What changed since the last call; nullopt: the router itself, and everything has to be looked at.
  std::optional<Changes> take_changes();
  Observed observe();
  Notifier& changes() { return changes_; }  // something that may matter to us

 private:
  struct Checked {
    ObjectPtr secret;
    ObservedSecret result;
  };
  struct Names {  // "namespace/name"
    bool everything = true;
    std::set<std::string> services, certificates, credentials, pages;
    bool challenges = false;
  };
  using Callbacks = kube::Informer::Callbacks;
  Callbacks when_changed(std::set<std::string> Names::* kind);
  Callbacks when_everything_changes();
  Callbacks when_slices_change();
  Callbacks when_challenges_change();
  void index_slice(const ObjectPtr& slice, const ObjectPtr& before);
  std::vector<ObjectPtr> slices_of(const std::string& service) const;
  ObservedService observe_service(const json::object& service) const;
  std::optional<ObservedSecret> find_certificate(const std::string& name);
  std::vector<Challenge> observe_challenges();
  std::vector<kube::Informer*> informers();

  std::string ns_, platform_domain_;
  bool has_authority_;
  Notifier changes_;
  Names changed_;
  std::map<std::string, std::set<std::string>> slices_by_service_;  // both by "namespace/name"
  kube::Informer services_, slices_;
  // Only what may be needed: Secrets by their type, our own two by their names, pages by their label.
  kube::Informer certificates_, credentials_, pages_, platform_certificate_, dhparam_;
  kube::Informer deployment_, builder_, challenges_;
  std::map<std::string, Certificate> challenge_certificates_;  // by domain and answer
  std::map<std::string, Checked> checked_;                     // by "namespace/name"
};

}  // namespace workflow::router
