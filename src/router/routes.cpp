#include "router/routes.h"

#include <algorithm>
#include <limits>

#include "lib/base/text.h"
#include "lib/json/json.h"

namespace workflow::router {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t longest_wait = 600;

std::vector<std::string> items_of(const http::Query& query, std::string_view name) {
  std::vector<std::string> items;
  for (const auto& text : query.all(name)) {
    for (auto& item : parse_list(text)) items.push_back(std::move(item));
  }
  return items;
}

bool contains(const std::vector<std::string>& sorted, const std::string& item) {
  return std::ranges::binary_search(sorted, item);
}

std::chrono::seconds wait_of(const http::Query& query) {
  const auto text = query.find("wait");
  if (!text) return 0s;
  const auto seconds = parse_count(*text, 0, longest_wait);
  if (!seconds) throw Error(ErrorKind::invalid, "wait must be a number of seconds from 0 to 600");
  return std::chrono::seconds(*seconds);
}

std::int64_t version_of(std::string_view text) {
  const auto version = parse_count(text, 0, std::numeric_limits<std::int64_t>::max());
  if (!version) throw Error(ErrorKind::invalid, "a version must be a resourceVersion that is a number");
  return *version;
}

std::map<std::string, std::int64_t> certificates_of(const http::Query& query) {
  std::map<std::string, std::int64_t> certificates;
  for (const auto& item : items_of(query, "certificate")) {
    const auto at = item.rfind('@');
    if (at == std::string::npos) throw Error(ErrorKind::invalid, "certificate must be <secret>@<resourceVersion>");
    certificates[item.substr(0, at)] = version_of(std::string_view(item).substr(at + 1));
  }
  return certificates;
}

json::array array_of(const std::vector<std::string>& items) {
  json::array array;
  for (const auto& item : items) array.emplace_back(item);
  return array;
}

}  // namespace

std::optional<Route> route_of(const Planner& planner, const std::string& service) {
  const auto found = planner.places().find(service);
  if (found == planner.places().end()) return std::nullopt;
  Route route{.addresses = planner.model().backends[found->second].addresses};
  for (const auto& host : planner.model().apps[found->second].hosts) route.hosts.push_back(host.name);
  std::ranges::sort(route.hosts);
  route.version = planner.version_of(service);
  route.certificates = planner.certificate_versions(service.substr(0, service.find('/')));
  return route;
}

RouteMap routes_of(const Planner& planner) {
  RouteMap routes;
  for (const auto& [service, place] : planner.places()) routes.emplace(service, *route_of(planner, service));
  return routes;
}

bool holds(const RouteConditions& conditions, const Route& route) {
  if (conditions.absent) return route.version == 0;
  const auto has_certificate = [&](const auto& wanted) {
    const auto found = route.certificates.find(wanted.first);
    return found != route.certificates.end() && found->second >= wanted.second;
  };
  return route.version >= conditions.version && std::ranges::all_of(conditions.certificates, has_certificate) &&
         std::ranges::all_of(conditions.serves, [&](const auto& a) { return contains(route.addresses, a); }) &&
         std::ranges::none_of(conditions.serves_not, [&](const auto& a) { return contains(route.addresses, a); }) &&
         std::ranges::all_of(conditions.hosts, [&](const auto& host) { return contains(route.hosts, host); });
}

void Routes::publish(std::uint64_t generation, RouteMap routes) {
  if (generation == generation_ && routes == routes_) return;
  generation_ = generation;
  routes_ = std::move(routes);
  changed_.notify_all();
}

void Routes::publish(std::uint64_t generation, Changed routes) {
  generation_ = generation;
  for (auto& [service, route] : routes) {
    if (route)
      routes_.insert_or_assign(service, std::move(*route));
    else
      routes_.erase(service);
  }
  changed_.notify_all();
}

const Route& Routes::find(const std::string& service) const {
  static const Route none;
  const auto found = routes_.find(service);
  return found == routes_.end() ? none : found->second;
}

http::Response Routes::response(int status, const Route& route) const {
  const json::object body{{"generation", generation_},
                          {"version", route.version},
                          {"addresses", array_of(route.addresses)},
                          {"hosts", array_of(route.hosts)}};
  return http::Response::json(status, json::serialize(body));
}

Task<http::Response> Routes::answer(http::Request& request) {
  const auto service = request.params.at("namespace") + "/" + request.params.at("service");
  const auto limit = wait_of(request.query);
  const RouteConditions conditions{.serves = items_of(request.query, "serves"),
                                   .serves_not = items_of(request.query, "not"),
                                   .hosts = items_of(request.query, "host"),
                                   .version = version_of(request.query.find("version").value_or("0")),
                                   .certificates = certificates_of(request.query),
                                   .absent = request.query.find("absent") == "true"};
  const auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto seen = changed_.version();
    if (holds(conditions, find(service))) co_return response(200, find(service));
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= 0s) co_return response(504, find(service));
    try {
      co_await with_deadline(left, "not in effect in time", changed_.wait(seen));
    } catch (const Error&) {
      // The time is over: the state that there is decides once more.
    }
  }
}

}  // namespace workflow::router
