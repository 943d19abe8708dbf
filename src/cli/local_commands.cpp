#include "cli/commands.h"
#include "cli/git.h"
#include "cli/session.h"
#include "lib/base/error.h"
#include "lib/json/json.h"

namespace workflow::cli {
namespace {

int git_remote(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto name = arguments.option_or("remote", session.identity().remote);
  const auto url = remote_url(session.profile().controller, app);
  for (const auto& remote : list_remotes()) {
    if (remote.name != name) continue;
    if (remote.url == url) {
      session.out("Remote " + name + " already exists and is correctly configured for app " + app + ".\n");
      return 0;
    }
    if (!arguments.flag("force")) {
      throw Error(ErrorKind::conflict, "Remote " + name + " already exists, please run '" + session.program() +
                                           " git:remote -f' to overwrite\nExisting remote URL: " + remote.url +
                                           "\nWhen forced, will overwrite with: " + url);
    }
    session.out("Deleting git remote " + name + ".\n");
    delete_remote(name);
  }
  add_remote(name, url);
  session.out("Git remote " + name + " successfully created for app " + app + ".\n");
  return 0;
}

int git_remove(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto url = remote_url(session.profile().controller, app);
  bool removed = false;
  for (const auto& remote : list_remotes()) {
    if (remote.url != url) continue;
    delete_remote(remote.name);
    removed = true;
  }
  if (!removed) throw Error(ErrorKind::not_found, "Could not find remote matching app in 'git remote -v'");
  session.out("Git remotes for app " + app + " removed.\n");
  return 0;
}

int shortcuts_list(Session& session, const Arguments&) {
  for (const auto& [name, command] : shortcuts()) session.out(std::string(name) + " -> " + std::string(command) + "\n");
  session.out("\n");
  return 0;
}

int version(Session& session, const Arguments& arguments) {
  if (!arguments.flag("all")) {
    session.out(std::string(client_version) + "\n");
    return 0;
  }
  session.out("Workflow CLI Version:            " + std::string(client_version) + "\n" +
              "Workflow CLI API Version:        " + std::string(api_version) + "\n");
  const auto reply = session.controller().probe("/healthz");
  session.out("Workflow Controller API Version: " + reply.api_version + "\n");
  return 0;
}

}  // namespace

std::vector<Command> local_commands() {
  return {
      {.name = "git:remote",
       .summary = "add the git remote of an application",
       .description = "Adds the git remote of an application to the repository.",
       .options = {app_option,
                   {'r', "remote", "REMOTE", "name of the git remote [default: deis]"},
                   {'f', "force", "", "overwrite a remote of that name"}},
       .run = git_remote},
      {.name = "git:remove",
       .summary = "remove the git remotes of an application",
       .description = "Removes the git remotes of an application from the repository.",
       .options = {app_option},
       .run = git_remove},
      {.name = "shortcuts:list",
       .summary = "list all short forms of commands",
       .description = "Lists all shortcuts: short words for common commands.",
       .run = shortcuts_list},
      {.name = "version",
       .summary = "show the client's version",
       .description = "Displays the client version.",
       .options = {{'a', "all", "", "the versions of the API of client and controller too"}},
       .run = version},
  };
}

}  // namespace workflow::cli
