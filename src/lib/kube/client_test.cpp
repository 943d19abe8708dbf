#include "lib/kube/client.h"

#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/kube/objects.h"
#include "lib/kube/status.h"
#include "lib/kube/test_api.h"

namespace workflow::kube {
namespace {

using namespace std::chrono_literals;

struct Seen {
  std::string line, type, authorization, body;
};

// Answers every request with the next of `answers` (the last one stays), and keeps what it saw.
struct Script {
  std::vector<http::Response> answers;
  std::vector<Seen> seen;
  Task<http::Response> handle(http::Request& request) {
    auto body = co_await request.text();
    seen.push_back({request.method + " " + request.target, request.headers.get("Content-Type"),
                    request.headers.get("Authorization"), body});
    co_return answers[std::min(seen.size(), answers.size()) - 1];
  }
};

void with_client(Script& script, std::function<Connection(Connection)> change, std::function<Task<>(Client&)> test) {
  run_task([&]() -> Task<> {
    auto executor = co_await asio::this_coro::executor;
    http::Server server(executor, local_server(), [&script](http::Request& request) { return script.handle(request); });
    TaskGroup tasks(executor);
    tasks.spawn("server", server.serve());
    Client client(executor, change(connection_to(server.port())));
    co_await with_cleanup(test(client), [&tasks] { return tasks.stop(); });
  });
}
Connection unchanged(Connection c) { return c; }
http::Response ok(std::string body = "{}") { return http::Response::json(200, std::move(body)); }

TEST(Client, speaks_kubernetes_rest) {
  Script script{{ok()}, {}};
  with_client(script, unchanged, [](Client& c) -> Task<> {
    const json::object body{{"metadata", {{"name", "a"}}}};
    co_await c.get(resources::pods, "x", "a");
    co_await c.create(resources::deployments, "x", body);
    co_await c.replace(resources::deployments, "x", "a", body, "scale");
    co_await c.patch(resources::services, "x", "a", PatchType::merge, body);
    co_await c.patch(resources::services, "x", "a", PatchType::strategic, body, "status");
    co_await c.patch(resources::services, "x", "a", PatchType::json, json::array{});
    co_await c.apply(resources::namespaces, "", body);
    co_await c.remove(resources::pods, "x", "a", {5, "Background"});
    co_await c.list(resources::nodes, "", {.label_selector = "a in (b,c)", .field_selector = "metadata.name=n"});
    co_await c.server_version();
  });
  struct Case {
    std::string line, type, body;
  };
  const std::string json_type = "application/json";
  const std::string object = R"({"metadata":{"name":"a"}})";
  const Case expected[] = {
      {"GET /api/v1/namespaces/x/pods/a", "", ""},
      {"POST /apis/apps/v1/namespaces/x/deployments?fieldManager=workflow", json_type, object},
      {"PUT /apis/apps/v1/namespaces/x/deployments/a/scale?fieldManager=workflow", json_type, object},
      {"PATCH /api/v1/namespaces/x/services/a?fieldManager=workflow", "application/merge-patch+json", object},
      {"PATCH /api/v1/namespaces/x/services/a/status?fieldManager=workflow", "application/strategic-merge-patch+json",
       object},
      {"PATCH /api/v1/namespaces/x/services/a?fieldManager=workflow", "application/json-patch+json", "[]"},
      {"PATCH /api/v1/namespaces/a?fieldManager=workflow&force=true", "application/apply-patch+yaml",
       R"({"metadata":{"name":"a"},"apiVersion":"v1","kind":"Namespace"})"},
      {"DELETE /api/v1/namespaces/x/pods/a", json_type,
       R"({"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":5,"propagationPolicy":"Background"})"},
      {"GET /api/v1/nodes?labelSelector=a%20in%20%28b%2Cc%29&fieldSelector=metadata.name%3Dn&limit=500", "", ""},
      {"GET /version", "", ""}};
  ASSERT_EQ(script.seen.size(), std::size(expected));
  for (std::size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(script.seen[i].line, expected[i].line);
    EXPECT_EQ(script.seen[i].type, expected[i].type) << script.seen[i].line;
    EXPECT_EQ(script.seen[i].body, expected[i].body) << script.seen[i].line;
  }
}

TEST(Client, a_long_list_comes_in_pages) {
  Script script{
      {ok(R"({"metadata":{"resourceVersion":"7","continue":"next page"},"items":[{"metadata":{"name":"a"}}]})"),
       ok(R"({"metadata":{"resourceVersion":"7"},"items":[{"metadata":{"name":"b"}}]})")},
      {}};
  with_client(script, unchanged, [](Client& c) -> Task<> {
    const auto list = co_await c.list(resources::pods, "");
    EXPECT_EQ(list.resource_version, "7");
    EXPECT_EQ(list.items.size(), 2u);
    EXPECT_EQ(print_json(list.items.at(1)), R"({"metadata":{"name":"b"},"apiVersion":"v1","kind":"Pod"})");
  });
  EXPECT_EQ(script.seen.at(1).line, "GET /api/v1/pods?limit=500&continue=next%20page");
}

TEST(Client, a_page_that_expired_starts_the_list_over) {
  Script script{{ok(R"({"metadata":{"continue":"c"},"items":[{"metadata":{"name":"a"}}]})"),
                 http::Response::json(410, R"({"kind":"Status","code":410})"),
                 ok(R"({"metadata":{"resourceVersion":"9"},"items":[{"metadata":{"name":"z"}}]})")},
                {}};
  with_client(script, unchanged, [](Client& c) -> Task<> {
    const auto list = co_await c.list(resources::pods, "x");
    EXPECT_EQ(list.items.size(), 1u);
    EXPECT_EQ(list.resource_version, "9");
  });
  EXPECT_EQ(script.seen.at(2).line, "GET /api/v1/namespaces/x/pods");
}

TEST(Client, refusals_keep_their_message) {
  struct Case {
    int status;
    std::string body;
    ErrorKind kind;
    std::string message;
  };
  const Case cases[] = {
      {404, R"({"kind":"Status","message":"pods \"a\" not found"})", ErrorKind::not_found, "pods \"a\" not found"},
      {409, R"({"message":"exists","reason":"AlreadyExists"})", ErrorKind::conflict, "exists"},
      {410, "{}", ErrorKind::conflict, "resourceVersion too old"},
      {422, R"({"message":"invalid"})", ErrorKind::unprocessable, "invalid"},
      {403, R"({"message":"exceeded quota"})", ErrorKind::forbidden, "exceeded quota"},
      {401, R"({"message":"Unauthorized"})", ErrorKind::unauthenticated, "Unauthorized"},
      {503, "no backend", ErrorKind::unavailable, "the Kubernetes API answered 503: no backend"},
      {504, "", ErrorKind::timeout, "the Kubernetes API answered 504"},
      {500, "{}", ErrorKind::internal, "the Kubernetes API answered 500: {}"}};
  for (const auto& c : cases) {
    const auto error = error_from_response(c.status, c.body);
    EXPECT_EQ(error.kind(), c.kind) << c.status;
    EXPECT_EQ(error.message(), c.message) << c.status;
  }
  Script script{{http::Response::json(404, cases[0].body)}, {}};
  with_client(script, unchanged, [](Client& c) -> Task<> {
    EXPECT_EQ(co_await c.find(resources::pods, "x", "a"), std::nullopt);
    co_await c.remove(resources::pods, "x", "a");
    EXPECT_THROW(co_await c.get(resources::pods, "x", "a"), Error);
  });
}

