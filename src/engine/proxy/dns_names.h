// src/engine/proxy/dns_names.h: what the names of Services and pods mean. Pure, over the store's objects.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/proxy/dns_message.h"
#include "lib/json/json.h"

namespace workflow::engine::dns {

struct Zone {
  std::string domain = "cluster.local";
  std::function<const json::object*(const std::string& ns, const std::string& name)> service;
  std::function<std::vector<const json::object*>(const std::string& ns, const std::string& service)> slices;
  std::function<std::string(Ipv4 address)> name_of;  // "<service>.<namespace>" that has this cluster IP; "" nobody
};
// The answer to a name of our domain; nullopt for a name of somebody else's, to be asked upstream.
std::optional<Answer> resolve(const Zone& zone, const Query& query);

}  // namespace workflow::engine::dns
