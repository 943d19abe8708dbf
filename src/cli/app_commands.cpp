#include <chrono>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/git.h"
#include "cli/render.h"
#include "cli/session.h"
#include "lib/base/error.h"
#include "lib/base/process.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

std::string first_domain(const Page& domains) {
  return domains.results.empty() ? "" : text_of(domains.results[0], "domain");
}

std::string url_of(Session& session, const std::string& app, const Page& domains) {
  const auto domain = first_domain(domains);
  return domain.empty() ? "No domain assigned to " + app : app_url(domain, session.profile().controller);
}

std::string created_line(const std::string& remote, const std::string& app) {
  return "Git remote " + remote + " successfully created for app " + app + ".\n";
}

void add_remote_of_new_app(Session& session, const std::string& app, const std::string& remote) {
  const auto url = remote_url(session.profile().controller, app);
  for (const auto& existing : find_remotes().value_or(std::vector<Remote>{})) {
    if (existing.name != remote) continue;
    if (existing.url == url) {
      session.out("Remote " + remote + " already exists and is correctly configured for app " + app + ".\n");
      return;
    }
    throw Error(ErrorKind::conflict, "A git remote with the name " + remote +
                                         " already exists. To overwrite this remote run:\n" + session.program() +
                                         " git:remote --force --remote " + remote + " --app " + app);
  }
  add_remote(remote, url);
  session.out(created_line(remote, app));
}

int apps_create(Session& session, const Arguments& arguments) {
  std::optional<json::value> body;
  if (!arguments.operands().empty()) body = json::object{{"id", arguments.operand(0)}};
  auto& controller = session.controller();
  std::string app;
  {
    Progress progress(session.terminal(), "Creating Application... ");
    app = text_of(controller.post("/v2/apps/", body), "id");
    progress.done("done, created " + app + "\n");
  }
  if (const auto buildpack = arguments.option_or("buildpack", ""); !buildpack.empty()) {
    controller.post(app_path(app, "config/"), json::object{{"values", json::object{{"BUILDPACK_URL", buildpack}}}});
  }
  if (arguments.flag("no-remote")) {
    session.out("If you want to add a git remote for this app later, use `" + session.program() + " git:remote -a " +
                app + "`\n");
  } else {
    add_remote_of_new_app(session, app, arguments.option_or("remote", session.identity().remote));
  }
  return 0;
}

int apps_list(Session& session, const Arguments& arguments) {
  const auto limit = session.limit(arguments);
  session.out(render_apps(session.controller().page("/v2/apps/", limit)));
  return 0;
}

int apps_info(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto limit = session.profile().page_size();
  const auto info = controller.get(app_path(app));
  const auto pods = controller.page(app_path(app, "pods/"), limit);
  const auto domains = controller.page(app_path(app, "domains/"), limit);
  const auto settings = controller.get(app_path(app, "settings/"));
  session.out(render_app(info, url_of(session, app, domains)) + "\n" + render_processes(app, pods.results) + "\n" +
              render_domains(app, domains) + "\n" + render_labels(app, settings) + "\n");
  return 0;
}

int apps_open(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto domains = session.controller().page(app_path(app, "domains/"), 1);
  auto url = url_of(session, app, domains);
  if (domains.results.empty()) throw Error(ErrorKind::not_found, url);
  if (url.find("://") == std::string::npos) url = "http://" + url;
  ProcessSpec spec;
  spec.argv = {"xdg-open", url};
  ChildProcess opener(spec);
  const auto status = opener.wait(std::chrono::hours(24));
  if (status != 0) throw Error(ErrorKind::unavailable, "xdg-open could not open " + url);
  return 0;
}

int apps_logs(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto lines = number_option(arguments, "lines", 0);
  const auto query = lines > 0 ? "?log_lines=" + std::to_string(lines) : "";
  const auto reply = session.controller().send("GET", app_path(app, "logs" + query), "");
  const bool none = reply.status == 204 || reply.status == 404 || (reply.status < 400 && reply.body.empty());
  if (none && is_of_controller(reply)) {
    throw Error(
        ErrorKind::not_found,
        "There are currently no log messages. Please check the following things:\n"
        "1) The app exists and you may use it: '" +
            session.program() +
            " apps:list' shows it.\n"
            "2) The app has been deployed: '" +
            session.program() + " releases -a " + app +
            "' shows v2 or later.\n"
            "3) The platform's components are up: 'workflow status' on its machine, or 'kubectl get pods -n deis'.");
  }
  if (reply.status >= 400) throw Error(ErrorKind::unavailable, problem_of(reply, session.profile().controller));
  const bool colours = session.terminal().out_is_terminal() && session.env().find("NO_COLOR").value_or("").empty();
  session.out(colours ? render_coloured_log(reply.body) : reply.body.ends_with('\n') ? reply.body : reply.body + "\n");
  return 0;
}

