#include <algorithm>
#include <filesystem>

#include "cli/commands.h"
#include "cli/render.h"
#include "cli/session.h"
#include "cli/ssh_key.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

namespace fs = std::filesystem;

int keys_list(Session& session, const Arguments& arguments) {
  const auto keys = session.controller().page("/v2/keys/", session.limit(arguments));
  session.out(render_keys(session.profile().username, keys));
  return 0;
}

struct KeyFile {
  fs::path path;
  PublicKey key;
};

KeyFile read_key(const fs::path& path) {
  const auto text = find_file(path);
  if (!text) throw Error(ErrorKind::not_found, "open " + path.string() + ": no such file or directory");
  auto key = parse_public_key(*text, path.filename().string());
  if (!key) throw Error(ErrorKind::invalid, path.string() + " is not a valid ssh key");
  return {path, *key};
}

KeyFile choose_key(Session& session) {
  const auto folder = session.home() / ".ssh";
  std::error_code missing;
  std::vector<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder, missing)) {
    if (entry.path().extension() == ".pub") paths.push_back(entry.path());
  }
  if (missing) throw Error(ErrorKind::not_found, "open " + folder.string() + ": no such file or directory");
  std::ranges::sort(paths);
  std::vector<KeyFile> found;
  for (const auto& path : paths) {
    try {
      found.push_back(read_key(path));
    } catch (const Error& error) {
      session.out(error.message() + "\n");
    }
  }
  session.out("Found the following SSH public keys:\n");
  for (std::size_t i = 0; i < found.size(); ++i) {
    session.out(std::to_string(i + 1) + ") " + found[i].path.filename().string() + " " + found[i].key.id + "\n");
  }
  session.out("0) Enter path to pubfile (or use keys:add <key_path>)\n");
  const auto answer = session.terminal().ask_word("Which would you like to use with Deis? ");
  const auto number = parse_integer(answer);
  if (!number) throw Error(ErrorKind::invalid, answer + " is not a valid integer");
  if (*number == 0) return read_key(session.terminal().ask_word("Enter the path to the pubkey file: "));
  if (*number < 0 || static_cast<std::size_t>(*number) > found.size()) {
    throw Error(ErrorKind::invalid, std::to_string(*number) + " is not a valid option");
  }
  return found[static_cast<std::size_t>(*number) - 1];
}

// [<name>] [<key>] in either order: a word that names an existing file is the file.
KeyFile key_of(Session& session, const std::vector<std::string>& words) {
  auto is_file = [](const std::string& word) {
    std::error_code ignored;
    return fs::is_regular_file(word, ignored);
  };
  if (words.empty()) return choose_key(session);
  if (words.size() == 1) {
    if (is_file(words[0])) return read_key(words[0]);
    auto chosen = choose_key(session);
    chosen.key.id = words[0];
    return chosen;
  }
  const bool reversed = !is_file(words[1]) && is_file(words[0]);
  auto key = read_key(words[reversed ? 0 : 1]);
  key.key.id = words[reversed ? 1 : 0];
  return key;
}

int keys_add(Session& session, const Arguments& arguments) {
  auto& controller = session.controller();
  const auto file = key_of(session, arguments.operands());
  session.out("Uploading " + file.path.filename().string() + " to deis...");
  try {
    controller.post("/v2/keys/", json::object{{"id", file.key.id}, {"public", file.key.text}});
  } catch (...) {
    session.out("\n");
    throw;
  }
  session.out(" done\n");
  return 0;
}

int keys_remove(Session& session, const Arguments& arguments) {
  auto& controller = session.controller();
  session.out("Removing " + arguments.operand(0) + " SSH Key...");
  try {
    controller.remove("/v2/keys/" + escaped(arguments.operand(0)));
  } catch (...) {
    session.out("\n");
    throw;
  }
  session.out(" done\n");
  return 0;
}

constexpr std::string_view administrators = "/v2/admin/perms/";

int perms_list(Session& session, const Arguments& arguments) {
  if (arguments.flag("admin")) {
    session.out(render_administrators(session.controller().page(administrators, session.limit(arguments))));
    return 0;
  }
  const auto app = session.app(arguments);
  session.out(render_app_users(app, session.controller().get(app_path(app, "perms/"))));
  return 0;
}

int perms_create(Session& session, const Arguments& arguments) {
  const auto& user = arguments.operand(0);
  auto& controller = session.controller();
  const bool admin = arguments.flag("admin");
  const auto app = admin ? "" : session.app(arguments);
  session.out("Adding " + user + " to " + (admin ? "system administrators... " : app + " collaborators... "));
  controller.post(admin ? std::string(administrators) : app_path(app, "perms/"), json::object{{"username", user}});
  session.out("done\n");
  return 0;
}

int perms_delete(Session& session, const Arguments& arguments) {
  const auto& user = arguments.operand(0);
  auto& controller = session.controller();
  const bool admin = arguments.flag("admin");
  const auto app = admin ? "" : session.app(arguments);
  session.out("Removing " + user + " from " + (admin ? "system administrators... " : app + " collaborators... "));
  controller.remove((admin ? std::string(administrators) : app_path(app, "perms/")) + escaped(user));
  session.out("done\n");
  return 0;
}

int users_list(Session& session, const Arguments& arguments) {
  session.out(render_users(session.controller().page("/v2/users/", session.limit(arguments))));
  return 0;
}

}  // namespace

std::vector<Command> access_commands() {
  constexpr Option admin = {0, "admin", "", "system administrators instead of the users of an app"};
  constexpr Operand user = {"<username>", Count::one, "the user's name"};
  return {
      {.name = "keys:list",
       .summary = "list your SSH keys",
       .description = "Lists SSH keys for the logged in user.",
       .options = {limit_option},
       .run = keys_list},
      {.name = "keys:add",
       .summary = "add an SSH key",
       .description = "Adds an SSH key for the logged in user. Without a file, one of ~/.ssh can be chosen.",
       .operands = {{"<name>", Count::optional, "what to call the key; default: its comment"},
                    {"<key>", Count::optional, "the public key's file, such as ~/.ssh/id_ed25519.pub"}},
       .run = keys_add},
      {.name = "keys:remove",
       .summary = "remove an SSH key",
       .description = "Removes an SSH key for the logged in user.",
       .operands = {{"<key>", Count::one, "the key's name, as keys:list shows it"}},
       .run = keys_remove},
      {.name = "perms:list",
       .summary = "list who may use an app",
       .description = "Lists all users with permission to use an app, or the system administrators.",
       .options = {app_option, admin, limit_option},
       .exclusive = {{"app", "admin"}},
       .needs = {{"limit", "admin"}},
       .usage = "[-a --app=<app>|--admin|--admin --limit=<num>]",
       .run = perms_list},
      {.name = "perms:create",
       .summary = "let another user use an app",
       .description = "Gives another user permission to use an app, or makes him an administrator.",
       .operands = {user},
       .options = {app_option, admin},
       .exclusive = {{"app", "admin"}},
       .usage = "<username> [-a --app=<app>|--admin]",
       .run = perms_create},
      {.name = "perms:delete",
       .summary = "take the permission back",
       .description = "Revokes another user's permission to use an app, or to be an administrator.",
       .operands = {user},
       .options = {app_option, admin},
       .exclusive = {{"app", "admin"}},
       .usage = "<username> [-a --app=<app>|--admin]",
       .run = perms_delete},
      {.name = "users:list",
       .summary = "list all users",
       .description = "Lists all registered users (administrators only).",
       .options = {limit_option},
       .run = users_list},
  };
}

}  // namespace workflow::cli
