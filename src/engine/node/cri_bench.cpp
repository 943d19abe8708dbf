// Starts pods by the bare calls of the CRI, one after the other: what the engine's own start is measured against
// (bench/pods).
//   cri_bench SOCKET IMAGE COUNT FOLDER   prints the milliseconds of each, from the first call until the container runs
#include <cstdio>

#include "engine/node/cri_client.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

using namespace std::chrono_literals;

Task<> start_one(cri::Client& runtime, const std::string& image, const std::string& folder, int number) {
  const auto name = "bench-" + std::to_string(number);
  cri::SandboxConfig sandbox{
      .name = name, .uid = name, .ns = "bench", .hostname = name, .log_directory = folder + "/" + name};
  sandbox.labels = {{"bench", "yes"}};
  cri::ContainerConfig container{.name = "c", .image = image, .command = {"sleep", "1000"}, .log_path = "0.log"};
  const auto begun = std::chrono::steady_clock::now();
  const auto id = co_await runtime.run_sandbox(sandbox);
  co_await runtime.sandbox_status(id);
  const auto created = co_await runtime.create_container(id, container, sandbox);
  co_await runtime.start_container(created);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begun;
  std::printf("%.1f\n", took.count());
  co_await runtime.stop_container(created, 0s);
  co_await runtime.stop_sandbox(id);
  co_await runtime.remove_sandbox(id);
}

}  // namespace
}  // namespace workflow::engine

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fprintf(stderr, "usage: cri_bench SOCKET IMAGE COUNT FOLDER\n");
    return 2;
  }
  const std::string socket = argv[1], image = argv[2], folder = argv[4];
  const auto count = workflow::parse_integer(argv[3]).value_or(0);
  return workflow::run_main([&](workflow::Executor executor) -> workflow::Task<> {
    workflow::engine::cri::Client runtime(executor, socket);
    for (int i = 0; i < count; ++i) co_await workflow::engine::start_one(runtime, image, folder, i);
  });
}
