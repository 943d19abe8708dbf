#include "engine/apiserver/audit.h"

#include <gtest/gtest.h>

#include "engine/test_support.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

class AuditTest : public testing::Test {
 protected:
  std::optional<json::object> event(const std::string& method, const std::string& path, int status) {
    http::Request request{.method = method, .target = path, .raw_path = path};
    request.id = "7f3a";
    request.peer = "10.0.0.9";
    const auto info = *request_info(method, path, {});
    return audit_event({request, info, {"ann", "u1", {"ops"}}, "", status, Time{}, Time{}});
  }
};

TEST_F(AuditTest, says_who_did_what_to_which_object) {
  const auto said = event("DELETE", "/apis/apps/v1/namespaces/shop/deployments/web", 200);
  ASSERT_TRUE(said);
  EXPECT_EQ(*said, from_yaml(R"(
    kind: Event
    apiVersion: audit.k8s.io/v1
    level: Metadata
    auditID: 7f3a
    stage: ResponseComplete
    requestURI: /apis/apps/v1/namespaces/shop/deployments/web
    verb: delete
    user: {username: ann, uid: u1, groups: [ops]}
    sourceIPs: [10.0.0.9]
    objectRef: {resource: deployments, namespace: shop, name: web, apiGroup: apps, apiVersion: v1}
    responseStatus: {code: 200}
    requestReceivedTimestamp: '1970-01-01T00:00:00.000000Z'
    stageTimestamp: '1970-01-01T00:00:00.000000Z'
  )"));
}

TEST_F(AuditTest, knows_what_matters) {
  struct Case {
    std::string method, path;
    int status;
    bool said;
  };
  const Case cases[] = {{"POST", "/api/v1/namespaces/a/pods", 201, true},
                        {"PATCH", "/api/v1/namespaces/a/pods/b", 409, true},
                        {"GET", "/api/v1/namespaces/a/pods", 200, false},
                        {"GET", "/api/v1/namespaces/a/pods", 403, true},
                        {"GET", "/api/v1/namespaces/a/pods", 404, false},
                        {"GET", "/api/v1/namespaces/a/secrets", 200, true},
                        {"GET", "/api/v1/namespaces/a/secrets/s", 404, true},
                        {"GET", "/api/v1/namespaces/a/pods/b/log", 200, false},
                        {"GET", "/api/v1/namespaces/a/pods/b/exec", 101, true},
                        {"POST", "/api/v1/namespaces/a/serviceaccounts/b/token", 201, true},
                        {"PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/l", 200, false},
                        {"POST", "/api/v1/namespaces/a/events", 201, false},
                        {"POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 201, false},
                        {"GET", "/metrics", 403, true},
                        {"GET", "/version", 200, false}};
  for (const auto& c : cases)
    EXPECT_EQ(event(c.method, c.path, c.status).has_value(), c.said) << c.method << " " << c.path;
}

TEST_F(AuditTest, a_full_file_makes_room_for_the_next) {
  TemporaryFolder folder;
  AuditLog log(folder.path() / "audit", 100);
  for (int i = 0; i < 9; ++i) log.write({{"number", i}, {"padding", std::string(90, 'x')}});
  EXPECT_NE(read_file(folder.path() / "audit/audit.log").find("\"number\":8"), std::string::npos);
  EXPECT_NE(read_file(folder.path() / "audit/audit.log.3").find("\"number\":5"), std::string::npos);
  EXPECT_FALSE(find_file(folder.path() / "audit/audit.log.4"));
}

TEST_F(AuditTest, goes_on_where_it_was) {
  TemporaryFolder folder;
  for (int i = 0; i < 2; ++i) AuditLog(folder.path()).write({{"number", i}});
  EXPECT_EQ(read_file(folder.path() / "audit.log"), "{\"number\":0}\n{\"number\":1}\n");
}

}  // namespace
}  // namespace workflow::engine
