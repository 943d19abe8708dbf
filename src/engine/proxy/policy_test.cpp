#include "engine/proxy/policy.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;

ObjectPtr object(const std::string& text) { return std::make_shared<const json::object>(from_yaml(text)); }
ObjectPtr pod(const std::string& ns, const std::string& name, const std::string& ip,
              const std::string& phase = "Running") {
  return object("metadata: {name: " + name + ", namespace: " + ns + ", labels: {app: " + name + "}}\n" +
                "spec: {containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}\nstatus: {phase: " +
                phase + ", podIP: " + ip + "}");
}
ObjectPtr policy(const std::string& spec) { return object("metadata: {name: p, namespace: shop}\nspec: " + spec); }

const std::vector<ObjectPtr> pods{pod("shop", "web", "10.0.0.2"), pod("shop", "db", "10.0.0.3"),
                                  pod("bank", "web", "10.0.0.4"), pod("bank", "old", "10.0.0.9", "Succeeded")};
const std::vector<ObjectPtr> namespaces{object("metadata: {name: shop, labels: {team: a}}"),
                                        object("metadata: {name: bank, labels: {team: b}}")};
const std::string rejected = "reject with icmp type admin-prohibited";

Texts chain_of(const std::map<std::string, std::string>& map, const PolicyRules& rules, const std::string& ip) {
  const auto found = map.find(ip);
  return found == map.end() ? Texts{} : rules.chains.at(found->second);
}

TEST(NetworkPolicy, lets_in_what_it_names_and_nothing_else) {
  struct Case {
    const char *what, *spec;
    Texts db, web;  // what reaches shop/db and shop/web
  };
  const Case cases[] = {
      {"nothing at all", "{podSelector: {}, policyTypes: [Ingress]}", {rejected}, {rejected}},
      {"everything", "{podSelector: {}, ingress: [{}]}", {"return", rejected}, {"return", rejected}},
      {"only one pod is closed", "{podSelector: {matchLabels: {app: db}}}", {rejected}, {}},
      {"from its own namespace",
       "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}]}",
       {"ip saddr { 10.0.0.2, 10.0.0.3 } return", rejected},
       {}},
      {"from one app, on one port",
       "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: "
       "[{port: 5432}]}]}",
       {"ip saddr { 10.0.0.2 } tcp dport 5432 return", rejected},
       {}},
      {"from another namespace",
       "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: b}}}]}]}",
       {"ip saddr { 10.0.0.4 } return", rejected},
       {}},
      {"from some pods of another namespace",
       "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: "
       "{app: web}}}]}]}",
       {"ip saddr { 10.0.0.2, 10.0.0.4 } return", rejected},
       {}},
      {"from nobody that is there",
       "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]}",
       {rejected},
       {}},
      {"from a network",
       "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{ipBlock: {cidr: 192.168.0.0/16, except: "
       "[192.168.1.0/24]}}], ports: [{protocol: UDP, port: 1, endPort: 9}]}]}",
       {"ip saddr 192.168.0.0/16 ip saddr != { 192.168.1.0/24 } udp dport 1-9 return", rejected},
       {}},
      {"a port by name, a protocol",
       "{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: http}, {protocol: UDP}]}]}",
       {"meta l4proto udp return", "tcp dport 8080 return", rejected},
       {}},
      {"egress alone leaves ingress open", "{podSelector: {}, policyTypes: [Egress]}", {}, {}}};
  for (const auto& [what, spec, db, web] : cases) {
    const auto rules = policy_rules({policy(spec)}, pods, namespaces);
    EXPECT_EQ(chain_of(rules.ingress, rules, "10.0.0.3"), db) << what;
    EXPECT_EQ(chain_of(rules.ingress, rules, "10.0.0.2"), web) << what;
    EXPECT_EQ(chain_of(rules.ingress, rules, "10.0.0.4"), Texts{}) << what;
  }
}

TEST(NetworkPolicy, lets_out_what_it_names) {
  const auto rules = policy_rules({policy("{podSelector: {matchLabels: {app: web}}, policyTypes: [Egress], egress: "
                                          "[{to: [{podSelector: {matchLabels: {app: db}}}], "
                                          "ports: [{port: http}, {port: 53, protocol: UDP}]}]}")},
                                  pods, namespaces);
  EXPECT_EQ(chain_of(rules.egress, rules, "10.0.0.2"),
            (Texts{"ip daddr { 10.0.0.3 } udp dport 53 return", "ip daddr 10.0.0.3 tcp dport 8080 return", rejected}));
  EXPECT_TRUE(rules.ingress.empty());
}

TEST(NetworkPolicy, adds_up) {
  const auto rules = policy_rules({policy("{podSelector: {matchLabels: {app: db}}, ingress: [{ports: [{port: 1}]}]}"),
                                   policy("{podSelector: {}, ingress: [{ports: [{port: 2}]}]}")},
                                  pods, namespaces);
  EXPECT_EQ(chain_of(rules.ingress, rules, "10.0.0.3"), (Texts{"tcp dport 1 return", "tcp dport 2 return", rejected}));
  EXPECT_EQ(rules.chains.size(), 2u);
}

TEST(NetworkPolicy, without_any_there_are_no_rules) { EXPECT_TRUE(policy_rules({}, pods, namespaces).chains.empty()); }

}  // namespace
}  // namespace workflow::engine
