// workflow status: which components run.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>

#include "lib/base/log.h"
#include "platform/components.h"
#include "platform/keeper.h"
#include "platform/options.h"
#include "platform/platform.h"

namespace workflow::platform {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Prints the table; true when every component is ready.
Task<bool> show(Executor executor, fs::path state) {
  kube::Client client(executor, kube::Connection::from_kubeconfig((state / "kubeconfig").string()));
  auto listing = components(client);
  const auto found = co_await with_deadline(10s, "the engine does not answer", std::move(listing));
  std::printf("%-20s %-10s %-8s %s\n", "COMPONENT", "VERSION", "READY", "PROBLEM");
  for (const auto& component : found) {
    const auto ready = std::to_string(component.ready) + "/" + std::to_string(component.wanted);
    std::printf("%-20s %-10s %-8s %s\n", component.name.c_str(), component.version.c_str(), ready.c_str(),
                component.problem.c_str());
  }
  co_return !found.empty() && std::ranges::all_of(found, &Component::current);
}

}  // namespace

int status_main(int argc, char** argv) {
  CLI::App app{"Shows the platform's components; exit status 0 when all are ready"};
  std::string state = "/var/lib/workflow";
  app.add_option("--state", state, "folder of the platform's state")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  log::configure("status", log::Level::warn, log::Format::logfmt);
  const auto folder = fs::absolute(state).lexically_normal();
  if (!read_process_file(engine_file(folder))) {
    std::printf("Workflow is down (state: %s)\n", folder.c_str());
    return 3;
  }
  int status = 1;
  run_main([&](Executor executor) -> Task<> {
    try {
      status = co_await show(executor, folder) ? 0 : 1;
    } catch (const Error& error) {
      std::fprintf(stderr, "workflow status: %s\n", error.what());
    }
  });
  return status;
}

}  // namespace workflow::platform
