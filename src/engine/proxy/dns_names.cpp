#include "engine/proxy/dns_names.h"

#include <algorithm>

#include "lib/base/text.h"
#include "lib/kube/objects.h"

namespace workflow::engine::dns {
namespace {

Answer no_such_name() { return {.code = Answer::Code::no_such_name}; }

// Addresses of a headless Service's ready endpoints; with `hostname`, of that one alone.
Answer headless(const Zone& zone, const std::string& ns, const std::string& name, const std::string& hostname,
                bool unready_too) {
  Answer answer;
  for (const auto* slice : zone.slices(ns, name)) {
    const auto* endpoints = find_path(*slice, {"endpoints"});
    if (!endpoints || !endpoints->is_array()) continue;
    for (const auto& endpoint : endpoints->get_array()) {
      if (!unready_too && !find_bool(endpoint, {"conditions", "ready"}).value_or(true)) continue;
      if (!hostname.empty() && find_string(endpoint, {"hostname"}) != hostname) continue;
      const auto* addresses = find_path(endpoint, {"addresses"});
      if (!addresses || !addresses->is_array()) continue;
      for (const auto& address : addresses->get_array()) {
        const auto ip = address.is_string() ? Ipv4::parse(std::string_view(address.get_string())) : std::nullopt;
        if (ip && std::ranges::find(answer.addresses, *ip) == answer.addresses.end()) answer.addresses.push_back(*ip);
      }
    }
  }
  if (answer.addresses.empty() && !hostname.empty()) return no_such_name();
  return answer;
}

Answer service_answer(const Zone& zone, const std::string& ns, const std::string& name, const std::string& hostname) {
  const auto* service = zone.service(ns, name);
  if (!service) return no_such_name();
  if (find_string(*service, {"spec", "type"}) == "ExternalName") {
    return {.canonical_name = find_string(*service, {"spec", "externalName"}).value_or("")};
  }
  const auto ip = find_string(*service, {"spec", "clusterIP"}).value_or("");
  if (ip == "None" || ip.empty()) {
    return headless(zone, ns, name, hostname,
                    find_bool(*service, {"spec", "publishNotReadyAddresses"}).value_or(false));
  }
  if (!hostname.empty()) return no_such_name();
  const auto address = Ipv4::parse(ip);
  return address ? Answer{.addresses = {*address}} : Answer{};
}

}  // namespace

std::optional<Answer> resolve(const Zone& zone, const Query& query) {
  const auto suffix = "." + zone.domain;
  if (query.name != zone.domain && !query.name.ends_with(suffix)) return std::nullopt;
  if (query.name == zone.domain) return Answer{};
  auto labels = split(query.name.substr(0, query.name.size() - suffix.size()), '.');
  if (labels.back() == "svc") {
    labels.pop_back();
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
