#include "engine/apiserver/protobuf_body.h"

#include <gtest/gtest.h>

#include "engine/apiserver/api_error.h"
#include "engine/fields.h"
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

// A field that holds bytes.
std::string with_bytes(int number, const std::string& bytes) {
  return std::string{static_cast<char>(number << 3 | 2), static_cast<char>(bytes.size())} + bytes;
}
std::string varint(std::uint64_t value) {
  std::string text;
  for (; value > 0x7f; value >>= 7) text += static_cast<char>((value & 0x7f) | 0x80);
  return text + static_cast<char>(value);
}

TEST(ProtobufBody, has_times_of_every_year) {
  const auto& lease = *find_type("io.k8s.api.coordination.v1.LeaseSpec");
  const auto renewed = [&](std::int64_t seconds, std::int64_t nanos) -> std::string {
    const auto time =
        "\x08" + varint(static_cast<std::uint64_t>(seconds)) + "\x10" + varint(static_cast<std::uint64_t>(nanos));
    const auto spec = message_from_protobuf(lease, with_bytes(4, time));
    return spec ? text_at(*spec, {"renewTime"}) : "refused";
  };
  EXPECT_EQ(renewed(-62135596798, 0), "0001-01-01T00:00:02.000000Z");
  EXPECT_EQ(renewed(0, 1'500), "1970-01-01T00:00:00.000001Z");
  EXPECT_EQ(renewed(253402300799, 999'999'999), "9999-12-31T23:59:59.999999Z");
  EXPECT_EQ(renewed(253402300800, 0), "refused");
  EXPECT_EQ(renewed(-62135596801, 0), "refused");
  EXPECT_EQ(renewed(0, 1'000'000'000), "refused");
}

}  // namespace
}  // namespace workflow::engine
