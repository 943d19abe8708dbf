// src/router/lease/lease.h: of several routers, one does what must be done once.
//   Owns    the Lease of its name in our namespace, only while there is something to do: idle routers renew nothing.
//   Throws  Error: unavailable when the lease was lost meanwhile; whatever the API says.
#pragma once
#include <functional>
#include <string>

#include "lib/kube/client.h"

namespace workflow::router {

class Lease {
 public:
  Lease(kube::Client& client, std::string ns, std::string name);
  // Waits until the lease is ours, runs `work`, gives it back. Whoever loses it stops: `work` is cancelled then.
  Task<> hold(std::function<Task<>()> work);

 private:
  struct Seen {
    std::string holder, renewed;
    std::chrono::steady_clock::time_point since;
  };
  Task<> acquire();
  Task<bool> try_to_acquire();
  Task<> keep();  // returns when the lease is lost
  Task<> release();
  json::object body(json::object before, const std::string& holder) const;

  kube::Client& client_;
  std::string ns_, name_, self_;
  Seen seen_;  // somebody else's lease is over when it has not changed for its duration, by our clock
};

}  // namespace workflow::router
