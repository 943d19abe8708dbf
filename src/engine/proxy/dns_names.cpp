#include "engine/proxy/dns_names.h"

#include <algorithm>

#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine::dns {
namespace {

Answer no_such_name() { return {.code = Answer::Code::no_such_name}; }

// What a headless Service's pod is called where it has no hostname.
std::string dashed(const std::string& address) { return replace_all(address, ".", "-"); }

// Each ready endpoint of a headless Service: its host's name, its address, and its slice.
template <typename F>
void each_endpoint(const Zone& zone, const json::object& service, F f) {
  const bool unready_too = find_bool(service, {"spec", "publishNotReadyAddresses"}).value_or(false);
  for (const auto* slice : zone.slices(find_string(service, {"metadata", "namespace"}).value_or(""),
                                       find_string(service, {"metadata", "name"}).value_or(""))) {
    const auto* endpoints = find_path(*slice, {"endpoints"});
    if (!endpoints || !endpoints->is_array()) continue;
    for (const auto& endpoint : endpoints->get_array()) {
      if (!unready_too && !find_bool(endpoint, {"conditions", "ready"}).value_or(true)) continue;
      const auto* addresses = find_path(endpoint, {"addresses"});
      if (!addresses || !addresses->is_array()) continue;
      for (const auto& address : addresses->get_array()) {
        const auto ip = address.is_string() ? Ipv4::parse(std::string_view(address.get_string())) : std::nullopt;
        if (ip) f(find_string(endpoint, {"hostname"}).value_or(dashed(ip->text())), *ip, *slice);
      }
    }
  }
}

bool is_headless(const json::object& service) {
  const auto ip = find_string(service, {"spec", "clusterIP"}).value_or("");
  return ip == "None" || ip.empty();
}

// Addresses of a headless Service's ready endpoints; with `hostname`, of that one alone.
Answer headless(const Zone& zone, const json::object& service, const std::string& hostname) {
  Answer answer;
  each_endpoint(zone, service, [&](const std::string& host, Ipv4 ip, const json::object&) {
    if (!hostname.empty() && host != hostname && dashed(ip.text()) != hostname) return;
    if (std::ranges::find(answer.addresses, ip) == answer.addresses.end()) answer.addresses.push_back(ip);
  });
  if (answer.addresses.empty() && !hostname.empty()) return no_such_name();
  return answer;
}

Answer service_answer(const Zone& zone, const std::string& ns, const std::string& name, const std::string& hostname) {
  const auto* service = zone.service(ns, name);
  if (!service) return no_such_name();
  if (find_string(*service, {"spec", "type"}) == "ExternalName") {
    return {.canonical_name = find_string(*service, {"spec", "externalName"}).value_or("")};
  }
  if (is_headless(*service)) return headless(zone, *service, hostname);
  if (!hostname.empty()) return no_such_name();
  const auto address = Ipv4::parse(find_string(*service, {"spec", "clusterIP"}).value_or(""));
  return address ? Answer{.addresses = {*address}} : Answer{};
}

// Ports of a Service, or of each pod of a headless one: all of them, or the one of this name and protocol.
struct PortWish {
  std::string name, protocol;  // "": every one
  bool means(const json::value& port) const {
    if (name.empty()) return true;
    return find_string(port, {"name"}) == name && lower(find_string(port, {"protocol"}).value_or("TCP")) == protocol;
  }
};

Answer ports_answer(const Zone& zone, const std::string& ns, const std::string& name, const PortWish& wish) {
  const auto* service = zone.service(ns, name);
  if (!service || find_string(*service, {"spec", "type"}) == "ExternalName") return no_such_name();
  const auto suffix = name + "." + ns + ".svc." + zone.domain;
  Answer answer;
  const auto add = [&](const json::object& from, std::initializer_list<std::string_view> path,
                       const std::string& target) {
    const auto* ports = find_path(from, path);
    if (!ports || !ports->is_array()) return;
    for (const auto& port : ports->get_array()) {
      const auto number = find_integer(port, {"port"});
      if (number && *number > 0 && *number < 65536 && wish.means(port))
        answer.services.push_back({static_cast<std::uint16_t>(*number), target});
    }
  };
  if (is_headless(*service)) {
    each_endpoint(zone, *service, [&](const std::string& host, Ipv4, const json::object& slice) {
      add(slice, {"ports"}, host + "." + suffix);
    });
  } else {
    add(*service, {"spec", "ports"}, suffix);
  }
  return answer.services.empty() && !wish.name.empty() ? no_such_name() : answer;
}

// The name of an address: nullopt when it is none of ours.
std::optional<Answer> reverse(const Zone& zone, const std::string& name) {
  constexpr std::string_view suffix = ".in-addr.arpa";
  if (!name.ends_with(suffix)) return std::nullopt;
  auto parts = split(name.substr(0, name.size() - suffix.size()), '.');
  std::ranges::reverse(parts);
  const auto ip = Ipv4::parse(join(parts, "."));
  const auto service = ip ? zone.name_of(*ip) : "";
  if (service.empty()) return std::nullopt;
  return Answer{.pointer = service + ".svc." + zone.domain};
}

}  // namespace

std::optional<Answer> resolve(const Zone& zone, const Query& query) {
  const auto suffix = "." + zone.domain;
  if (query.type == static_cast<std::uint16_t>(Type::ptr)) {
    if (auto answer = reverse(zone, query.name)) return answer;
  }
  if (query.name != zone.domain && !query.name.ends_with(suffix)) return std::nullopt;
  if (query.name == zone.domain) return Answer{};
  auto labels = split(query.name.substr(0, query.name.size() - suffix.size()), '.');
  if (labels.back() == "svc") {
    labels.pop_back();
    const bool wants_ports = query.type == static_cast<std::uint16_t>(Type::srv);
    if (labels.size() == 4 && labels[0].starts_with('_') && labels[1].starts_with('_')) {
      auto answer = ports_answer(zone, labels[3], labels[2], {labels[0].substr(1), labels[1].substr(1)});
      if (!wants_ports) answer.services.clear();
      return answer;
    }
    if (wants_ports && labels.size() == 2) return ports_answer(zone, labels[1], labels[0], {});
    if (labels.size() < 2 || labels.size() > 3) return labels.size() < 2 ? Answer{} : no_such_name();
    const auto ns = labels.back(), service = labels[labels.size() - 2];
    auto answer = service_answer(zone, ns, service, labels.size() == 3 ? labels[0] : "");
    // The name exists, but has no such records: an empty answer, never "no such name", or resolvers give up on the A
    // too.
    if (query.type != static_cast<std::uint16_t>(Type::a) && query.type != static_cast<std::uint16_t>(Type::any))
      answer.addresses.clear();
    return answer;
  }
  if (labels.back() == "pod" && labels.size() == 3) {
    const auto ip = Ipv4::parse(replace_all(labels[0], "-", "."));
    if (!ip) return no_such_name();
    return query.type == static_cast<std::uint16_t>(Type::a) ? Answer{.addresses = {*ip}} : Answer{};
  }
  return no_such_name();
}

}  // namespace workflow::engine::dns
