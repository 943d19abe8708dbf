#include "engine/proxy/rules.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using Texts = std::vector<std::string>;

NetworkConfig network() { return network_config("/var/lib/test", "10.42.0.0/24", "10.43.0.0/24"); }
json::object service(const std::string& spec) {
  return from_yaml("metadata: {name: web, namespace: shop}\nspec: " + spec);
}
json::object slice(const std::string& addresses, const char* ready = "true") {
  return from_yaml(
      std::string("addressType: IPv4\nports: [{name: http, port: 5000, protocol: TCP}]\nendpoints: [{addresses: ") +
      addresses + ", conditions: {ready: " + ready + "}}]");
}
Rules rules_of(const json::object& object, const std::vector<json::object>& slices) {
  std::vector<const json::object*> pointers;
  for (const auto& s : slices) pointers.push_back(&s);
  auto rules = rules_for(network(), 6443, service_ports(object, pointers, {{80, 8080}})).rules;
  rules.chains.erase("service_kubernetes");
  return rules;
}
Texts keys(const std::map<std::string, std::string>& map) {
  Texts out;
  for (const auto& [key, value] : map) out.push_back(key);
  return out;
}

TEST(Bridge, has_a_hardware_address_that_does_not_change_with_its_ports) {
  EXPECT_EQ(bridge_hardware_address(network()), "0a:58:0a:2a:00:01");
}

TEST(Rules, follow_the_kind_of_service) {
  const std::string port = "ports: [{name: http, port: 80, targetPort: 5000, nodePort: 30080, protocol: TCP}]";
  const std::string api = "10.43.0.1 . tcp . 443";
  struct Case {
    std::string spec;
    Texts services, host_ports;
  };
  const Case cases[] = {
      {"{type: ClusterIP, clusterIP: 10.43.0.20, ports: [{name: http, port: 80, protocol: TCP}]}",
       {api, "10.43.0.20 . tcp . 80"},
       {}},
      {"{type: NodePort, clusterIP: 10.43.0.20, " + port + "}", {api, "10.43.0.20 . tcp . 80"}, {"tcp . 30080"}},
      {"{type: LoadBalancer, clusterIP: 10.43.0.20, " + port + "}",
       {api, "10.43.0.20 . tcp . 80"},
       {"tcp . 30080", "tcp . 8080"}},
      {"{type: ClusterIP, clusterIP: 10.43.0.20, externalIPs: [192.0.2.1], ports: [{name: http, port: 80, protocol: "
       "TCP}]}",
       {api, "10.43.0.20 . tcp . 80", "192.0.2.1 . tcp . 80"},
       {}},
      {"{type: ClusterIP, clusterIP: None, ports: [{name: http, port: 80, protocol: TCP}]}", {api}, {}},
      {"{type: ExternalName, externalName: example.com}", {api}, {}}};
  for (const auto& [spec, services, host_ports] : cases) {
    const auto rules = rules_of(service(spec), {slice("[10.42.0.5]")});
    EXPECT_EQ(keys(rules.services), services) << spec;
    EXPECT_EQ(keys(rules.host_ports), host_ports) << spec;
  }
}

TEST(Rules, choose_among_the_ready_endpoints) {
  const auto object = service("{clusterIP: 10.43.0.20, ports: [{name: http, port: 80, protocol: TCP}]}");
  EXPECT_TRUE(rules_of(object, {slice("[10.42.0.5]", "false")}).chains.empty());
  EXPECT_EQ(rules_of(object, {slice("[10.42.0.5]")}).chains.begin()->second,
            Texts{"meta l4proto tcp dnat ip to 10.42.0.5:5000"});
  EXPECT_EQ(rules_of(object, {slice("[10.42.0.5]"), slice("[10.42.0.6]")}).chains.begin()->second,
            Texts{"meta l4proto tcp dnat ip addr . port to numgen random mod 2 map { 0 : 10.42.0.5 . 5000, 1 : "
                  "10.42.0.6 . 5000 }"});
}

TEST(Rules, keep_a_client_with_its_endpoint) {
  const auto rules = rules_of(
      service(
          "{clusterIP: 10.43.0.20, sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, "
          "ports: [{name: http, port: 80, protocol: TCP}]}"),
      {slice("[10.42.0.5]"), slice("[10.42.0.6]")});
  EXPECT_EQ(rules.affinity.size(), 2u);
  EXPECT_EQ(rules.affinity.begin()->second, 60u);
  const auto& lines = rules.chains.begin()->second;
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_TRUE(lines[0].starts_with("ip saddr @client_")) << lines[0];
  EXPECT_TRUE(lines[2].starts_with("numgen random mod 2 0 update @client_")) << lines[2];
  EXPECT_TRUE(lines[3].starts_with("update @client_")) << lines[3];
}

