#include "engine/apiserver/request_info.h"

#include <gtest/gtest.h>

namespace workflow::engine {
namespace {

std::string told(std::string_view method, std::string_view target) {
  const auto mark = target.find('?');
  const auto query = mark == std::string_view::npos ? http::Query() : *http::Query::parse(target.substr(mark + 1));
  const auto info = request_info(method, target.substr(0, mark), query);
  if (!info) return "malformed";
  if (!info->is_resource) return info->verb + " path " + info->path;
  return info->verb + " " + info->group + "/" + info->version + " ns=" + info->ns + " " + info->plural + " " +
         info->name + (info->subresource.empty() ? "" : " sub=" + info->subresource);
}

TEST(RequestInfo, reads_method_path_and_query) {
  struct Case {
    std::string method, target, expected;
  };
  const Case cases[] = {
      {"GET", "/api/v1/pods", "list /v1 ns= pods "},
      {"GET", "/api/v1/pods/", "list /v1 ns= pods "},
      {"GET", "/api/v1/namespaces/a/pods", "list /v1 ns=a pods "},
      {"GET", "/api/v1/namespaces/a/pods?watch=true", "watch /v1 ns=a pods "},
      {"GET", "/api/v1/namespaces/a/pods?watch=1", "watch /v1 ns=a pods "},
      {"GET", "/api/v1/namespaces/a/pods?watch=false", "list /v1 ns=a pods "},
      {"GET", "/api/v1/namespaces/a/pods/b", "get /v1 ns=a pods b"},
      {"GET", "/api/v1/namespaces/a/pods/b/log?follow=true", "get /v1 ns=a pods b sub=log"},
      {"GET", "/api/v1/namespaces/a/pods/b/proxy", "get /v1 ns=a pods b sub=proxy"},
      {"PUT", "/api/v1/namespaces/a/services/https:b:1/proxy/x//y/", "update /v1 ns=a services https:b:1 sub=proxy"},
      {"GET", "/api/v1/namespaces/a//b/proxy/x", "malformed"},
      {"GET", "/api/v1/watch/namespaces/a/pods", "watch /v1 ns=a pods "},
      {"GET", "/api/v1/watch/namespaces/a/pods/b", "watch /v1 ns=a pods b"},
      {"GET", "/api/v1/namespaces", "list /v1 ns= namespaces "},
      {"GET", "/api/v1/namespaces/a", "get /v1 ns= namespaces a"},
      {"PUT", "/api/v1/namespaces/a/status", "update /v1 ns= namespaces a sub=status"},
      {"PUT", "/api/v1/namespaces/a/finalize", "update /v1 ns= namespaces a sub=finalize"},
      {"GET", "/api/v1/nodes/n", "get /v1 ns= nodes n"},
      {"POST", "/apis/apps/v1/namespaces/a/deployments", "create apps/v1 ns=a deployments "},
      {"PATCH", "/apis/apps/v1/namespaces/a/deployments/d/scale", "patch apps/v1 ns=a deployments d sub=scale"},
      {"DELETE", "/apis/apps/v1/namespaces/a/deployments/d", "delete apps/v1 ns=a deployments d"},
      {"DELETE", "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps/v1 ns=a deployments "},
      {"GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:node",
       "get rbac.authorization.k8s.io/v1 ns= clusterroles system:node"},
      {"GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab",
       "get rbac.authorization.k8s.io/v1 ns= clusterroles a:b"},
      {"GET", "/api/v1/namespaces/a/services/s/proxy/x/y", "get /v1 ns=a services s sub=proxy"},
      {"GET", "/", "get path /"},
      {"GET", "/api", "get path /api"},
      {"GET", "/api/v1", "get path /api/v1"},
      {"GET", "/apis/apps/v1", "get path /apis/apps/v1"},
      {"GET", "/openapi/v3/apis/apps/v1", "get path /openapi/v3/apis/apps/v1"},
      {"GET", "/healthz/", "get path /healthz"},
      {"GET", "/api/v1//pods", "malformed"},
      {"GET", "/api/v1/namespaces//pods", "malformed"},
      {"GET", "/api/v1/pods/%zz", "malformed"}};
  for (const auto& c : cases) EXPECT_EQ(told(c.method, c.target), c.expected) << c.method << " " << c.target;
}

}  // namespace
}  // namespace workflow::engine
