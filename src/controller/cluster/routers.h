// src/controller/cluster/routers.h: what the platform's routers have in effect. A change of routes is done when all of
// them serve it.
//   Needs   their status page, GET /v1/routes/<namespace>/<service>, asked of each ready pod `app=deis-router`. Where
//           there is none, somebody else's router serves the apps, and there is nothing to wait for.
#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controller/cluster/spec.h"
#include "lib/http/http.h"
#include "lib/kube/client.h"

namespace workflow::controller::cluster {

// What should be so of one Service.
struct Route {
  std::string ns, service;
  std::vector<std::string> serves, gone;  // addresses that requests reach, and that no request reaches any more
  std::vector<std::string> hosts;         // that lead there
  // resourceVersions that are in effect, they or later ones: of the Service, and of certificates' Secrets beside it.
  std::string version;
  std::map<std::string, std::string> certificates;
  bool absent = false;  // or that there is no such Service any more
  bool operator==(const Route&) const = default;
};

// The question as a router understands it: path and query.
std::string path_of(const Route& route);
std::string query_of(const Route& route, std::chrono::seconds wait);

class Routers {
 public:
  Routers(kube::Client& client, const Settings& settings);
  // Until every router has all of it in effect: "". After the deadline: which router lacks what.
  Task<std::string> wait_for(std::vector<Route> routes);

 private:
  struct Round;
  struct Question {
    std::string router, address;
    std::size_t route = 0;  // of the round's
    std::chrono::seconds wait{};
  };
  Task<> ask(Round& round, Question question);

  kube::Client& kube_;
  const Settings& settings_;
  http::Client http_;
  bool told_of_none_ = false;  // it is said once, not at each deploy
};

}  // namespace workflow::controller::cluster
