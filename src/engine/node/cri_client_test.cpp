#include "engine/node/cri_client.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "cri.grpc.pb.h"
#include "engine/test_support.h"

namespace workflow::engine {
namespace {

namespace rt = ::runtime::v1;

// A containerd that still removes for somebody else, and is done after being asked a few times.
class BusyRuntime : public rt::RuntimeService::Service {
 public:
  explicit BusyRuntime(const std::filesystem::path& socket) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("unix://" + socket.string(), grpc::InsecureServerCredentials());
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  grpc::Status RemovePodSandbox(grpc::ServerContext*, const rt::RemovePodSandboxRequest*,
                                rt::RemovePodSandboxResponse*) override {
    return answer(
        "failed to remove container \"c\": failed to set removing state for container \"c\": container is "
        "already in removing state");
  }
  grpc::Status RemoveContainer(grpc::ServerContext*, const rt::RemoveContainerRequest*,
                               rt::RemoveContainerResponse*) override {
    return answer(refusal);
  }

  std::string refusal = "failed to set removing state for container \"c\": container is already in removing state";
  std::atomic<int> asked = 0;

 private:
  grpc::Status answer(const std::string& message) {
    return ++asked < 4 ? grpc::Status(grpc::StatusCode::UNKNOWN, message) : grpc::Status::OK;
  }
  std::unique_ptr<grpc::Server> server_;
};

TEST(Removal, waits_for_the_one_that_a_killed_engine_began) {
  StoreFixture loop;
  const auto socket = loop.folder.path() / "runtime.sock";
  BusyRuntime runtime(socket);
  cri::Client client(loop.context.get_executor(), socket);
  loop.run(client.remove_sandbox("s"));
  EXPECT_EQ(runtime.asked, 4);
  runtime.asked = 0;
  loop.run(client.remove_container("c"));
  EXPECT_EQ(runtime.asked, 4);
}

TEST(Removal, that_fails_for_another_reason_is_told_at_once) {
  StoreFixture loop;
  const auto socket = loop.folder.path() / "runtime.sock";
  BusyRuntime runtime(socket);
  runtime.refusal = "no such device";
  cri::Client client(loop.context.get_executor(), socket);
  EXPECT_THROW(loop.run(client.remove_container("c")), Error);
  EXPECT_EQ(runtime.asked, 1);
}

}  // namespace
}  // namespace workflow::engine
