// src/lib/async/component.h: what the main of every component does: logging, settings, then its task until SIGTERM.
#pragma once
#include <string>

#include "lib/async/task.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/settings.h"

namespace workflow {

// Sets up logging as LOG_LEVEL (debug, info, warn, error) and LOG_FORMAT (logfmt, json) say.
inline void configure_log(std::string component, Env& env) {
  const auto level = env.text("LOG_LEVEL", "info"), format = env.text("LOG_FORMAT", "logfmt");
  if (level != "debug" && level != "info" && level != "warn" && level != "error") {
    env.problem("LOG_LEVEL", "must be debug, info, warn or error, not \"" + level + "\"");
  }
  if (format != "logfmt" && format != "json")
    env.problem("LOG_FORMAT", "must be logfmt or json, not \"" + format + "\"");
  log::configure(std::move(component),
                 level == "debug"   ? log::Level::debug
                 : level == "warn"  ? log::Level::warn
                 : level == "error" ? log::Level::error
                                    : log::Level::info,
                 format == "json" ? log::Format::json : log::Format::logfmt);
}

// Reads `Config::from(Env&)` and runs `serve(executor, config)` until it ends or SIGTERM cancels it. Bad settings stop
// the start with one line per problem and status 1.
template <typename Config, typename Serve>
int run_component(std::string name, Serve serve) {
  auto env = Env::from_process();
  try {
    configure_log(name, env);
    Config config = Config::from(env);
    env.done();
    return run_main([&serve, config = std::move(config)](Executor executor) { return serve(executor, config); });
  } catch (const Error& error) {
    for (const auto& [setting, problems] : error.fields()) {
      for (const auto& problem : problems) log::error("bad setting", kv("setting", setting), kv("problem", problem));
    }
    if (error.fields().empty()) log::error("cannot start", kv("error", error.message()));
    return 1;
  }
}

}  // namespace workflow
