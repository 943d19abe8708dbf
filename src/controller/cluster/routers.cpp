#include "controller/cluster/routers.h"

#include <algorithm>
#include <map>
#include <set>

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::controller::cluster {

using namespace std::chrono_literals;

namespace {
constexpr auto longest_wait = 5s;  // of one question: routers come and go

// Routers that answer, by name: their addresses.
std::map<std::string, std::string> routers_in(const kube::List& pods) {
  std::map<std::string, std::string> routers;
  for (const auto& pod : pods.items) {
    const auto ip = kube::pod_status_of(pod).pod_ip;
    if (kube::is_pod_ready(pod) && !ip.empty()) routers[kube::name_of(pod)] = ip;
  }
  return routers;
}
}  // namespace

std::string path_of(const Route& route) {
  return "/v1/routes/" + percent_encode(route.ns) + "/" + percent_encode(route.service);
}

std::string query_of(const Route& route, std::chrono::seconds wait) {
  std::string query = "wait=" + std::to_string(wait.count());
  constexpr auto plain = ":,[]";
  if (!route.serves.empty()) query += "&serves=" + percent_encode(join(route.serves, ","), plain);
  if (!route.gone.empty()) query += "&not=" + percent_encode(join(route.gone, ","), plain);
  for (const auto& host : route.hosts) query += "&host=" + percent_encode(host);
  if (!route.version.empty()) query += "&version=" + percent_encode(route.version);
  for (const auto& [name, version] : route.certificates)
    query += "&certificate=" + percent_encode(name + "@" + version, "@");
  if (route.absent) query += "&absent=true";
  return query;
}

// What is known while one call waits.
struct Routers::Round {
  const std::vector<Route>& routes;
  std::set<std::pair<std::string, std::size_t>> in_effect;  // router and route
  std::string lacking;                                      // a sentence about one that is not
  bool unanswered = false;                                  // one could not be asked: not again at once
};

Routers::Routers(kube::Client& client, const Settings& settings)
    : kube_(client), settings_(settings), http_(client.executor(), {.connect_timeout = 2s, .idle_timeout = 10s}) {}

Task<> Routers::ask(Round& round, Question question) {
  const auto& [router, address, route, wait] = question;
  const auto& wanted = round.routes[route];
  http::ClientRequest request{.timeout = wait + 5s};
  request.url = {.scheme = "http", .host = address, .path = path_of(wanted), .query = query_of(wanted, wait)};
  request.url.port = settings_.router_port;
  try {
    auto response = co_await http_.send(std::move(request));
    co_await response.text(1u << 20, 5s);
    // A router that does not know the question is an older one, which nobody can wait for.
    if (response.status == 200 || response.status == 404) round.in_effect.emplace(router, route);
    if (response.status == 404)
      log::warn("a router does not tell what it has in effect", kv("router", router), kv("status", response.status));
    if (response.status == 200 || response.status == 404) co_return;
    round.lacking = "router " + router + " does not have the routes of " + wanted.service + " in effect yet";
    if (response.status != 504) round.unanswered = true;
  } catch (const Error& error) {
    round.unanswered = true;
    round.lacking = "router " + router + " cannot be asked: " + error.message();
  }
}

Task<std::string> Routers::wait_for(std::vector<Route> routes) {
  const auto deadline = std::chrono::steady_clock::now() + settings_.router_deadline;
  const auto& ns = settings_.platform_namespace;
  Round round{.routes = routes};
  while (!routes.empty()) {
    const auto pods = co_await kube_.list(kube::resources::pods, ns, {.label_selector = "app=deis-router"});
    const auto routers = routers_in(pods);
    if (routers.empty()) {
      if (!std::exchange(told_of_none_, true))
        log::info("no router of the platform's is ready: nobody waits for routes", kv("namespace", ns));
      co_return "";
    }
    const auto left = std::chrono::ceil<std::chrono::seconds>(deadline - std::chrono::steady_clock::now());
    const auto wait = std::clamp<std::chrono::seconds>(left, 0s, longest_wait);
    round.lacking.clear();
    round.unanswered = false;
    TaskGroup asking(kube_.executor());
    for (const auto& [name, address] : routers) {
      for (std::size_t i = 0; i < routes.size(); ++i) {
        if (!round.in_effect.contains({name, i})) asking.spawn("ask a router", ask(round, {name, address, i, wait}));
      }
    }
    co_await with_cleanup(asking.join(), [&asking] { return asking.stop(); });
    if (round.lacking.empty()) co_return "";
    if (std::chrono::steady_clock::now() >= deadline) co_return round.lacking;
    if (round.unanswered) co_await sleep_for(200ms);
  }
  co_return "";
}

}  // namespace workflow::controller::cluster
