#include "engine/proxy/rules.h"

#include <algorithm>

#include "lib/base/encoding.h"

namespace workflow::engine {

namespace {

std::string_view text_of(Protocol protocol) { return protocol == Protocol::tcp ? "tcp" : "udp"; }

std::optional<Protocol> protocol_from(const json::value& port) {
  auto text = find_string(port, {"protocol"}).value_or("TCP");
  if (text == "TCP") return Protocol::tcp;
  if (text == "UDP") return Protocol::udp;
  return std::nullopt;  // SCTP is refused by validation
}

std::optional<std::uint16_t> port_number(const json::value& from, std::string_view field) {
  auto number = find_integer(from, {field});
  if (!number || *number < 1 || *number > 65535) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

const json::array& array_at(const json::value& value, std::initializer_list<std::string_view> path) {
  static const json::array none;
  const auto* found = find_path(value, path);
  return found && found->is_array() ? found->as_array() : none;
}

// Ready endpoints of the Service port named `name`, from all slices.
std::vector<Endpoint> endpoints_of(const std::vector<const json::object*>& slices, const std::string& name,
                                   Protocol protocol) {
  std::vector<Endpoint> out;
  for (const auto* object : slices) {
    const json::value slice(*object);
    if (find_string(slice, {"addressType"}).value_or("IPv4") != "IPv4") continue;
    for (const auto& port : array_at(slice, {"ports"})) {
      auto number = port_number(port, "port");
      if (!number || find_string(port, {"name"}).value_or("") != name || protocol_from(port) != protocol) continue;
      for (const auto& endpoint : array_at(slice, {"endpoints"})) {
        if (!find_bool(endpoint, {"conditions", "ready"}).value_or(true)) continue;
        for (const auto& address : array_at(endpoint, {"addresses"}))
          if (address.is_string())
            if (auto ip = Ipv4::parse(std::string_view(address.as_string()))) out.push_back({*ip, *number});
      }
    }
  }
  std::ranges::sort(out);
  out.erase(std::ranges::unique(out).begin(), out.end());
  return out;
}

}  // namespace

std::vector<ServicePort> service_ports(const json::object& service, const std::vector<const json::object*>& slices,
                                       const std::map<std::uint16_t, std::uint16_t>& load_balancer_ports) {
  const json::value root(service);
  auto type = find_string(root, {"spec", "type"}).value_or("ClusterIP");
  auto cluster_ip = Ipv4::parse(find_string(root, {"spec", "clusterIP"}).value_or(""));
  if (type == "ExternalName" || !cluster_ip) return {};
  std::vector<ServicePort> out;
  for (const auto& port : array_at(root, {"spec", "ports"})) {
    auto number = port_number(port, "port");
    auto protocol = protocol_from(port);
    if (!number || !protocol) continue;
    ServicePort next;
    next.ns = find_string(root, {"metadata", "namespace"}).value_or("");
    next.service = find_string(root, {"metadata", "name"}).value_or("");
    next.name = find_string(port, {"name"}).value_or("");
    next.protocol = *protocol;
    next.port = *number;
    next.cluster_ips.push_back(*cluster_ip);
    for (const auto& address : array_at(root, {"spec", "externalIPs"}))
      if (address.is_string())
        if (auto ip = Ipv4::parse(std::string_view(address.as_string()))) next.cluster_ips.push_back(*ip);
    if (type == "NodePort" || type == "LoadBalancer")
      if (auto node_port = port_number(port, "nodePort")) next.host_ports.insert(*node_port);
    if (type == "LoadBalancer") {
      auto moved = load_balancer_ports.find(*number);
      auto host_port = moved == load_balancer_ports.end() ? *number : moved->second;
      next.host_ports.insert(host_port);
      next.load_balancer_ports.insert(host_port);
    }
    if (find_string(root, {"spec", "sessionAffinity"}) == "ClientIP") {
      auto seconds =
          find_integer(root, {"spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"}).value_or(10800);
      next.affinity_seconds = static_cast<std::uint32_t>(std::clamp<std::int64_t>(seconds, 1, 86400));
    }
    next.endpoints = endpoints_of(slices, next.name, *protocol);
    out.push_back(std::move(next));
  }
  return out;
}

std::vector<ServicePort> host_ports_of(const json::object& pod) {
  const json::value root(pod);
  const auto ip = Ipv4::parse(find_string(root, {"status", "podIP"}).value_or(""));
  const auto phase = find_string(root, {"status", "phase"}).value_or("");
  // On the host's network the container listens there itself.
  if (!ip || phase == "Succeeded" || phase == "Failed" || find_bool(root, {"spec", "hostNetwork"}).value_or(false))
    return {};
  std::vector<ServicePort> out;
  for (const auto* kind : {"initContainers", "containers"}) {
    for (const auto& container : array_at(root, {"spec", kind})) {
      for (const auto& port : array_at(container, {"ports"})) {
        const auto host_port = port_number(port, "hostPort"), number = port_number(port, "containerPort");
        const auto protocol = protocol_from(port);
        if (!host_port || !number || !protocol) continue;
        ServicePort next;
        next.ns = find_string(root, {"metadata", "namespace"}).value_or("");
        next.service = "pod " + find_string(root, {"metadata", "name"}).value_or("");
        next.protocol = *protocol;
        next.port = *host_port;
        next.endpoints = {{*ip, *number}};
        const auto address = Ipv4::parse(find_string(port, {"hostIP"}).value_or(""));
        if (address && address->value != 0) {
          next.cluster_ips.push_back(*address);
        } else {
          next.host_ports.insert(*host_port);
        }
        out.push_back(std::move(next));
      }
    }
  }
  return out;
}

namespace {

std::string text_of(const Endpoint& endpoint) { return endpoint.ip.text() + " . " + std::to_string(endpoint.port); }

// Chain names carry no text from users: a hash of what they stand for.
std::string chain_name(const ServicePort& port) {
  auto identity = port.ns + "/" + port.service + "/" + port.name + "/" + std::string(text_of(port.protocol)) + "/" +
                  std::to_string(port.port);
  return "service_" + to_hex(sha256(identity)).substr(0, 16);
}

std::string affinity_set(const std::string& chain, const Endpoint& endpoint) {
  return "client_" + chain.substr(8) + "_" + to_hex(sha256(text_of(endpoint))).substr(0, 8);
}

std::string dnat(Protocol protocol, const std::string& to) {
  return "meta l4proto " + std::string(text_of(protocol)) + " dnat ip to " + to;
}

// The rules of one Service port: first the clients that already have an endpoint, then an even choice.
void add_chain(Rules& rules, const std::string& chain, const ServicePort& port) {
  auto& lines = rules.chains[chain];
  const auto& endpoints = port.endpoints;
  auto address = [](const Endpoint& e) { return e.ip.text() + ":" + std::to_string(e.port); };
  if (port.affinity_seconds) {
    for (const auto& endpoint : endpoints) {
      auto set = affinity_set(chain, endpoint);
      rules.affinity[set] = *port.affinity_seconds;
      lines.push_back("ip saddr @" + set + " update @" + set + " { ip saddr } " +
                      dnat(port.protocol, address(endpoint)));
    }
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      auto left = endpoints.size() - i;
      auto set = affinity_set(chain, endpoints[i]);
      auto choice = left == 1 ? "" : "numgen random mod " + std::to_string(left) + " 0 ";
      lines.push_back(choice + "update @" + set + " { ip saddr } " + dnat(port.protocol, address(endpoints[i])));
    }
    return;
  }
  if (endpoints.size() == 1) {
    lines.push_back(dnat(port.protocol, address(endpoints[0])));
    return;
  }
  std::string choices;
  for (std::size_t i = 0; i < endpoints.size(); ++i)
    choices += (i ? ", " : "") + std::to_string(i) + " : " + text_of(endpoints[i]);
  lines.push_back("meta l4proto " + std::string(text_of(port.protocol)) + " dnat ip addr . port to numgen random mod " +
                  std::to_string(endpoints.size()) + " map { " + choices + " }");
}

}  // namespace

RulesResult rules_for(const NetworkConfig& network, std::uint16_t api_port, const std::vector<ServicePort>& ports,
                      PolicyRules policies) {
  RulesResult out;
  auto& rules = out.rules;
  rules.chains = std::move(policies.chains);
  rules.ingress = std::move(policies.ingress);
  rules.egress = std::move(policies.egress);
  rules.chains["service_kubernetes"] = {"meta l4proto tcp dnat ip to " + network.gateway.text() + ":" +
                                        std::to_string(api_port)};
  rules.services[network.kubernetes_ip.text() + " . tcp . 443"] = "service_kubernetes";
  for (const auto& port : ports) {
    // A Service without endpoints has no chain: packets to its address meet the rejection of the whole service network.
    if (port.endpoints.empty()) continue;
    auto chain = chain_name(port);
    add_chain(rules, chain, port);
    for (const auto& endpoint : port.endpoints) rules.hairpins.insert(endpoint.ip.text() + " . " + endpoint.ip.text());
    auto protocol = std::string(text_of(port.protocol));
    auto number = std::to_string(port.port);
    for (auto ip : port.cluster_ips) {
      if (ip == network.dns_ip || ip == network.kubernetes_ip) continue;  // ours: answered by the engine itself
      rules.services.try_emplace(ip.text() + " . " + protocol + " . " + number, chain);
    }
    for (auto host_port : port.host_ports) {
      auto key = protocol + " . " + std::to_string(host_port);
      if (!rules.host_ports.try_emplace(key, chain).second)
        out.conflicts.push_back("Service " + port.ns + "/" + port.service + " wants host port " +
                                std::to_string(host_port) + "/" + protocol + ", which another Service has.");
    }
  }
  return out;
}

namespace {

std::string set_line(const std::string& name, std::uint32_t seconds) {
  return "add set ip TABLE " + name + " { type ipv4_addr; flags dynamic,timeout; timeout " + std::to_string(seconds) +
         "s; }\n";
}
std::string rule_line(const std::string& chain, const std::string& rule) {
  return "add rule ip TABLE " + chain + " " + rule + "\n";
}
// A policy's chain comes back when it lets a packet pass; a service's does not.
std::string element(std::string_view verb, std::string_view map, const std::string& key, const std::string& chain) {
  const auto* verdict = map.starts_with("policy_") ? " : jump " : " : goto ";
  return std::string(verb) + " element ip TABLE " + std::string(map) + " { " + key +
         (chain.empty() ? "" : verdict + chain) + " }\n";
}
std::string with_table(std::string script, const NetworkConfig& network) {
  std::string out;
  constexpr std::string_view word = " TABLE ";
  std::size_t at = 0;
  for (std::size_t hit; (hit = script.find(word, at)) != script.npos; at = hit + word.size())
    out += script.substr(at, hit - at) + " " + network.table + " ";
  return out + script.substr(at);
}

// Maps, sets and chains that are always there.
constexpr const char* frame =
    "add map ip TABLE services { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
    "add map ip TABLE host_ports { type inet_proto . inet_service : verdict; }\n"
    "add map ip TABLE policy_ingress { type ipv4_addr : verdict; }\n"
    "add map ip TABLE policy_egress { type ipv4_addr : verdict; }\n"
    "add set ip TABLE hairpins { type ipv4_addr . ipv4_addr; }\n"
    "add chain ip TABLE to_service\n"
    "add chain ip TABLE prerouting { type nat hook prerouting priority dstnat; policy accept; }\n"
    "add chain ip TABLE output { type nat hook output priority -100; policy accept; }\n"
    "add chain ip TABLE postrouting { type nat hook postrouting priority srcnat; policy accept; }\n"
    // Before other software's filters, so that their rules still see what we let pass.
    "add chain ip TABLE filter_forward { type filter hook forward priority filter - 5; policy accept; }\n"
    "add chain ip TABLE filter_output { type filter hook output priority filter - 5; policy accept; }\n";
constexpr const char* emptied =
    "flush table ip TABLE \nflush map ip TABLE services\nflush map ip TABLE host_ports\n"
    "flush map ip TABLE policy_ingress\nflush map ip TABLE policy_egress\nflush set ip TABLE hairpins\n";

// What belongs into an empty frame.
std::string filling(const NetworkConfig& network, const Rules& rules, bool masquerade_services) {
  const auto bridge = "\"" + network.bridge + "\"";
  const auto services = network.service_cidr.text();
  const auto reject = std::string("reject with icmp type port-unreachable");
  std::string out;
  out += rule_line("prerouting", "jump to_service");
  out += rule_line("output", "jump to_service");
  out += rule_line("to_service", "ip daddr . meta l4proto . th dport vmap @services");
  out += rule_line("to_service", "fib daddr type local meta l4proto . th dport vmap @host_ports");
  // A pod that reaches itself through a Service would answer itself directly.
  out += rule_line("postrouting", "ct status dnat ip saddr . ip daddr @hairpins masquerade");
  // 127.0.0.1 of the host means nothing inside a pod.
  out += rule_line("postrouting", "ip saddr 127.0.0.0/8 oifname " + bridge + " masquerade");
  if (masquerade_services)
    out += rule_line("postrouting",
                     "ct status dnat ip saddr " + network.pod_cidr.text() + " oifname " + bridge + " masquerade");
  out += rule_line("postrouting", "ip saddr " + network.pod_cidr.text() + " oifname != " + bridge + " masquerade");
  // Whatever still has a Service's address here found no endpoint: say so at once instead of letting the client wait.
  out += rule_line("filter_forward", "ip daddr " + services + " " + reject);
  // What was let through once goes on; so does what a pod sends to itself through a Service.
  out += rule_line("filter_forward", "ct state established,related accept");
  out += rule_line("filter_forward", "ip saddr . ip daddr @hairpins accept");
  out += rule_line("filter_forward", "ip saddr vmap @policy_egress");
  out += rule_line("filter_forward", "ip daddr vmap @policy_ingress");
  out += rule_line("filter_output", "ip daddr " + services + " ip daddr != " + network.dns_ip.text() + " " + reject);
  for (const auto& [name, seconds] : rules.affinity) out += set_line(name, seconds);
  for (const auto& [chain, lines] : rules.chains) {
    out += "add chain ip TABLE " + chain + "\n";
    for (const auto& line : lines) out += rule_line(chain, line);
  }
  for (const auto& [key, chain] : rules.services) out += element("add", "services", key, chain);
  for (const auto& [key, chain] : rules.host_ports) out += element("add", "host_ports", key, chain);
  for (const auto& [ip, chain] : rules.ingress) out += element("add", "policy_ingress", ip, chain);
  for (const auto& [ip, chain] : rules.egress) out += element("add", "policy_egress", ip, chain);
  for (const auto& pair : rules.hairpins) out += element("add", "hairpins", pair, "");
  return out;
}

}  // namespace

std::string full_script(const NetworkConfig& network, const Rules& rules, bool masquerade_services) {
  return with_table(std::string("add table ip TABLE \ndelete table ip TABLE \nadd table ip TABLE \n") + frame +
                        filling(network, rules, masquerade_services),
                    network);
}

std::optional<Table> table_from(std::string_view listing) {
  const auto parsed = parse_json(listing);
  if (!parsed || !find_path(*parsed, {"nftables"})) return std::nullopt;
  Table table;
  for (const auto& item : array_at(*parsed, {"nftables"})) {
    const auto chain = find_string(item, {"chain", "name"}), set = find_string(item, {"set", "name"});
    if (chain && !find_path(item, {"chain", "hook"})) table.chains.insert(*chain);
    if (set) table.sets.insert(*set);
  }
  table.chains.erase("to_service");
  table.sets.erase("hairpins");
  return table;
}

std::string takeover_script(const NetworkConfig& network, const Table& before, const Rules& rules,
                            bool masquerade_services) {
  auto out = std::string(frame) + emptied + filling(network, rules, masquerade_services);
  for (const auto& chain : before.chains)
    if (!rules.chains.contains(chain)) out += "delete chain ip TABLE " + chain + "\n";
  for (const auto& set : before.sets)
    if (!rules.affinity.contains(set)) out += "delete set ip TABLE " + set + "\n";
  return with_table(std::move(out), network);
}

std::string change_script(const NetworkConfig& network, const Rules& before, const Rules& after) {
  if (before == after) return "";
  // Order matters to nft: what is referred to must exist when a line refers to it, and must not when it is deleted.
  std::string add, drop;
  for (const auto& [name, seconds] : after.affinity)
    if (!before.affinity.contains(name)) add += set_line(name, seconds);
  for (const auto& [chain, lines] : after.chains) {
    auto old = before.chains.find(chain);
    if (old != before.chains.end() && old->second == lines) continue;
    add += old == before.chains.end() ? "add chain ip TABLE " + chain + "\n" : "flush chain ip TABLE " + chain + "\n";
    for (const auto& line : lines) add += rule_line(chain, line);
  }
  auto change_map = [&](std::string_view map, const auto& old_map, const auto& new_map) {
    for (const auto& [key, chain] : old_map) {
      auto now = new_map.find(key);
      if (now == new_map.end() || now->second != chain) add += element("delete", map, key, "");
    }
    for (const auto& [key, chain] : new_map) {
      auto was = old_map.find(key);
      if (was == old_map.end() || was->second != chain) add += element("add", map, key, chain);
    }
  };
  change_map("services", before.services, after.services);
  change_map("host_ports", before.host_ports, after.host_ports);
  change_map("policy_ingress", before.ingress, after.ingress);
  change_map("policy_egress", before.egress, after.egress);
  for (const auto& pair : before.hairpins)
    if (!after.hairpins.contains(pair)) add += element("delete", "hairpins", pair, "");
  for (const auto& pair : after.hairpins)
    if (!before.hairpins.contains(pair)) add += element("add", "hairpins", pair, "");
  for (const auto& [chain, lines] : before.chains)
    if (!after.chains.contains(chain))
      drop += "flush chain ip TABLE " + chain + "\ndelete chain ip TABLE " + chain + "\n";
  for (const auto& [name, seconds] : before.affinity)
    if (!after.affinity.contains(name)) drop += "delete set ip TABLE " + name + "\n";
  return with_table(add + drop, network);
}

}  // namespace workflow::engine
