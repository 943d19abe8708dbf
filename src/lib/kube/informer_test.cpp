#include <algorithm>

#include "lib/base/log.h"
#include "lib/kube/objects.h"
#include "lib/kube/test_api.h"

namespace workflow::kube {
namespace {

using namespace std::chrono_literals;

// A server, a client, an informer and what it told.
struct Scene {
  explicit Scene(Executor executor)
      : api(executor),
        server(std::make_unique<http::Server>(executor, local_server(), handler())),
        client(executor, connection_to(server->port())),
        informer(client, resources::pods, "x", {.label_selector = "app=shop"}, callbacks()),
        tasks(executor),
        servers(std::make_unique<TaskGroup>(executor)) {
    servers->spawn("server", server->serve());
    tasks.spawn("informer", informer.run());
  }
  http::Handler handler() {
    return [this](http::Request& request) { return api.handle(request); };
  }
  Informer::Callbacks callbacks() {
    return {[this](const Informer::Object& o) { told.push_back("+" + name_of(*o) + ":" + phase(*o)); },
            [this](const Informer::Object& a, const Informer::Object& b) {
              if (phase(*b) == "Poison") throw 42;
              told.push_back("~" + name_of(*b) + ":" + phase(*a) + ">" + phase(*b));
            },
            [this](const Informer::Object& o) { told.push_back("-" + name_of(*o)); }};
  }
  static std::string phase(const json::object& pod) { return pod_status_of(pod).phase; }
  Task<> stop() {
    co_await tasks.stop();
    co_await servers->stop();
  }
  // Until the informer knows this pod in this phase ("": absent).
  Task<> knows(std::string name, std::string wanted) {
    co_await informer.wait_for(
        "x", name, [wanted](const Informer::Object& o) { return o == nullptr ? wanted.empty() : phase(*o) == wanted; },
        10s, "waiting for " + name + " to be " + wanted);
  }
  std::size_t count(std::string_view word) const {
    return static_cast<std::size_t>(std::count_if(api.requests.begin(), api.requests.end(),
                                                  [&](const auto& r) { return r.find(word) != std::string::npos; }));
  }
  std::size_t lists() const { return api.requests.size() - count("watch=true"); }

  PodApi api;
  std::unique_ptr<http::Server> server;
  Client client;
  Informer informer;
  std::vector<std::string> told;
  TaskGroup tasks;
  std::unique_ptr<TaskGroup> servers;
};

void with_scene(std::function<Task<>(Scene&)> test) {
  run_task([&]() -> Task<> {
    Scene scene(co_await asio::this_coro::executor);
    co_await with_cleanup(test(scene), [&scene] { return scene.stop(); });
  });
}

using Told = std::vector<std::string>;

TEST(Informer, lists_then_follows) {
  with_scene([](Scene& s) -> Task<> {
    s.api.put("a", "Pending");
    co_await s.informer.wait_synced();
    EXPECT_EQ(s.informer.objects().size(), 1u);
    EXPECT_EQ(find_string(*s.informer.find("x", "a"), {"kind"}), "Pod");
    s.api.put("a", "Running");
    s.api.put("b", "Pending");
    s.api.bookmark();
    s.api.remove("a");
    co_await s.knows("a", "");
    EXPECT_EQ(s.told, (Told{"+a:Pending", "~a:Pending>Running", "+b:Pending", "-a"}));
    EXPECT_EQ(s.lists(), 1u);
    EXPECT_NE(s.api.requests.front().find("labelSelector=app%3Dshop"), std::string::npos);
  });
}

TEST(Informer, goes_on_where_a_broken_connection_stopped) {
  with_scene([](Scene& s) -> Task<> {
    s.api.put("a", "Pending");
    co_await s.knows("a", "Pending");
    for (int i = 0; i < 3; ++i) {
      s.api.break_watches();
      const auto phase = "Phase" + std::to_string(i);
      s.api.put("a", phase);
      co_await s.knows("a", phase);
    }
    EXPECT_EQ(s.told, (Told{"+a:Pending", "~a:Pending>Phase0", "~a:Phase0>Phase1", "~a:Phase1>Phase2"}));
    EXPECT_EQ(s.lists(), 1u);
  });
}

TEST(Informer, lists_again_after_410_and_tells_the_differences) {
  with_scene([](Scene& s) -> Task<> {
    s.api.put("same", "Running");
    s.api.put("changes", "Pending");
    s.api.put("goes", "Running");
    s.api.put("replaced", "Running", "1");
    co_await s.knows("replaced", "Running");
    s.told.clear();
    s.api.break_watches();
    s.api.put("changes", "Running");
    s.api.remove("goes");
    s.api.put("comes", "Pending");
    s.api.put("replaced", "Pending", "2");
    s.api.compact();
    co_await s.knows("replaced", "Pending");
    co_await s.knows("comes", "Pending");
    std::sort(s.told.begin(), s.told.end());
    EXPECT_EQ(s.told, (Told{"+comes:Pending", "+replaced:Pending", "-goes", "-replaced", "~changes:Pending>Running"}));
    EXPECT_EQ(s.lists(), 2u);
    s.api.put("same", "Failed");
    co_await s.knows("same", "Failed");
  });
}

TEST(Informer, survives_a_server_that_is_away) {
  with_scene([](Scene& s) -> Task<> {
    s.api.put("a", "Pending");
    co_await s.knows("a", "Pending");
    const auto port = s.server->port();
    co_await s.servers->stop();
    s.server.reset();
    co_await sleep_for(200ms);
    s.api.put("a", "Running");
    s.server = std::make_unique<http::Server>(s.client.executor(), local_server(port), s.handler());
    s.servers->spawn("server", s.server->serve());
    co_await s.knows("a", "Running");
    EXPECT_EQ(s.told, (Told{"+a:Pending", "~a:Pending>Running"}));
  });
}

TEST(Informer, goes_on_when_one_who_is_told_fails) {
  with_scene([](Scene& s) -> Task<> {
    s.api.put("a", "Pending");
    co_await s.knows("a", "Pending");
    s.api.put("a", "Poison");
    s.api.put("a", "Running");
    co_await s.knows("a", "Running");
    EXPECT_EQ(s.told, (Told{"+a:Pending", "~a:Poison>Running"}));
    EXPECT_EQ(s.lists(), 1u);
  });
}

TEST(Informer, backs_off_when_the_server_is_out_of_order) {
  with_scene([](Scene& s) -> Task<> {
    s.api.fail_next = 4;
    s.api.put("a", "Pending");
    co_await s.knows("a", "Pending");
    EXPECT_GE(s.api.requests.size(), 5u);
    EXPECT_LE(s.api.requests.size(), 7u);
  });
}

TEST(Informer, waiting_ends_with_its_limit) {
  with_scene([](Scene& s) -> Task<> {
    try {
      co_await s.informer.wait_for(
          "x", "absent", [](const Informer::Object& o) { return o != nullptr; }, 50ms, "pod absent did not appear");
      ADD_FAILURE() << "no exception";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::timeout);
      EXPECT_EQ(error.message(), "pod absent did not appear");
    }
  });
}

}  // namespace
}  // namespace workflow::kube
