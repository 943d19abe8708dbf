#include "engine/proxy/policy.h"

#include <algorithm>
#include <set>

#include "engine/fields.h"
#include "engine/proxy/network.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::engine {

namespace {

enum class Direction { ingress, egress };

struct Member {
  const json::object* pod;
  std::string ns, ip;
};

bool matches(const json::value* selector, const json::object& object) {
  if (selector == nullptr) return false;
  const auto parsed = kube::LabelSelector::from_object(*selector);
  return parsed && parsed->matches(value_at(object, {"metadata", "labels"}));
}

std::string lower_protocol(const json::object& port) {
  const auto protocol = text_at(port, {"protocol"});
  return protocol.empty() ? "tcp" : lower(protocol);
}

// The number that a container of the pod gives the port's name.
std::optional<std::int64_t> named_port(const json::object& pod, std::string_view name, const std::string& protocol) {
  for (const auto& container : array_at(pod, {"spec", "containers"})) {
    if (!container.is_object()) continue;
    for (const auto& item : array_at(container.get_object(), {"ports"})) {
      if (!item.is_object() || text_at(item.get_object(), {"name"}) != name) continue;
      if (lower_protocol(item.get_object()) == protocol) return integer_at(item.get_object(), {"containerPort"});
    }
  }
  return std::nullopt;
}

class Compiler {
 public:
  Compiler(const std::vector<ObjectPtr>& pods, const std::vector<ObjectPtr>& namespaces) {
    for (const auto& pod : pods) {
      const auto ip = text_at(*pod, {"status", "podIP"});
      // The address of a finished pod may be another one's already; one on the host's network is the host.
      if (!Ipv4::parse(ip) || kube::is_pod_finished(*pod) || flag_at(*pod, {"spec", "hostNetwork"})) continue;
      members_.push_back({pod.get(), kube::namespace_of(*pod), ip});
    }
    for (const auto& ns : namespaces) namespaces_[kube::name_of(*ns)] = ns.get();
  }

  PolicyRules run(const std::vector<ObjectPtr>& policies) {
    PolicyRules rules;
    for (const auto& member : members_) {
      for (const auto direction : {Direction::ingress, Direction::egress}) {
        const auto lines = lines_for(member, policies, direction);
        if (!lines) continue;
        // Named by what it says: pods that are treated alike share it.
        const bool in = direction == Direction::ingress;
        const auto chain = (in ? "ingress_" : "egress_") + to_hex(sha256(join(*lines, "\n"))).substr(0, 16);
        rules.chains[chain] = *lines;
        (in ? rules.ingress : rules.egress)[member.ip] = chain;
      }
    }
    return rules;
  }

 private:
  static bool governs(const json::object& policy, Direction direction) {
    const auto& types = array_at(policy, {"spec", "policyTypes"});
    const auto* name = direction == Direction::ingress ? "Ingress" : "Egress";
    if (!types.empty()) return std::find(types.begin(), types.end(), json::value(name)) != types.end();
    return direction == Direction::ingress || value_at(policy, {"spec", "egress"}) != nullptr;
  }

  // nullopt: no policy selects the pod in this direction.
  std::optional<std::vector<std::string>> lines_for(const Member& member, const std::vector<ObjectPtr>& policies,
                                                    Direction direction) const {
    std::vector<std::string> lines;
    bool selected = false;
    for (const auto& policy : policies) {
      if (kube::namespace_of(*policy) != member.ns || !governs(*policy, direction)) continue;
      if (!matches(value_at(*policy, {"spec", "podSelector"}), *member.pod)) continue;
      selected = true;
      for (const auto& rule : array_at(*policy, {"spec", direction == Direction::ingress ? "ingress" : "egress"})) {
        if (rule.is_object()) add_rule(lines, member, rule.get_object(), direction);
      }
    }
    if (!selected) return std::nullopt;
    lines.emplace_back("reject with icmp type admin-prohibited");
    return lines;
  }

