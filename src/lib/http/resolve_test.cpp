#include "lib/http/resolve.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::http {
namespace {

using namespace std::chrono_literals;
using asio::ip::udp;

// A name server on an address of its own. It answers questions for IPv4 addresses, and is silent about some names.
struct NameServer {
  NameServer(const Executor& executor, const std::string& address)
      : socket(executor, udp::endpoint(asio::ip::make_address(address), 53)) {}

  Task<> serve() {
    for (;;) {
      std::string query(2000, '\0');
      udp::endpoint client;
      query.resize(co_await socket.async_receive_from(asio::buffer(query), client, asio::use_awaitable));
      std::string name;
      std::size_t end = 12;
      for (; query.at(end) != 0; end += 1 + static_cast<unsigned char>(query[end])) {
        name += (name.empty() ? "" : ".") + query.substr(end + 1, static_cast<unsigned char>(query[end]));
      }
      asked.push_back(name);
      if (silent.contains(name) || silent.contains("*")) continue;
      const bool wants_ipv4 = query.substr(end + 1, 2) == std::string("\0\1", 2);
      const auto found = names.find(name);
      const bool answers = found != names.end() && wants_ipv4;
      std::string answer = query.substr(0, 2) + (found == names.end() ? "\x81\x83" : "\x81\x80");
      answer +=
          std::string("\0\1\0", 3) + (answers ? '\1' : '\0') + std::string(4, '\0') + query.substr(12, end - 12 + 5);
      if (answers) {
        const auto bytes = asio::ip::make_address_v4(found->second).to_bytes();
        answer += std::string("\xC0\x0C\0\1\0\1\0\0\0\5\0\4", 12) + std::string(bytes.begin(), bytes.end());
      }
      co_await socket.async_send_to(asio::buffer(answer), client, asio::use_awaitable);
    }
  }

  udp::socket socket;
  std::map<std::string, std::string> names;
  std::set<std::string> silent;
  std::vector<std::string> asked;
};

// This thread has an /etc/resolv.conf and an /etc/hosts of its own.
struct Resolve : testing::Test {
  // Of this process: tests run side by side, and name servers have one port.
  static inline const std::string network =
      "127." + std::to_string(64 + ::getpid() / 256 % 64) + "." + std::to_string(::getpid() % 256) + ".";
  static inline const std::string first = network + "1", second = network + "2";
  TemporaryFolder folder;
  std::string why_not;

  Resolve() {
    write_file_atomically(folder.path() / "hosts", "127.0.0.1 localhost\n10.9.8.7 from-hosts from-hosts.example\n",
                          0644);
    configure("nameserver " + first + "\n");
  }
  void configure(const std::string& resolv_conf) {
    write_file_atomically(folder.path() / "resolv.conf", resolv_conf, 0644);
  }

  void run(const std::function<Task<>(NameServer&, NameServer&)>& test) {
    if (::geteuid() != 0) GTEST_SKIP() << "a name server of one's own needs root";
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount((folder.path() / "resolv.conf").c_str(), "/etc/resolv.conf", nullptr, MS_BIND, nullptr) != 0 ||
        ::mount((folder.path() / "hosts").c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) != 0) {
      GTEST_SKIP() << "this machine does not let us mount";
    }
    asio::io_context context(1);
    std::exception_ptr error;
    auto body = [&]() -> Task<> {
      auto executor = co_await asio::this_coro::executor;
      NameServer one(executor, first), two(executor, second);
      TaskGroup servers(executor);
      servers.spawn("name server", one.serve());
      servers.spawn("name server", two.serve());
      co_await with_cleanup(test(one, two), [&servers] { return servers.stop(); });
    };
    asio::co_spawn(context.get_executor(), body(), [&error](const std::exception_ptr& e) { error = e; });
    context.run();
    ::umount("/etc/hosts");
    ::umount("/etc/resolv.conf");
    if (error) std::rethrow_exception(error);
  }
};

Task<std::string> address_of(std::string name) {
  const auto found = co_await with_deadline(20s, "no answer", resolve(std::move(name), 80));
  std::string out;
  for (const auto& endpoint : found) out += (out.empty() ? "" : " ") + endpoint.address().to_string();
  co_return out;
}

Task<std::string> problem_of(std::string name) {
  try {
    co_await address_of(std::move(name));
  } catch (const Error& error) {
    co_return std::string(to_string(error.kind())) + ": " + error.message();
  }
  co_return "";
}

