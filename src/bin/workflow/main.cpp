// The server binary: `workflow <component>` runs one component in the foreground.
#include <cstdio>
#include <string_view>

#include "builder/builder.h"
#include "controller/controller.h"
#include "controller/hephy/import.h"
#include "database/database.h"
#include "engine/engine.h"
#include "lib/base/init.h"
#include "lib/base/limits.h"
#include "objectstore/objectstore.h"
#include "platform/platform.h"
#include "registry/registry.h"
#include "router/router.h"

namespace {

struct Command {
  std::string_view name;
  int (*main)(int argc, char** argv);  // argv[0] is the command's own name
  std::string_view what;
};

constexpr Command commands[] = {
    {"up", workflow::platform::up_main, "start the platform on this machine"},
    {"down", workflow::platform::down_main, "stop it, leaving its state"},
    {"status", workflow::platform::status_main, "show its components"},
    {"keeper", workflow::platform::keeper_main, "restarts the engine when it dies; `up` starts it"},
    {"import", workflow::controller::hephy::import_main, "take over another platform's users and apps"},
    {"engine", workflow::engine::engine_main, "the single-machine Kubernetes"},
    {"controller", workflow::controller::controller_main, "HTTP API, releases, deploys"},
    {"database", workflow::database::database_main, "supervises PostgreSQL"},
    {"builder", workflow::builder::builder_main, "git push over SSH"},
    {"objectstore", workflow::objectstore::objectstore_main, "S3 server on local disk"},
    {"registry", workflow::registry::registry_main, "supervises the image registry"},
    {"router", workflow::router::router_main, "nginx, configured from Kubernetes"},
};

int usage(std::FILE* to, int status) {
  std::fputs("Usage: workflow <command> [options]\n\nCommands:\n", to);
  for (const auto& command : commands) {
    std::fprintf(to, "  %-12.*s %.*s\n", static_cast<int>(command.name.size()), command.name.data(),
                 static_cast<int>(command.what.size()), command.what.data());
  }
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return usage(stderr, 2);
  const std::string_view name = argv[1];
  if (name == "--help" || name == "-h" || name == "help") return usage(stdout, 0);
  for (const auto& command : commands) {
    if (command.name != name) continue;
    workflow::raise_open_files();
    return workflow::run_program(command.main, argc - 1, argv + 1);
  }
  std::fprintf(stderr, "workflow: unknown command \"%s\"\n", argv[1]);
  return usage(stderr, 2);
}
