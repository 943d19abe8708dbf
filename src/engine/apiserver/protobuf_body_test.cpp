#include "engine/apiserver/protobuf_body.h"

#include <gtest/gtest.h>

#include "engine/apiserver/api_error.h"
#include "lib/base/file.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {
namespace {

// The files of testdata/protobuf are what k8s.io/apimachinery v0.32 writes.
std::string bytes_of(const std::string& name) { return read_file(std::string(WF_TESTDATA) + "/protobuf/" + name); }
json::value decoded(const std::string& type, const std::string& name) {
  return object_from_protobuf(*find_type(type), bytes_of(name));
}

TEST(ProtobufBody, is_what_the_same_object_would_be_in_json) {
  EXPECT_EQ(decoded("io.k8s.api.apps.v1.Deployment", "deployment.pb"), kube::parse_yaml(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: nginx, ports: [{containerPort: 80}], resources: {}, readinessProbe: {tcpSocket: {port: 0}}}]}
)"));
}

TEST(ProtobufBody, keeps_an_empty_text_that_means_something) {
  const auto claim = decoded("io.k8s.api.core.v1.PersistentVolumeClaim", "claim.pb");
  EXPECT_EQ(claim.at("spec").at("storageClassName"), "") << json::serialize(claim);
  EXPECT_FALSE(claim.at("spec").as_object().contains("volumeName"));
}

TEST(ProtobufBody, is_refused_when_it_ends_early) {
  const auto bytes = bytes_of("deployment.pb");
  const auto& type = *find_type("io.k8s.api.apps.v1.Deployment");
  EXPECT_THROW(object_from_protobuf(type, bytes.substr(0, bytes.size() - 5)), ApiError);
  EXPECT_THROW(object_from_protobuf(type, "{}"), ApiError);
}

}  // namespace
}  // namespace workflow::engine
