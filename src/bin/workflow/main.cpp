// The server binary: `workflow <component>` runs one component in the foreground.
#include <cstdio>
#include <string_view>

#ifdef WF_HAS_builder
#include "builder/builder.h"
#endif
#ifdef WF_HAS_controller
#include "controller/controller.h"
#endif
#ifdef WF_HAS_database
#include "database/database.h"
#endif
#ifdef WF_HAS_engine
#include "engine/engine.h"
#endif
#ifdef WF_HAS_objectstore
#include "objectstore/objectstore.h"
#endif
#ifdef WF_HAS_platform
#include "platform/platform.h"
#endif
#ifdef WF_HAS_registry
#include "registry/registry.h"
#endif
#ifdef WF_HAS_router
#include "router/router.h"
#endif

namespace {

struct Command {
  std::string_view name;
  int (*main)(int argc, char** argv);  // argv[0] is the command's own name
  std::string_view what;
};

constexpr Command commands[] = {
#ifdef WF_HAS_platform
    {"up", workflow::platform::up_main, "start the platform on this machine"},
    {"down", workflow::platform::down_main, "stop it, leaving its state"},
    {"status", workflow::platform::status_main, "show its components"},
    {"keeper", workflow::platform::keeper_main, "restarts the engine when it dies; `up` starts it"},
#endif
#ifdef WF_HAS_engine
    {"engine", workflow::engine::engine_main, "the single-machine Kubernetes"},
#endif
#ifdef WF_HAS_controller
    {"controller", workflow::controller::controller_main, "HTTP API, releases, deploys"},
#endif
#ifdef WF_HAS_database
    {"database", workflow::database::database_main, "supervises PostgreSQL"},
#endif
#ifdef WF_HAS_builder
    {"builder", workflow::builder::builder_main, "git push over SSH"},
#endif
#ifdef WF_HAS_objectstore
    {"objectstore", workflow::objectstore::objectstore_main, "S3 server on local disk"},
#endif
#ifdef WF_HAS_registry
    {"registry", workflow::registry::registry_main, "supervises the image registry"},
#endif
#ifdef WF_HAS_router
    {"router", workflow::router::router_main, "nginx, configured from Kubernetes"},
#endif
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
    if (command.name == name) return command.main(argc - 1, argv + 1);
  }
  std::fprintf(stderr, "workflow: unknown command \"%s\"\n", argv[1]);
  return usage(stderr, 2);
}
