#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <map>

#include "engine/descriptors.h"
#include "engine/proxy/dns_names.h"
#include "engine/proxy/dns_server.h"
#include "lib/async/supervisor.h"

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
    add(services, "shop/web", R"({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"clusterIP": "10.43.0.9",
            "ports": [{"name": "http", "port": 80}, {"name": "dns", "protocol": "UDP", "port": 53}]}})");
    add(services, "shop/db", R"({"metadata": {"namespace": "shop", "name": "db"}, "spec": {"clusterIP": "None"}})");
    add(services, "shop/out", R"({"spec": {"type": "ExternalName", "externalName": "db.example.com"}})");
    add(slices, "shop/db",
        R"({"endpoints": [{"addresses": ["10.42.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
                                             {"addresses": ["10.42.0.6"], "conditions": {"ready": false}}],
                               "ports": [{"name": "pg", "protocol": "TCP", "port": 5432}]})");
    zone.service = [this](const std::string& ns, const std::string& name) {
      const auto found = services.find(ns + "/" + name);
      return found == services.end() ? nullptr : &found->second;
    };
    zone.name_of = [](Ipv4 ip) { return ip.text() == "10.43.0.9" ? "web.shop" : ""; };
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
    out += answer->pointer;
    for (const auto& [port, target] : answer->services)
      out += (out.empty() ? "" : " ") + std::to_string(port) + "@" + target;
    return out.empty() ? "empty" : out;
  }
};

TEST(DnsNames, mean_services_and_pods) {
  World world;
  const std::pair<std::string, std::string> cases[] = {
      {"web.shop.svc.cluster.local", "10.43.0.9"},
      {"db.shop.svc.cluster.local", "10.42.0.5"},
      {"db-0.db.shop.svc.cluster.local", "10.42.0.5"},
      {"10-42-0-5.db.shop.svc.cluster.local", "10.42.0.5"},
      {"10-42-0-6.db.shop.svc.cluster.local", "none"},
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

TEST(DnsNames, of_ports_say_where_they_are) {
  World world;
  const std::pair<std::string, std::string> cases[] = {
      {"_http._tcp.web.shop.svc.cluster.local", "80@web.shop.svc.cluster.local"},
      {"_dns._udp.web.shop.svc.cluster.local", "53@web.shop.svc.cluster.local"},
      {"_dns._tcp.web.shop.svc.cluster.local", "none"},
      {"web.shop.svc.cluster.local", "80@web.shop.svc.cluster.local 53@web.shop.svc.cluster.local"},
      {"_pg._tcp.db.shop.svc.cluster.local", "5432@db-0.db.shop.svc.cluster.local"},
      {"_pg._tcp.nothing.shop.svc.cluster.local", "none"},
      {"_http._tcp.out.shop.svc.cluster.local", "none"},
  };
  for (const auto& [name, answer] : cases) EXPECT_EQ(world.ask(name, Type::srv), answer) << name;
  EXPECT_EQ(world.ask("_http._tcp.web.shop.svc.cluster.local"), "empty");
}

TEST(DnsNames, of_addresses_are_those_of_services) {
  World world;
  EXPECT_EQ(world.ask("9.0.43.10.in-addr.arpa", Type::ptr), "web.shop.svc.cluster.local");
  EXPECT_EQ(world.ask("8.0.43.10.in-addr.arpa", Type::ptr), "upstream");
  EXPECT_EQ(world.ask("9.0.43.in-addr.arpa", Type::ptr), "upstream");
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

// --- the server

std::uint16_t free_port() {
  asio::io_context context;
  asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
  return acceptor.local_endpoint().port();
}

// A server with few descriptors, as a process of its own.
class ServerProcess {
 public:
  ServerProcess(std::uint16_t port, rlim_t descriptors) : pid_(::fork()) {
    if (pid_ != 0) return;
    const rlimit limit{.rlim_cur = descriptors, .rlim_max = descriptors};
    ::setrlimit(RLIMIT_NOFILE, &limit);
    asio::io_context context(1);
    Supervisor supervisor(context.get_executor());
    const World world;
    asio::co_spawn(context, serve({.address = "127.0.0.1", .port = port, .upstream = {}}, world.zone, supervisor),
                   [](const std::exception_ptr&) { ::_exit(1); });
    context.run();
    ::_exit(2);
  }
  ~ServerProcess() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

asio::ip::tcp::socket connected(asio::io_context& context, std::uint16_t port) {
  asio::ip::tcp::socket socket(context);
  for (;;) {
    boost::system::error_code refused;
    socket.connect({asio::ip::address_v4::loopback(), port}, refused);
    if (!refused) return socket;
    if (refused != asio::error::connection_refused) throw boost::system::system_error(refused);
    socket.close();
  }
}

TEST(DnsServer, answers_over_tcp_whatever_crowd_is_idle) {
  raise_descriptor_limit();
  const auto port = free_port();
  const ServerProcess server(port, 64);
  asio::io_context context;
  std::vector<asio::ip::tcp::socket> idle;
  for (int i = 0; i < 1'200; ++i) idle.push_back(connected(context, port));
  auto socket = connected(context, port);
  const auto query = query_bytes("web.shop.svc.cluster.local", 1);
  asio::write(socket, asio::buffer(std::string{'\0', static_cast<char>(query.size())} + query));
  unsigned char prefix[2];
  asio::read(socket, asio::buffer(prefix));
  std::string answer(static_cast<std::size_t>(prefix[0] << 8 | prefix[1]), '\0');
  asio::read(socket, asio::buffer(answer));
  ASSERT_GT(answer.size(), 12u);
  EXPECT_EQ(answer.substr(0, 2), query.substr(0, 2));
  EXPECT_EQ(answer[3] & 0x0f, 0) << "no error";
}

}  // namespace
}  // namespace workflow::engine::dns
