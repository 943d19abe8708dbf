#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <chrono>

#include "cli/commands.h"
#include "cli/ps_target.h"
#include "cli/render.h"
#include "cli/session.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

int builds_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_builds(app, session.controller().page(app_path(app, "builds/"), session.limit(arguments))));
  return 0;
}

json::object parse_procfile(const std::string& text) try {
  json::object procfile;
  const auto root = YAML::Load(text);
  if (!root.IsMap()) throw Error(ErrorKind::invalid, "yaml: --procfile must map process types to commands: web: ./run");
  for (const auto& entry : root) procfile[entry.first.as<std::string>()] = entry.second.as<std::string>();
  return procfile;
} catch (const YAML::Exception& problem) {
  throw Error(ErrorKind::invalid, "yaml: " + std::string(problem.what()));
}

int builds_create(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  json::object body{{"image", arguments.operand(0)}};
  if (const auto text = arguments.option_or("procfile", ""); !text.empty()) body["procfile"] = parse_procfile(text);
  with_progress(session, "Creating build... ", [&] { return controller.post(app_path(app, "builds/"), body); });
  return 0;
}

std::int64_t release_number(const std::string& text) {
  if (text == "v") throw Error(ErrorKind::invalid, "v is not in the form 'v#'");
  const auto number = parse_integer(std::string_view(text).substr(text.starts_with('v') ? 1 : 0));
  if (!number) throw Error(ErrorKind::invalid, "\"" + text + "\" is not a release; releases look like v2");
  return *number;
}

int releases_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_releases(app, session.controller().page(app_path(app, "releases/"), session.limit(arguments))));
  return 0;
}

int releases_info(Session& session, const Arguments& arguments) {
  const auto number = release_number(arguments.operand(0));
  const auto app = session.app(arguments);
  session.out(
      render_release(app, session.controller().get(app_path(app, "releases/v" + std::to_string(number) + "/"))));
  return 0;
}

int releases_rollback(Session& session, const Arguments& arguments) {
  std::optional<json::value> body;
  std::string what = "Rolling back one release... ";
  if (!arguments.operands().empty()) {
    const auto number = release_number(arguments.operand(0));
    body = json::object{{"version", number}};
    what = "Rolling back to v" + std::to_string(number) + "... ";
  }
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  Progress progress(session.terminal(), what);
  const auto answer = controller.post(app_path(app, "releases/rollback/"), body);
  progress.done("done, v" + text_of(answer, "version") + "\n");
  return 0;
}

constexpr std::int64_t all_processes = 1000;

int ps_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_processes(app, session.controller().page(app_path(app, "pods/"), all_processes).results));
  return 0;
}

// "Scaling processes... but first, coffee!", the work, "done in 3s".
// The second line is left out when `did` says that nothing was done.
template <typename Work, typename Did>
auto timed(Session& session, std::string_view what, Work work, Did did) {
  session.out(std::string(what) + " processes... but first, " + session.drink() + "!\n");
  const auto start = std::chrono::steady_clock::now();
  Progress progress(session.terminal(), "");
  auto result = work();
  const auto took = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
  progress.done(did(result) ? "done in " + std::to_string(took.count()) + "s\n" : "");
  return result;
}

int ps_restart(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  std::string path = "pods/restart/", name;
  if (!arguments.operands().empty()) {
    name = arguments.operand(0);
    json::array pods;
    if (name.find('-') != std::string::npos) pods = controller.page(app_path(app, "pods/"), all_processes).results;
    const auto target = restart_target(app, name, pods);
    name = target.type;
    path = "pods/" + escaped(target.type) + "/" + (target.pod.empty() ? "" : escaped(target.pod) + "/") + "restart/";
  }
  auto some = [](const json::value& pods) { return pods.is_array() && !pods.get_array().empty(); };
  json::value restarted;
  try {
    restarted = timed(session, "Restarting", [&] { return controller.post(app_path(app, path)); }, some);
  } catch (const Error& error) {
    if (error.message() != "Pod not found in application") throw;
    throw Error(ErrorKind::not_found, "Could not find process type " + name + " in app " + app);
  }
  session.out(some(restarted) ? render_processes(app, restarted.get_array())
                              : "Could not find any processes to restart\n");
  return 0;
}

int ps_scale(Session& session, const Arguments& arguments) {
  json::object counts;
  for (const auto& word : arguments.operands()) {
    const auto target = parse_scale_target(word);
    if (!target) {
      throw Error(ErrorKind::invalid, "'" + word + "' does not match the pattern 'type=num', ex: web=2\n");
    }
    counts[target->type] = target->count;
  }
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  timed(
      session, "Scaling", [&] { return controller.post(app_path(app, "scale/"), counts); }, [](auto&) { return true; });
  session.out(render_processes(app, controller.page(app_path(app, "pods/"), session.profile().page_size()).results));
  return 0;
}

}  // namespace

std::vector<Command> deploy_commands() {
  constexpr Operand version_operand = {"<version>", Count::one, "the release, such as v2 or 2"};
  return {
      {.name = "builds:list",
       .summary = "list an application's builds",
       .description = "Lists build history for an application.",
       .options = {app_option, limit_option},
       .run = builds_list},
      {.name = "builds:create",
       .summary = "deploy a ready image",
       .description = "Deploys an image from a registry as a new build of an application.",
       .operands = {{"<image>", Count::one, "the image, such as registry.example.com/team/app:v3"}},
       .options = {app_option, {'p', "procfile", "<procfile>", "a Procfile's text as YAML: 'web: ./run'"}},
       .run = builds_create},
      {.name = "releases:list",
       .summary = "list an application's releases",
       .description = "Lists release history for an application.",
       .options = {app_option, limit_option},
       .run = releases_list},
      {.name = "releases:info",
       .summary = "show a release",
       .description = "Prints info about a particular release.",
       .operands = {version_operand},
       .options = {app_option},
       .run = releases_info},
      {.name = "releases:rollback",
       .summary = "go back to an earlier release",
       .description = "Rolls back to a previous application release, with its code and its configuration.",
       .operands = {{"<version>", Count::optional,
                     "the release, such as v2 or 2; default: the one before the current"}},
       .options = {app_option},
       .run = releases_rollback},
      {.name = "ps:list",
       .summary = "list an application's processes",
       .description = "Lists processes servicing an application.",
       .options = {app_option},
       .run = ps_list},
      {.name = "ps:restart",
       .summary = "restart an application's processes",
       .description = "Restarts an application, a process type or a single process.",
       .operands = {{"<type>", Count::optional, "a process type, such as web, or a process's name; default: all"}},
       .options = {app_option},
       .run = ps_restart},
      {.name = "ps:scale",
       .summary = "set the number of processes of each type",
       .description = "Scales an application's processes by type.",
       .operands = {{"<type>=<num>", Count::many, "process type and number, such as web=2"}},
       .options = {app_option},
       .run = ps_scale},
  };
}

}  // namespace workflow::cli
