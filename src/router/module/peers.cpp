// Pods as peers of nginx's upstream: the balancer. What a worker knows of a pod is its own: the others learn it as
// fast.
#include <algorithm>
#include <cstring>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "router/module/module.h"

namespace workflow::router::module {
namespace {

constexpr ngx_uint_t max_tries = 3;
constexpr std::size_t compare_all = 8;  // up to so many pods the least busy of all is taken, beyond the better of two
constexpr ngx_msec_t shortest_ejection = 1000, longest_ejection = 30'000;
constexpr std::uint32_t failures_to_eject = 2;

struct HashOfEndpoint {
  std::size_t operator()(const table::Endpoint& endpoint) const {
    return table::hash_of({reinterpret_cast<const char*>(&endpoint), sizeof endpoint}, 0);
  }
};

struct Pod {
  std::uint32_t active = 0, failures = 0, ejections = 0;
  ngx_msec_t ejected_until = 0, since = 0;
  std::uint64_t last_used = 0;
};
using Pods = std::unordered_map<table::Endpoint, Pod, HashOfEndpoint>;

Pods& pods() {
  static Pods pods;
  return pods;
}
std::uint64_t clock_of_choices = 0;

bool is_ejected(const Pod& pod) {
  return pod.ejected_until != 0 && static_cast<ngx_msec_int_t>(pod.ejected_until - ngx_current_msec) > 0;
}

struct Peer {
  ngx_http_request_t* request;
  Decision* decision;
  Pod* pod;
  std::size_t tried;
  table::Endpoint tries[max_tries];
  sockaddr_storage address;
  ngx_str_t name;
  u_char name_text[NGX_SOCKADDR_STRLEN];
};

// Forgets pods that are idle, when there are many more than the table knows.
void forget_some(const table::Table& table) {
  auto& all = pods();
  if (all.size() < 1024 || all.size() < 4 * table.backend_count()) return;
  std::erase_if(all, [](const auto& entry) { return entry.second.active == 0 && !is_ejected(entry.second); });
}

Pod& pod_of(const table::Endpoint& endpoint) {
  const auto [found, is_new] = pods().try_emplace(endpoint);
  if (is_new) found->second.since = ngx_current_msec;
  return found->second;
}

// Requests under way, as a new pod counts them: while it starts, each weighs more.
std::uint64_t load_of(const Pod& pod, std::uint32_t slow_start) {
  const auto age = std::max<ngx_msec_t>(ngx_current_msec - pod.since, 1);
  if (slow_start == 0 || age >= slow_start) return std::uint64_t{pod.active} * 16;
  return (std::uint64_t{pod.active} + 1) * 16 * std::min<std::uint64_t>(slow_start / age, 64);
}

const table::Endpoint* choose(const Peer& peer, const table::Backend& backend,
                              std::span<const table::Endpoint> endpoints) {
  const auto was_tried = [&](const table::Endpoint& endpoint) {
    return std::find(peer.tries, peer.tries + peer.tried, endpoint) != peer.tries + peer.tried;
  };
  if (peer.decision->wanted_endpoint != 0 && peer.tried == 0) {
    for (const auto& endpoint : endpoints) {
      if (HashOfEndpoint()(endpoint) == peer.decision->wanted_endpoint && !is_ejected(pod_of(endpoint)))
        return &endpoint;
    }
  }
  const table::Endpoint* best = nullptr;
  bool best_ejected = false;
  const auto consider = [&](const table::Endpoint& endpoint) {
    if (was_tried(endpoint)) return;
    const auto& pod = pod_of(endpoint);
    const bool ejected = is_ejected(pod);
    if (best) {
      const auto& other = pod_of(*best);
      const auto rank = std::tuple(ejected, load_of(pod, backend.slow_start), pod.last_used);
      if (rank >= std::tuple(best_ejected, load_of(other, backend.slow_start), other.last_used)) return;
    }
    best = &endpoint;
    best_ejected = ejected;
  };
  if (endpoints.size() > compare_all) {
    for (int i = 0; i < 2; ++i) consider(endpoints[static_cast<std::size_t>(ngx_random()) % endpoints.size()]);
    if (best && !best_ejected) return best;
  }
  for (const auto& endpoint : endpoints) consider(endpoint);
  return best;
}

void set_address(Peer& peer, const table::Endpoint& endpoint, ngx_peer_connection_t* connection) {
  peer.address = {};
  if (endpoint.family == 4) {
    auto& in = reinterpret_cast<sockaddr_in&>(peer.address);
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port);
    std::memcpy(&in.sin_addr, endpoint.address, 4);
    connection->socklen = sizeof in;
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(peer.address);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(endpoint.port);
    std::memcpy(&in.sin6_addr, endpoint.address, 16);
    connection->socklen = sizeof in;
  }
  connection->sockaddr = reinterpret_cast<sockaddr*>(&peer.address);
  peer.name.data = peer.name_text;
  peer.name.len = ngx_sock_ntop(connection->sockaddr, connection->socklen, peer.name_text, sizeof peer.name_text, 1);
  connection->name = &peer.name;
}

// Each try asks the table anew: a pod that went meanwhile is not tried, one that came is.
ngx_int_t get_peer(ngx_peer_connection_t* connection, void* data) {
  auto& peer = *static_cast<Peer*>(data);
  const auto* table = tables() ? tables()->current() : nullptr;
  const auto* backend = table ? table->find_backend(view(peer.decision->backend)) : nullptr;
  if (!backend || peer.tried == max_tries) return NGX_BUSY;
  forget_some(*table);
  const auto* endpoint = choose(peer, *backend, table->list(backend->endpoints));
  if (!endpoint) return NGX_BUSY;
  peer.tries[peer.tried++] = *endpoint;
  peer.decision->endpoint = HashOfEndpoint()(*endpoint);
  peer.pod = &pod_of(*endpoint);
  peer.pod->last_used = ++clock_of_choices;
  ++peer.pod->active;
  set_address(peer, *endpoint, connection);
  connection->cached = 0;
  connection->connection = nullptr;
  return NGX_OK;
}

void free_peer(ngx_peer_connection_t* connection, void* data, ngx_uint_t state) {
  auto& peer = *static_cast<Peer*>(data);
  if (auto* pod = std::exchange(peer.pod, nullptr)) {
    --pod->active;
    if ((state & NGX_PEER_FAILED) == 0) {
      pod->failures = pod->ejections = 0;
    } else if (!connection->cached && ++pod->failures >= failures_to_eject) {
      // A kept connection that its app closed says nothing about the app.
      const auto time = std::min(shortest_ejection << std::min(pod->ejections, 5u), longest_ejection);
      pod->ejected_until = ngx_current_msec + time;
      pod->failures = 0;
      ++pod->ejections;
    }
  }
  if (connection->tries > 0) --connection->tries;
}

// The app's own limits, in a copy for this request.
bool limit(ngx_http_request_t* request, Decision& decision, const table::Backend& backend) {
  auto* upstream = request->upstream;
  auto* conf = static_cast<ngx_http_upstream_conf_t*>(ngx_palloc(request->pool, sizeof(ngx_http_upstream_conf_t)));
  if (!conf) return false;
  *conf = *upstream->conf;
  conf->connect_timeout = backend.connect_timeout;
  conf->read_timeout = conf->send_timeout = backend.io_timeout;
  if (backend.buffer_size > conf->buffer_size) conf->buffer_size = backend.buffer_size;
  // nginx wants the buffers to be worth as much as the first one, and one more.
  conf->bufs.size = std::max<std::size_t>(backend.buffer_size, 1024);
  conf->bufs.num =
      static_cast<ngx_int_t>(std::max<std::size_t>(backend.buffers, conf->buffer_size / conf->bufs.size + 2));
  conf->busy_buffers_size = std::max<std::size_t>(backend.busy_size, conf->buffer_size);
  upstream->conf = decision.upstream = conf;
  upstream->buffering = (backend.flags & table::backend_flags::buffering) != 0;
  return true;
}

ngx_int_t init_peer(ngx_http_request_t* request, ngx_http_upstream_srv_conf_t*) {
  auto* decision = decision_of(request);
  const auto* table = tables() ? tables()->current() : nullptr;
  const auto* backend = decision && table ? table->find_backend(view(decision->backend)) : nullptr;
  auto* peer = static_cast<Peer*>(ngx_pcalloc(request->pool, sizeof(Peer)));
  if (!peer || !decision) return NGX_ERROR;
  if (backend && !limit(request, *decision, *backend)) return NGX_ERROR;
  peer->request = request;
  peer->decision = decision;
  auto& connection = request->upstream->peer;
  connection.data = peer;
  connection.get = get_peer;
  connection.free = free_peer;
  const auto pods_there = backend ? table->list(backend->endpoints).size() : 0;
  connection.tries = std::clamp<ngx_uint_t>(pods_there, 1, max_tries);
  return NGX_OK;
}

ngx_int_t init_upstream(ngx_conf_t*, ngx_http_upstream_srv_conf_t* upstream) {
  upstream->peer.init = init_peer;
  return NGX_OK;
}

}  // namespace

char* set_router_peers(ngx_conf_t* conf, ngx_command_t*, void*) {
  auto* upstream =
      static_cast<ngx_http_upstream_srv_conf_t*>(ngx_http_conf_get_module_srv_conf(conf, ngx_http_upstream_module));
  upstream->flags = NGX_HTTP_UPSTREAM_CREATE;
  upstream->peer.init_upstream = init_upstream;
  return NGX_CONF_OK;
}

}  // namespace workflow::router::module
