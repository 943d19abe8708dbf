#include <gtest/gtest.h>

#include <map>

#include "engine/proxy/dns_names.h"
#include "engine/proxy/dns_server.h"

namespace workflow::engine::dns {
namespace {

std::string query_bytes(const std::string& name, std::uint16_t type) {
  std::string out("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00", 12);
  std::size_t begin = 0;
  for (;;) {
    const auto dot = name.find('.', begin);
    const auto label = name.substr(begin, dot - begin);
    out += static_cast<char>(label.size()) + label;
    if (dot == std::string::npos) break;
    begin = dot + 1;
  }
  out += std::string(1, '\0') + std::string{static_cast<char>(type >> 8), static_cast<char>(type), '\0', '\1'};
  return out;
}

TEST(DnsQuery, is_read_in_lower_case) {
  const auto query = parse_query(query_bytes("Web.Shop.svc", 1));
  ASSERT_TRUE(query);
  EXPECT_EQ(query->name, "web.shop.svc");
  EXPECT_EQ(query->id, 0x1234);
  EXPECT_EQ(query->type, 1);
}

TEST(DnsQuery, that_is_broken_is_refused) {
  const auto good = query_bytes("a.b", 1);
  EXPECT_FALSE(parse_query(""));
  for (std::size_t size = 0; size < good.size(); ++size) EXPECT_FALSE(parse_query(good.substr(0, size))) << size;
  auto answer = good;
  answer[2] = static_cast<char>(0x81);
  EXPECT_FALSE(parse_query(answer));
  auto pointer = good;
  pointer[12] = static_cast<char>(0xc0);
  EXPECT_FALSE(parse_query(pointer));
}

struct World {
  std::map<std::string, json::object> services, slices;
  Zone zone;
  World() {
    auto add = [](std::map<std::string, json::object>& to, const std::string& key, const char* text) {
      to[key] = parse_json(text)->as_object();
    };
    add(services, "shop/web", R"({"spec": {"clusterIP": "10.43.0.9"}})");
    add(services, "shop/db", R"({"spec": {"clusterIP": "None"}})");
    add(services, "shop/out", R"({"spec": {"type": "ExternalName", "externalName": "db.example.com"}})");
    add(slices, "shop/db",
        R"({"endpoints": [{"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
                                             {"addresses": ["10.42.0.6"], "conditions": {"ready": false}}]})");
    zone.service = [this](const std::string& ns, const std::string& name) {
      const auto found = services.find(ns + "/" + name);
      return found == services.end() ? nullptr : &found->second;
    };
    zone.slices = [this](const std::string& ns, const std::string& name) {
      const auto found = slices.find(ns + "/" + name);
      return found == slices.end() ? std::vector<const json::object*>{}
                                   : std::vector<const json::object*>{&found->second};
    };
  }
  std::string ask(const std::string& name, Type type = Type::a) {
    const auto answer = resolve(zone, *parse_query(query_bytes(name, static_cast<std::uint16_t>(type))));
    if (!answer) return "upstream";
    if (answer->code == Answer::Code::no_such_name) return "none";
    std::string out = answer->canonical_name;
    for (const auto& address : answer->addresses) out += (out.empty() ? "" : " ") + address.text();
    return out.empty() ? "empty" : out;
  }
};

TEST(DnsNames, mean_services_and_pods) {
  World world;
  const std::pair<std::string, std::string> cases[] = {
      {"web.shop.svc.cluster.local", "10.43.0.9"},
      {"db.shop.svc.cluster.local", "10.42.0.5"},
      {"db-0.db.shop.svc.cluster.local", "10.42.0.5"},
      {"db-9.db.shop.svc.cluster.local", "none"},
      {"x.web.shop.svc.cluster.local", "none"},
      {"out.shop.svc.cluster.local", "db.example.com"},
      {"nothing.shop.svc.cluster.local", "none"},
      {"10-42-0-5.shop.pod.cluster.local", "10.42.0.5"},
      {"svc.cluster.local", "empty"},
      {"cluster.local", "empty"},
      {"other.cluster.local", "none"},
      {"example.com", "upstream"},
      {"notcluster.local", "upstream"},
  };
  for (const auto& [name, answer] : cases) EXPECT_EQ(world.ask(name), answer) << name;
}

TEST(DnsNames, of_version_6_exist_but_are_empty) {
  World world;
  EXPECT_EQ(world.ask("web.shop.svc.cluster.local", Type::aaaa), "empty");
  EXPECT_EQ(world.ask("nothing.shop.svc.cluster.local", Type::aaaa), "none");
}

TEST(DnsReply, repeats_the_question_and_is_cut_at_the_limit) {
  const auto message = query_bytes("a.b", 1);
  const auto query = parse_query(message);
  Answer answer;
  for (std::uint32_t i = 0; i < 100; ++i) answer.addresses.push_back({i});
  const auto whole = reply(message, *query, answer, 65'535);
  EXPECT_EQ(whole.size(), message.size() + 100 * 16);
  EXPECT_EQ(whole.substr(12, message.size() - 12), message.substr(12));
  const auto cut = reply(message, *query, answer, 512);
  EXPECT_LE(cut.size(), 512u);
  EXPECT_TRUE(cut[2] & 0x02);
}

TEST(ResolvConf, names_its_servers) {
  EXPECT_EQ(parse_resolv_conf("# a\nsearch x\nnameserver 10.0.0.1\nnameserver\t::1\n"),
            (std::vector<std::string>{"10.0.0.1", "::1"}));
}

}  // namespace
}  // namespace workflow::engine::dns