int apps_run(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto command = command_line(arguments.operands(), arguments.loose_operands());
  session.out("Running '" + command + "'...\n");
  const auto result = controller.post(app_path(app, "run"), json::object{{"command", command}});
  const auto status = static_cast<int>(find_integer(result, {"exit_code"}).value_or(0));
  if (status == 0)
    session.out(text_of(result, "output"));
  else
    session.err(text_of(result, "output"));
  return status;
}

int apps_destroy(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  auto confirm = arguments.option_or("confirm", "");
  if (confirm.empty()) {
    confirm = session.terminal().ask_word(
        " !    WARNING: Potentially Destructive Action\n"
        " !    This command will destroy the application: " +
        app +
        "\n"
        " !    To proceed, type \"" +
        app + "\" or re-run this command with --confirm=" + app + "\n\n> ");
  }
  if (confirm != app)
    throw Error(ErrorKind::invalid, "App " + app + " does not match confirm " + confirm + ", aborting.");
  const auto start = std::chrono::steady_clock::now();
  session.out("Destroying " + app + "...\n");
  controller.remove(app_path(app));
  const auto took = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - start);
  session.out("done in " + std::to_string(took.count()) + "s\n");
  if (session.app_was_given(arguments)) return 0;
  bool removed = false;
  const auto url = remote_url(session.profile().controller, app);
  for (const auto& remote : find_remotes().value_or(std::vector<Remote>{})) {
    if (remote.url != url) continue;
    delete_remote(remote.name);
    removed = true;
  }
  if (removed) session.out("Git remotes for app " + app + " removed.\n");
  return 0;
}

int apps_transfer(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  session.out("Transferring " + app + " to " + arguments.operand(0) + "... ");
  controller.post(app_path(app), json::object{{"owner", arguments.operand(0)}});
  session.out("done\n");
  return 0;
}

}  // namespace

std::vector<Command> app_commands() {
  return {
      {.name = "apps:create",
       .summary = "create a new application",
       .description = "Creates a new application, and a git remote to push it to.",
       .operands = {{"<id>", Count::optional,
                     "the app's name: lower-case letters, digits, hyphens; default: an invented one"}},
       .options = {{0, "no-remote", "", "do not create a git remote"},
                   {'b', "buildpack", "BUILDPACK", "URL of the buildpack to build with"},
                   {'r', "remote", "REMOTE", "name of the git remote [default: deis]"}},
       .run = apps_create},
      {.name = "apps:list",
       .summary = "list the applications that you may use",
       .description = "Lists applications visible to the current user.",
       .options = {limit_option},
       .run = apps_list},
      {.name = "apps:info",
       .summary = "show an application",
       .description = "Prints info about an application: its processes, domains and labels.",
       .options = {app_option},
       .run = apps_info},
      {.name = "apps:open",
       .summary = "open an application in the browser",
       .description = "Opens an application in the default browser.",
       .options = {app_option},
       .run = apps_open},
      {.name = "apps:logs",
       .summary = "show the last lines of an application's log",
       .description = "Prints the most recent log lines of an application.",
       .options = {app_option, {'n', "lines", "<lines>", "how many lines to show [default: 100]"}},
       .run = apps_logs},
      {.name = "apps:run",
       .summary = "run a command in a new container of an application",
       .description =
           "Runs a command in a new container of an application, and prints its output when it has ended.\n"
           "Write -- before a command that has options of its own. The words after it reach the program as they\n"
           "are; without it, and as a single word, they are a line for the container's shell.",
       .operands = {{"<command>", Count::many, "the shell command to run"}},
       .options = {app_option},
       .takes_command_line = true,
       .usage = "[options] [--] <command>...",
       .run = apps_run},
      {.name = "apps:destroy",
       .summary = "destroy an application",
       .description = "Destroys an application.",
       .options = {app_option, {0, "confirm", "<app>", "the app's name once more, instead of being asked for it"}},
       .run = apps_destroy},
      {.name = "apps:transfer",
       .summary = "make somebody else the owner of an application",
       .description = "Transfers app ownership to another user.",
       .operands = {{"<username>", Count::one, "the new owner"}},
       .options = {app_option},
       .run = apps_transfer},
  };
}

}  // namespace workflow::cli
