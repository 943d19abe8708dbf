// workflow down: stops everything and leaves nothing on the machine but the state.
#include <CLI/CLI.hpp>
#include <cstdio>

#include "lib/async/process.h"
#include "lib/base/log.h"
#include "platform/keeper.h"
#include "platform/machine.h"
#include "platform/options.h"
#include "platform/platform.h"

namespace workflow::platform {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

Task<> down(fs::path state) {
  co_await stop_keeper(state, 60s);
  auto argv = engine_command(fs::read_symlink("/proc/self/exe"), load_options(state));
  argv.push_back("--teardown");
  auto torn_down = co_await run(ProcessSpec{.argv = std::move(argv)}, 5min);
  if (torn_down.status != 0) {
    throw Error(ErrorKind::internal,
                "not everything could be removed; see the lines above and run `workflow down` again");
  }
}

}  // namespace

int down_main(int argc, char** argv) {
  CLI::App app{"Stops the platform on this machine; its state stays"};
  std::string state = "/var/lib/workflow";
  app.add_option("--state", state, "folder of the platform's state")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  log::configure("down", log::Level::warn, log::Format::logfmt);
  int status = 0;
  try {
    check_machine();
    const auto folder = fs::absolute(state).lexically_normal();
    if (!fs::exists(settings_file(folder))) {
      throw Error(ErrorKind::not_found,
                  "there is no platform in " + folder.string() + "; choose its folder with --state");
    }
    const int ran = run_main([&](Executor) -> Task<> {
      try {
        co_await down(folder);
        std::puts("Workflow is down; its state is kept.");
      } catch (const Error& error) {
        std::fprintf(stderr, "workflow down: %s\n", error.what());
        status = 1;
      }
    });
    return status ? status : ran;
  } catch (const Error& error) {
    std::fprintf(stderr, "workflow down: %s\n", error.what());
    return 1;
  }
}

}  // namespace workflow::platform