TEST(Client, waits_when_it_is_throttled) {
  auto throttled = http::Response::json(429, R"({"message":"slow down"})");
  throttled.headers.set("Retry-After", "0");
  Script script{{throttled, throttled, ok(R"({"gitVersion":"v1.30.1"})")}, {}};
  with_client(script, unchanged, [](Client& c) -> Task<> { EXPECT_EQ(co_await c.server_version(), "v1.30.1"); });
  EXPECT_EQ(script.seen.size(), 3u);
}

TEST(Client, reads_its_token_again_when_it_expired) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "token";
  write_file_atomically(file, "first\n");
  Script script{{ok(), http::Response::json(401, R"({"message":"Unauthorized"})"), ok()}, {}};
  const auto with_file = [&file](Connection c) {
    c.token_file = file;
    return c;
  };
  with_client(script, with_file, [&file](Client& c) -> Task<> {
    co_await c.server_version();
    write_file_atomically(file, "second");
    co_await c.server_version();
  });
  ASSERT_EQ(script.seen.size(), 3u);
  EXPECT_EQ(script.seen[0].authorization, "Bearer first");
  EXPECT_EQ(script.seen[2].authorization, "Bearer second");
}

TEST(Client, streams_logs) {
  Script script{{http::Response::text(200, "line\n")}, {}};
  with_client(script, unchanged, [](Client& c) -> Task<> {
    auto body = co_await c.log("x", "a", {.container = "c", .follow = true, .timestamps = true, .tail_lines = 5});
    EXPECT_EQ(co_await body->read(), "line\n");
    EXPECT_EQ(co_await body->read(), "");
  });
  EXPECT_EQ(script.seen.at(0).line,
            "GET /api/v1/namespaces/x/pods/a/log?container=c&follow=true&timestamps=true&tailLines=5");
}

TEST(Connection, reads_a_kubeconfig) {
  const TemporaryFolder folder;
  write_file_atomically(folder.path() / "ca.pem", "CA");
  write_file_atomically(folder.path() / "config", R"(
apiVersion: v1
kind: Config
current-context: here
contexts:
- {name: other, context: {cluster: none, user: none}}
- {name: here, context: {cluster: c, user: u, namespace: shop}}
clusters:
- name: c
  cluster: {server: "https://127.0.0.1:6443/", certificate-authority: ca.pem, tls-server-name: kubernetes}
users:
- {name: u, user: {client-certificate-data: )" + to_base64("CERT") +
                                                      ", client-key-data: " + to_base64("KEY") + "}}\n");
  const auto c = Connection::from_env({{"KUBECONFIG", "/absent:" + (folder.path() / "config").string()}});
  EXPECT_EQ(c.server.text(), "https://127.0.0.1:6443");
  EXPECT_EQ(c.tls.ca_pem, "CA");
  EXPECT_EQ(c.tls.certificate_pem, "CERT");
  EXPECT_EQ(c.tls.key_pem, "KEY");
  EXPECT_EQ(c.tls.server_name, "kubernetes");
  EXPECT_EQ(c.namespace_, "shop");
}

TEST(Connection, says_what_is_wrong_with_a_kubeconfig) {
  const TemporaryFolder folder;
  const auto path = (folder.path() / "config").string();
  struct Case {
    std::string text, message;
  };
  const Case cases[] = {
      {"a: [", "line 1"},
      {"current-context: x\ncontexts: []", "it has no context named \"x\""},
      {"{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], clusters: [{name: c, cluster: "
       "{server: nonsense}}], users: [{name: u, user: {}}]}",
       "the server \"nonsense\" is not a URL"}};
  for (const auto& [text, message] : cases) {
    write_file_atomically(path, text);
    try {
      Connection::from_kubeconfig(path);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_TRUE(error.message().starts_with("kubeconfig " + path + ": ")) << error.message();
      EXPECT_NE(error.message().find(message), std::string::npos) << error.message();
    }
  }
}

}  // namespace
}  // namespace workflow::kube
