#include "engine/apiserver/proxied.h"

#include <algorithm>
#include <cstring>

#include "engine/apiserver/api_error.h"
#include "engine/fields.h"
#include "engine/proxy/network.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine {
namespace {

namespace res = kube::resources;
using namespace std::chrono_literals;

// "https:web:8443": the scheme and the port may be left out.
struct Target {
  std::string scheme = "http", name, port;
};

Target target_of(const std::string& text) {
  const auto parts = split(text, ':');
  Target target;
  if (parts.size() == 1) {
    target.name = parts[0];
  } else if (parts.size() == 2) {
    target.name = parts[0];
    target.port = parts[1];
  } else if (parts.size() == 3) {
    target = {parts[0].empty() ? "http" : parts[0], parts[1], parts[2]};
  }
  const bool sane = (target.scheme == "http" || target.scheme == "https") && !target.name.empty() && parts.size() <= 3;
  if (!sane) throw bad_request("invalid request \"" + text + "\": it must be [http:|https:]name[:port]");
  return target;
}

struct Place {
  Ipv4 ip;
  std::uint16_t port = 0;
};

Place place_of(const std::string& address, std::int64_t port) {
  const auto ip = Ipv4::parse(address);
  const auto first = ip ? ip->value >> 24 : 0;
  // An object may say what it likes; the API server has a better place in the network than who wrote it.
  const bool allowed = first != 0 && first != 127 && first < 224 && (ip->value >> 16) != (169u << 8 | 254u);
  if (!allowed) throw bad_request("address not allowed");
  if (port < 1 || port > 65535) throw bad_request("invalid port " + std::to_string(port));
  return {*ip, static_cast<std::uint16_t>(port)};
}

Place place_of_pod(const Call& call, const Target& target) {
  const auto pod = call.api.store.find(res::pods, call.info.ns, target.name);
  if (!pod) throw absent(res::pods, target.name);
  auto port = target.port.empty() ? std::optional<std::int64_t>() : parse_integer(target.port);
  if (!port && !target.port.empty()) throw bad_request("invalid port " + target.port + ": a pod's is a number");
  for (const auto& container : array_at(*pod, {"spec", "containers"})) {
    const auto& ports = array_at(container.as_object(), {"ports"});
    if (!port && !ports.empty()) port = integer_at(ports[0].as_object(), {"containerPort"});
  }
  return place_of(text_at(*pod, {"status", "podIP"}), port.value_or(80));
}

Place place_of_service(const Call& call, const Target& target) {
  const auto service = call.api.store.find(res::services, call.info.ns, target.name);
  if (!service) throw absent(res::services, target.name);
  // A port by its name or number; without one, the only one.
  const auto& ports = array_at(*service, {"spec", "ports"});
  std::optional<std::string> wanted;
  for (const auto& item : ports) {
    const auto& port = item.as_object();
    const auto name = text_at(port, {"name"});
    const bool same = target.port.empty() ? ports.size() == 1
                                          : name == target.port ||
                                                std::to_string(integer_at(port, {"port"}).value_or(0)) == target.port;
    if (same) wanted = name;
  }
  std::vector<std::pair<std::string, std::int64_t>> places;
  const auto endpoints = wanted ? call.api.store.find(res::endpoints, call.info.ns, target.name) : nullptr;
  for (const auto& item : endpoints ? array_at(*endpoints, {"subsets"}) : json::array()) {
    for (const auto& port : array_at(item.as_object(), {"ports"})) {
      if (text_at(port.as_object(), {"name"}) != *wanted) continue;
      for (const auto& address : array_at(item.as_object(), {"addresses"}))
        places.emplace_back(text_at(address.as_object(), {"ip"}), integer_at(port.as_object(), {"port"}).value_or(0));
    }
  }
  if (places.empty())
    throw ApiError(503, "ServiceUnavailable", "no endpoints available for service \"" + call.info.name + "\"");
  std::uint32_t chance = 0;
  std::memcpy(&chance, random_bytes(sizeof chance).data(), sizeof chance);
  const auto& [ip, port] = places[chance % places.size()];
  return place_of(ip, port);
}

// What is behind …/proxy, as it was sent; "" when there is not even a slash.
std::string path_behind(const http::Request& request) {
  std::size_t at = 0;
  for (int segment = 0; segment < 7 && at != std::string::npos; ++segment) at = request.raw_path.find('/', at + 1);
  return at == std::string::npos ? "" : request.raw_path.substr(at);
}

bool is_of_one_hop(std::string_view name) {
  for (const auto* one : {"Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding",
                          "Upgrade", "Content-Length"}) {
    if (equal_ignoring_case(name, one)) return true;
  }
  return false;
}

bool is_for_us_alone(std::string_view name) {
  return equal_ignoring_case(name, "Authorization") || equal_ignoring_case(name, "Host") ||
         starts_with_ignoring_case(name, "Impersonate-");
}

http::Headers headers_to(const Call& call) {
  http::Headers headers;
  for (const auto& [name, value] : call.request.headers) {
    if (!is_of_one_hop(name) && !is_for_us_alone(name)) headers.add(name, value);
  }
  headers.add("X-Forwarded-For", call.request.peer);
  headers.set("X-Forwarded-Host", call.request.headers.get("Host"));
  headers.set("X-Forwarded-Proto", "https");
  headers.set("X-Forwarded-Uri", call.request.raw_path);
  return headers;
}

Task<> copy(std::shared_ptr<http::BodyReader> from, http::BodyWriter& to) {
  for (;;) {
    const auto piece = co_await from->read();
    if (piece.empty()) co_return;
    co_await to.write(piece);
  }
}

}  // namespace

Task<http::Response> proxied(Call& call) {
  constexpr auto answer_limit = 60s;
  const auto target = target_of(call.info.name);
  const auto place = call.info.plural == "pods" ? place_of_pod(call, target) : place_of_service(call, target);
  auto& request = call.request;
  const auto path = path_behind(request);
  const auto query = request.raw_query.empty() ? "" : "?" + request.raw_query;
  if (request.wants_websocket()) throw bad_request("upgrades do not pass this proxy; use port-forward");
  if (path.empty() && (request.method == "GET" || request.method == "HEAD")) {
    auto response = http::Response::empty(301);  // relative links of the answer need the slash
    response.headers.set("Location", request.raw_path + "/" + query);
    co_return response;
  }
  const bool has_body = request.body->length() != 0u;
  http::ClientConfig config{.tls = {.verify = false}, .max_idle_per_host = 0};
  auto client = std::make_shared<http::Client>(call.api.executor, std::move(config));
  http::ClientRequest forwarded{.method = request.method,
                                .url = {.scheme = target.scheme,
                                        .host = place.ip.text(),
                                        .path = path.empty() ? "/" : path,
                                        .query = request.raw_query,
                                        .port = place.port},
                                .headers = headers_to(call),
                                .timeout = answer_limit};
  if (has_body) forwarded.body = request.body;
  http::ClientResponse answer;
  try {
    answer = co_await client->send(std::move(forwarded));
  } catch (const Error& error) {
    throw ApiError(503, "ServiceUnavailable", "error trying to reach service: " + error.message());
  }
  http::Response response;
  response.status = answer.status;
  for (const auto& [name, value] : answer.headers) {
    if (!is_of_one_hop(name)) response.headers.add(name, value);
  }
  if (request.method == "HEAD") co_return response;
  response.length = answer.body->length();
  response.body = [client, body = answer.body](http::BodyWriter& to) { return copy(body, to); };
  co_return response;
}

}  // namespace workflow::engine
