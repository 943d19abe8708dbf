#include "engine/node/grpc_health.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <vector>

#include "engine/node/cri_call.h"
#include "lib/base/error.h"

namespace workflow::engine {
namespace {

// HealthCheckRequest: the service is its field 1.
grpc::ByteBuffer request_for(const std::string& service) {
  std::string bytes;
  if (!service.empty()) {
    bytes += '\x0a';
    auto size = service.size();
    for (; size >= 128; size >>= 7) bytes += static_cast<char>(size | 128);
    bytes += static_cast<char>(size);
    bytes += service;
  }
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

// HealthCheckResponse: the status is its field 1, and 1 is SERVING.
const char* status_in(const grpc::ByteBuffer& answer) {
  std::vector<grpc::Slice> slices;
  if (!answer.Dump(&slices).ok()) return "UNKNOWN";
  std::string bytes;
  for (const auto& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  if (bytes.size() < 2 || bytes[0] != '\x08') return "UNKNOWN";
  return bytes[1] == 1 ? "SERVING" : bytes[1] == 2 ? "NOT_SERVING" : bytes[1] == 3 ? "SERVICE_UNKNOWN" : "UNKNOWN";
}

}  // namespace

Task<std::string> grpc_health(std::string address, std::string service, std::chrono::milliseconds limit) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // each look is a connection of its own
  arguments.SetMaxReceiveMessageSize(4096);
  auto channel = grpc::CreateCustomChannel("ipv4:" + address, grpc::InsecureChannelCredentials(), arguments);
  auto stub = std::make_shared<grpc::GenericStub>(channel);
  auto start = [stub](auto* context, auto* in, auto* out, auto done) {
    stub->UnaryCall(context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), in, out, std::move(done));
  };
  try {
    auto asking = cri::unary<grpc::ByteBuffer>(request_for(service), limit, start);
    const auto answer = co_await std::move(asking);
    const std::string status = status_in(answer);
    if (status == "SERVING") co_return "";
    co_return "service unhealthy (responded with \"" + status + "\")";
  } catch (const Error& error) {
    co_return "error: health rpc probe failed: " + error.message();
  }
}

}  // namespace workflow::engine
