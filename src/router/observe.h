// src/router/observe.h: what the cluster says, kept current by watches.
#pragma once
#include <array>
#include <set>
#include <string>
#include <utility>

#include "lib/kube/client.h"
#include "router/model.h"

namespace workflow {
class Supervisor;
}

namespace workflow::router {

// "address:port" of every ready pod behind `service`, sorted. The port is the one that the service offers as port 80
// (or as its first one), as the pods have it.
std::vector<std::string> addresses_of(const json::object& service, const json::object* endpoints);

class Cluster {
 public:
  Cluster(kube::Client& client, std::string ns, std::string platform_domain);
  void watch(Supervisor& supervisor);  // until it is stopped
  Task<> wait_synced();
  bool synced();
  // What changed since the last call. While only pods came and went, the rest need not be looked at again.
  struct Changes {
    bool everything = true;
    std::set<std::string> endpoints;  // "namespace/name" of services, if not everything
  };
  Changes take_changes() { return std::exchange(changed_, {.everything = false, .endpoints = {}}); }
  Observed observe();
  std::vector<std::string> addresses(const std::string& service) const;  // "namespace/name"
  Notifier& changes() { return changes_; }                               // something that may matter to us

 private:
  struct Checked {
    kube::Informer::Object secret;
    ObservedSecret result;
  };
  using Callbacks = kube::Informer::Callbacks;
  Callbacks when_changed();
  Callbacks when_endpoints_change();
  void check_secrets(Observed& observed);
  void check_secret(const kube::Informer::Object& secret, Observed& observed, std::map<std::string, Checked>& now);
  std::array<kube::Informer*, 7> informers();

  std::string ns_, platform_domain_;
  Notifier changes_;
  Changes changed_;
  kube::Informer services_, endpoints_;
  // Only what may be needed: certificates of apps by their type, our own two by their names.
  kube::Informer certificates_, platform_certificate_, dhparam_;
  kube::Informer deployment_, builder_;
  std::map<std::string, Checked> checked_;  // by "namespace/name"
};

}  // namespace workflow::router
