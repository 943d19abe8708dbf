// src/router/routes.h: what is in effect, told to whoever waits for it.
//   Speaks  GET /v1/routes/<namespace>/<service>?wait=<seconds>&serves=<ip:port>,…&not=<ip:port>,…&host=<name>,…
//           &version=<N>&certificate=<secret>@<N>,…&absent=true
//           → {"generation": N, "version": N, "addresses": […], "hosts": […]}: 200 as soon as every condition holds,
//           504 with the present state when the time is over. A service that has no route has empty lists.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/http/http.h"
#include "router/model.h"

namespace workflow::router {

// What one service has.
struct Route {
  std::vector<std::string> addresses;  // of its pods, with port, sorted
  std::vector<std::string> hosts;      // sorted
  // resourceVersions that all this was made from: of the Service, and of the certificates beside it by their names.
  std::int64_t version = 0;  // 0: there is no such Service, or it is not for us
  std::map<std::string, std::int64_t> certificates;
  bool operator==(const Route&) const = default;
};
using RouteMap = std::map<std::string, Route>;  // by "namespace/service"
// Of one service, of "namespace/name"; nullopt: there is none.
std::optional<Route> route_of(const Planner& planner, const std::string& service);
RouteMap routes_of(const Planner& planner);

// What somebody waits for.
struct RouteConditions {
  std::vector<std::string> serves, serves_not;  // addresses
  std::vector<std::string> hosts;
  std::int64_t version = 0;                          // or a later one
  std::map<std::string, std::int64_t> certificates;  // the same
  bool absent = false;                               // requests reach nothing of it any more
};
bool holds(const RouteConditions& conditions, const Route& route);

class Routes {
 public:
  explicit Routes(Executor executor) : changed_(std::move(executor)) {}
  // `routes` are what requests meet from now on.
  void publish(std::uint64_t generation, RouteMap routes);
  // The same, where only these changed.
  using Changed = std::map<std::string, std::optional<Route>>;
  void publish(std::uint64_t generation, Changed routes);
  Notifier& changes() { return changed_; }
  Task<http::Response> answer(http::Request& request);

 private:
  http::Response response(int status, const Route& route) const;
  const Route& find(const std::string& service) const;

  Notifier changed_;
  std::uint64_t generation_ = 0;
  RouteMap routes_;
};

}  // namespace workflow::router
