#include "router/routes.h"

#include <algorithm>

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

json::array array_of(const std::vector<std::string>& items) {
  json::array array;
  for (const auto& item : items) array.emplace_back(item);
  return array;
}

}  // namespace

RouteMap routes_of(const Model& model) {
  RouteMap routes;
  const auto key = [&](std::size_t backend) {
    auto name = model.backends[backend].name;  // a namespace has no dot
    name[name.find('.')] = '/';
    return name;
  };
  for (std::size_t i = 0; i < model.backends.size(); ++i) routes[key(i)].addresses = model.backends[i].addresses;
  for (const auto& app : model.apps) {
    auto& hosts = routes[key(app.backend)].hosts;
    for (const auto& host : app.hosts) hosts.push_back(host.name);
    std::ranges::sort(hosts);
  }
  return routes;
}

bool holds(const RouteConditions& conditions, const Route& route) {
  return std::ranges::all_of(conditions.serves, [&](const auto& a) { return contains(route.addresses, a); }) &&
         std::ranges::none_of(conditions.serves_not, [&](const auto& a) { return contains(route.addresses, a); }) &&
         std::ranges::all_of(conditions.hosts, [&](const auto& host) { return contains(route.hosts, host); });
}

void Routes::publish(std::uint64_t generation, RouteMap routes) {
  if (generation == generation_ && routes == routes_) return;
  generation_ = generation;
  routes_ = std::move(routes);
  changed_.notify_all();
}

void Routes::publish_addresses(std::uint64_t generation, const Addresses& addresses) {
  generation_ = generation;
  for (const auto& [service, list] : addresses) routes_[service].addresses = list;
  changed_.notify_all();
}

const Route& Routes::find(const std::string& service) const {
  static const Route none;
  const auto found = routes_.find(service);
  return found == routes_.end() ? none : found->second;
}

http::Response Routes::response(int status, const Route& route) const {
  const json::object body{
      {"generation", generation_}, {"addresses", array_of(route.addresses)}, {"hosts", array_of(route.hosts)}};
  return http::Response::json(status, json::serialize(body));
}

Task<http::Response> Routes::answer(http::Request& request) {
  const auto service = request.params.at("namespace") + "/" + request.params.at("service");
  const auto limit = wait_of(request.query);
  const RouteConditions conditions{.serves = items_of(request.query, "serves"),
                                   .serves_not = items_of(request.query, "not"),
                                   .hosts = items_of(request.query, "host")};
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