  void add_rule(std::vector<std::string>& lines, const Member& member, const json::object& rule,
                Direction direction) const {
    const auto* peers = value_at(rule, {direction == Direction::ingress ? "from" : "to"});
    if (peers == nullptr || !peers->is_array() || peers->get_array().empty()) {
      add_ports(lines, "", rule, direction == Direction::ingress ? member.pod : nullptr);
      return;
    }
    const std::string side = direction == Direction::ingress ? "ip saddr " : "ip daddr ";
    std::set<std::string> addresses;
    for (const auto& item : peers->get_array()) {
      if (!item.is_object()) continue;
      const auto& peer = item.get_object();
      if (const auto cidr = text_at(peer, {"ipBlock", "cidr"}); !cidr.empty()) {
        add_block(lines, side, peer, cidr, rule, member, direction);
        continue;
      }
      for (const auto& other : members_) {
        if (is_peer(peer, member.ns, other)) addresses.insert(other.ip);
      }
    }
    if (addresses.empty()) return;
    const auto all = side + "{ " + join({addresses.begin(), addresses.end()}, ", ") + " } ";
    if (direction == Direction::ingress) return add_ports(lines, all, rule, member.pod);
    // A port's name means a number of each peer's own.
    add_ports(lines, all, rule, nullptr);
    for (const auto& other : members_) {
      if (addresses.contains(other.ip)) add_named_ports(lines, side + other.ip + " ", rule, *other.pod);
    }
  }

  void add_block(std::vector<std::string>& lines, const std::string& side, const json::object& peer,
                 const std::string& cidr, const json::object& rule, const Member& member, Direction direction) const {
    if (!Cidr::parse(cidr)) return;  // IPv6, which pods do not have
    std::vector<std::string> except;
    for (const auto& item : array_at(peer, {"ipBlock", "except"})) {
      if (item.is_string() && Cidr::parse(view(item.get_string()))) except.emplace_back(item.get_string());
    }
    const auto match = side + cidr + " " + (except.empty() ? "" : side + "!= { " + join(except, ", ") + " } ");
    add_ports(lines, match, rule, direction == Direction::ingress ? member.pod : nullptr);
  }

  bool is_peer(const json::object& peer, const std::string& own_ns, const Member& other) const {
    const auto* in_namespaces = value_at(peer, {"namespaceSelector"});
    if (in_namespaces == nullptr) {
      if (other.ns != own_ns) return false;
    } else {
      const auto ns = namespaces_.find(other.ns);
      if (ns == namespaces_.end() || !matches(in_namespaces, *ns->second)) return false;
    }
    const auto* of_pods = value_at(peer, {"podSelector"});
    return of_pods == nullptr || matches(of_pods, *other.pod);
  }

  // One line for each port; `named_in`: the pod whose names of ports are meant, null: none yet.
  static void add_ports(std::vector<std::string>& lines, const std::string& match, const json::object& rule,
                        const json::object* named_in) {
    const auto& ports = array_at(rule, {"ports"});
    if (ports.empty()) lines.push_back(match + "return");
    for (const auto& item : ports) {
      if (!item.is_object()) continue;
      const auto& port = item.get_object();
      const auto protocol = lower_protocol(port);
      const auto* number = value_at(port, {"port"});
      if (number == nullptr) {
        lines.push_back(match + "meta l4proto " + protocol + " return");
      } else if (number->is_int64()) {
        const auto last = integer_at(port, {"endPort"});
        lines.push_back(match + protocol + " dport " + std::to_string(number->get_int64()) +
                        (last ? "-" + std::to_string(*last) : "") + " return");
      }
    }
    if (named_in != nullptr) add_named_ports(lines, match, rule, *named_in);
  }

  static void add_named_ports(std::vector<std::string>& lines, const std::string& match, const json::object& rule,
                              const json::object& pod) {
    for (const auto& item : array_at(rule, {"ports"})) {
      if (!item.is_object()) continue;
      const auto name = text_at(item.get_object(), {"port"});
      if (name.empty()) continue;
      const auto protocol = lower_protocol(item.get_object());
      if (const auto found = named_port(pod, name, protocol))
        lines.push_back(match + protocol + " dport " + std::to_string(*found) + " return");
    }
  }

  std::vector<Member> members_;
  std::map<std::string, const json::object*> namespaces_;
};

}  // namespace

PolicyRules policy_rules(const std::vector<ObjectPtr>& policies, const std::vector<ObjectPtr>& pods,
                         const std::vector<ObjectPtr>& namespaces) {
  if (policies.empty()) return {};
  return Compiler(pods, namespaces).run(policies);
}

}  // namespace workflow::engine
