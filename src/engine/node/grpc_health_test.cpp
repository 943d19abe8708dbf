#include "engine/node/grpc_health.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>

namespace workflow::engine {
namespace {

std::string asked(int port, const std::string& service) {
  asio::io_context context(1);
  std::string said = "nothing";
  auto ask = [&]() -> Task<> {
    said = co_await grpc_health("127.0.0.1:" + std::to_string(port), service, std::chrono::seconds(20));
  };
  asio::co_spawn(context, ask(), [](const std::exception_ptr& error) {
    if (error) std::rethrow_exception(error);
  });
  context.run();
  return said;
}

// gRPC's own health service.
TEST(GrpcHealth, is_what_the_server_says) {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  grpc::CallbackGenericService others;  // a server of nothing but queues would want to be polled
  builder.RegisterCallbackGenericService(&others);
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  const auto server = builder.BuildAndStart();
  ASSERT_TRUE(server);
  auto* health = server->GetHealthCheckService();
  health->SetServingStatus("web", false);
  EXPECT_EQ(asked(port, ""), "");
  EXPECT_EQ(asked(port, "web"), "service unhealthy (responded with \"NOT_SERVING\")");
  EXPECT_TRUE(asked(port, std::string(200, 'x')).starts_with("error: health rpc probe failed: "));
  health->SetServingStatus("web", true);
  EXPECT_EQ(asked(port, "web"), "");
  server->Shutdown();
}

}  // namespace
}  // namespace workflow::engine