TEST(Rules, the_older_service_keeps_a_host_port_that_two_want) {
  const auto ports = [](const char* name) {
    return service_ports(from_yaml(std::string("metadata: {name: ") + name +
                                   ", namespace: shop}\nspec: {type: NodePort, clusterIP: 10.43.0.20, "
                                   "ports: [{name: http, port: 80, nodePort: 30080, protocol: TCP}]}"),
                         {}, {})
        .front();
  };
  auto a = ports("a"), b = ports("b");
  a.endpoints = b.endpoints = {{*Ipv4::parse("10.42.0.5"), 1}};
  const auto result = rules_for(network(), 6443, {a, b});
  EXPECT_EQ(result.rules.host_ports.size(), 1u);
  EXPECT_EQ(result.conflicts, Texts{"Service shop/b wants host port 30080/tcp, which another Service has."});
}

TEST(Rules, of_a_pods_host_ports) {
  const auto pod = [](const std::string& port, const std::string& more = "") {
    return from_yaml("metadata: {name: p, namespace: shop}\nspec: {containers: [{name: c, ports: [" + port + "]}]" +
                     more + "}\nstatus: {phase: Running, podIP: 10.42.0.7}");
  };
  auto rules =
      rules_for(network(), 6443, host_ports_of(pod("{containerPort: 53, hostPort: 5353, protocol: UDP}"))).rules;
  EXPECT_EQ(keys(rules.host_ports), Texts{"udp . 5353"});
  rules =
      rules_for(network(), 6443, host_ports_of(pod("{containerPort: 5000, hostPort: 5555, hostIP: 127.0.0.1}"))).rules;
  EXPECT_TRUE(rules.host_ports.empty());
  EXPECT_EQ(keys(rules.services), (Texts{"10.43.0.1 . tcp . 443", "127.0.0.1 . tcp . 5555"}));
  EXPECT_TRUE(host_ports_of(pod("{containerPort: 5000, hostPort: 5000}", ", hostNetwork: true")).empty());
  EXPECT_TRUE(host_ports_of(pod("{containerPort: 5000}")).empty());
}

TEST(Rules, change_only_what_differs) {
  Rules before, after;
  EXPECT_EQ(change_script(network(), before, before), "");
  before.chains["service_a"] = {"one"};
  before.services["1 . tcp . 2"] = "service_a";
  after.chains["service_b"] = {"two"};
  after.services["1 . tcp . 2"] = "service_b";
  after.chains["ingress_c"] = {"return"};
  after.ingress["10.42.0.9"] = "ingress_c";
  const auto table = network().table;
  EXPECT_EQ(change_script(network(), before, after),
            "add chain ip " + table + " ingress_c\nadd rule ip " + table + " ingress_c return\n" + "add chain ip " +
                table + " service_b\nadd rule ip " + table + " service_b two\n" + "delete element ip " + table +
                " services { 1 . tcp . 2 }\nadd element ip " + table + " services { 1 . tcp . 2 : goto service_b }\n" +
                "add element ip " + table + " policy_ingress { 10.42.0.9 : jump ingress_c }\n" + "flush chain ip " +
                table + " service_a\ndelete chain ip " + table + " service_a\n");
}

TEST(Rules, are_taken_over_in_the_table_that_is_there) {
  const auto before = table_from(R"({"nftables": [{"metainfo": {}}, {"table": {"name": "t"}},
      {"map": {"name": "services"}}, {"set": {"name": "hairpins"}}, {"set": {"name": "affinity_a"}},
      {"set": {"name": "affinity_b"}}, {"chain": {"name": "to_service"}}, {"chain": {"name": "service_a"}},
      {"chain": {"name": "service_b"}}, {"chain": {"name": "output", "hook": "output"}}, {"rule": {"chain": "x"}}]})");
  ASSERT_TRUE(before);
  EXPECT_EQ(before->chains, (std::set<std::string>{"service_a", "service_b"}));
  EXPECT_EQ(before->sets, (std::set<std::string>{"affinity_a", "affinity_b"}));
  Rules rules;
  rules.chains["service_b"] = {"two"};
  rules.affinity["affinity_b"] = 60;
  const auto script = takeover_script(network(), *before, rules, false);
  const auto table = "ip " + network().table;
  EXPECT_EQ(script.find("delete table"), script.npos);
  EXPECT_NE(script.find("flush table " + table), script.npos) << script;
  EXPECT_TRUE(script.ends_with("delete chain " + table + " service_a\ndelete set " + table + " affinity_a\n"))
      << script;
  EXPECT_FALSE(table_from("Error: No such file or directory"));
  EXPECT_FALSE(table_from("{}"));
}

}  // namespace
}  // namespace workflow::engine