TEST_F(Resolve, asks_hosts_then_the_name_server) {
  run([](NameServer& names, NameServer&) -> Task<> {
    names.names["app.example"] = "10.1.2.3";
    EXPECT_EQ(co_await address_of("app.example"), "10.1.2.3");
    EXPECT_EQ(co_await address_of("from-hosts.example"), "10.9.8.7");
    EXPECT_EQ(co_await problem_of("absent.example"),
              "unavailable: cannot resolve the name absent.example: Domain name not found");
    EXPECT_EQ(std::ranges::count(names.asked, "from-hosts.example"), 0);
  });
}

TEST_F(Resolve, addresses_and_this_machine_need_no_server) {
  run([](NameServer& names, NameServer&) -> Task<> {
    names.silent = {"*"};
    EXPECT_EQ(co_await address_of("192.0.2.7"), "192.0.2.7");
    EXPECT_EQ(co_await address_of("::1"), "::1");
    for (const char* name : {"localhost", "app.localhost", "deis.LOCALHOST.", "a.b.localhost"}) {
      EXPECT_EQ(co_await address_of(name), "127.0.0.1 ::1") << name;
    }
    EXPECT_TRUE(names.asked.empty());
  });
}

TEST_F(Resolve, short_names_go_through_the_search_list) {
  configure("nameserver " + first + "\nsearch deis.svc.cluster.local svc.cluster.local\noptions ndots:5\n");
  run([](NameServer& names, NameServer&) -> Task<> {
    names.names = {{"deis-controller.deis.svc.cluster.local", "10.43.0.9"},
                   {"other.svc.cluster.local", "10.43.0.10"},
                   {"a.example.org", "10.1.1.1"}};
    EXPECT_EQ(co_await address_of("deis-controller"), "10.43.0.9");
    EXPECT_EQ(co_await address_of("deis-controller.deis"), "10.43.0.9");
    EXPECT_EQ(co_await address_of("other"), "10.43.0.10");
    EXPECT_EQ(co_await address_of("a.example.org"), "10.1.1.1");
  });
}

TEST_F(Resolve, a_silent_name_holds_up_nobody_and_goes_with_who_asks) {
  run([](NameServer& names, NameServer&) -> Task<> {
    names.names["app.example"] = "10.1.2.3";
    TaskGroup waiting(co_await asio::this_coro::executor);
    int ended = 0;
    auto wait = [](std::string name, int& count) -> Task<> {
      co_await with_cleanup([](std::string its) -> Task<> { co_await resolve(std::move(its), 80); }(std::move(name)),
                            [&count]() -> Task<> {
                              ++count;
                              co_return;
                            });
    };
    for (int i = 0; i < 100; ++i) {
      const auto name = "silent-" + std::to_string(i) + ".example";
      names.silent.insert(name);
      waiting.spawn("wait", wait(name, ended));
    }
    for (int i = 0; i < 20; ++i) EXPECT_EQ(co_await address_of("app.example"), "10.1.2.3");
    EXPECT_EQ(ended, 0) << "they still wait";
    co_await waiting.stop();
    EXPECT_EQ(ended, 100);
    EXPECT_EQ(co_await address_of("app.example"), "10.1.2.3");
  });
}

TEST_F(Resolve, when_one_server_is_silent_the_next_is_asked_before_a_connections_deadline) {
  configure("nameserver " + first + "\nnameserver " + second + "\n");
  run([](NameServer& one, NameServer& two) -> Task<> {
    one.silent = {"*"};
    two.names["app.example"] = "10.1.2.3";
    const auto found = co_await with_deadline(5s, "no answer", resolve("app.example", 80));
    EXPECT_EQ(found.size(), 1u);
  });
}

TEST_F(Resolve, many_at_once_are_refused) {
  run([](NameServer& names, NameServer&) -> Task<> {
    names.silent = {"*"};
    TaskGroup waiting(co_await asio::this_coro::executor);
    auto wait = []() -> Task<> { co_await resolve("silent.example", 80); };
    for (int i = 0; i < 500; ++i) waiting.spawn("wait", wait());
    EXPECT_EQ(co_await problem_of("one-more.example"), "unavailable: too many names are being looked up at once");
    co_await waiting.stop();
    names.silent.clear();
    names.names["app.example"] = "10.1.2.3";
    EXPECT_EQ(co_await address_of("app.example"), "10.1.2.3");
  });
}

}  // namespace
}  // namespace workflow::http
