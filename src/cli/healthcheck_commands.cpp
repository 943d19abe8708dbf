#include "cli/commands.h"
#include "cli/healthcheck.h"
#include "cli/render.h"
#include "cli/session.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

// The type that the server applies to web, or to cmd where there is no web.
constexpr std::string_view default_type = "web/cmd";

std::string probe_field(const std::string& health_type) {
  if (health_type != "liveness" && health_type != "readiness") {
    throw Error(ErrorKind::invalid, "probe type " + health_type + " is invalid. Must be one of [liveness readiness]");
  }
  return health_type + "Probe";
}

int healthchecks_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto config = session.controller().get(app_path(app, "config/"));
  session.out(render_healthchecks(app, config, arguments.option("type")));
  return 0;
}

int change(Session& session, const Arguments& arguments, std::string_view progress_text, json::object probes) {
  const auto app = session.app(arguments);
  const auto type = arguments.option_or("type", default_type);
  auto& controller = session.controller();
  const auto config = with_progress(session, progress_text, [&] {
    return controller.post(app_path(app, "config/"),
                           json::object{{"healthcheck", json::object{{type, std::move(probes)}}}});
  });
  session.out("\n" + render_healthchecks(app, config, type));
  return 0;
}

int healthchecks_set(Session& session, const Arguments& arguments) {
  const auto field = probe_field(arguments.operand(0));
  ProbeOptions options;
  options.path = arguments.option_or("path", "/");
  options.headers = arguments.option_or("headers", "");
  options.initial_delay = number_option(arguments, "initial-delay-timeout", 50);
  options.timeout = number_option(arguments, "timeout-seconds", 50);
  options.period = number_option(arguments, "period-seconds", 10);
  options.success_threshold = number_option(arguments, "success-threshold", 1);
  options.failure_threshold = number_option(arguments, "failure-threshold", 3);
  const auto& words = arguments.operands();
  auto probe = probe_from(words[1], std::vector<std::string>(words.begin() + 2, words.end()), options);
  return change(session, arguments, "Applying " + field + " healthcheck... ", {{field, std::move(probe)}});
}

int healthchecks_unset(Session& session, const Arguments& arguments) {
  json::object probes;
  for (const auto& health_type : arguments.operands()) probes[probe_field(health_type)] = nullptr;
  return change(session, arguments, "Removing healthchecks... ", std::move(probes));
}

}  // namespace

std::vector<Command> healthcheck_commands() {
  constexpr Option type = {0, "type", "<type>", "the process type [default: web/cmd]"};
  constexpr std::string_view health_types =
      "liveness (restart when it fails) or readiness (no requests while it fails)";
  return {
      {.name = "healthchecks:list",
       .summary = "list healthchecks for an app",
       .description = "Lists healthchecks for an application.",
       .options = {app_option, {0, "type", "<type>", "only this process type"}},
       .run = healthchecks_list},
      {.name = "healthchecks:set",
       .summary = "set healthchecks for an app",
       .description = "Sets healthchecks for an application.\n\n"
                      "A probe is 'httpGet <port>', 'tcpSocket <port>' or 'exec -- <command>...'.",
       .operands = {{"<health-type>", Count::one, health_types},
                    {"<probe-type>", Count::one, "httpGet, tcpSocket or exec"},
                    {"<args>", Count::many, "the port, or the command"}},
       .options = {app_option,
                   {'p', "path", "<path>", "what httpGet asks for [default: /]"},
                   type,
                   {0, "headers", "<headers>", "headers of httpGet: Name:Value,Name:Value"},
                   {0, "initial-delay-timeout", "<seconds>", "before the first probe [default: 50]"},
                   {0, "timeout-seconds", "<seconds>", "after which a probe has failed [default: 50]"},
                   {0, "period-seconds", "<seconds>", "between two probes [default: 10]"},
                   {0, "success-threshold", "<num>", "successes in a row to be well again [default: 1]"},
                   {0, "failure-threshold", "<num>", "failures in a row to be unwell [default: 3]"}},
       .usage = "<health-type> <probe-type> [options] [--] <args>...",
       .run = healthchecks_set},
      {.name = "healthchecks:unset",
       .summary = "unset healthchecks for an app",
       .description = "Unsets healthchecks for an application.",
       .operands = {{"<health-type>", Count::many, health_types}},
       .options = {app_option, type},
       .usage = "[options] <health-type>...",
       .run = healthchecks_unset},
  };
}

}  // namespace workflow::cli
