#include "cli/commands.h"
#include "cli/render.h"
#include "cli/server_error.h"
#include "cli/session.h"
#include "lib/base/error.h"

namespace workflow::cli {
namespace {

// Only the exact word turns it off.
bool is_on(const Arguments& arguments, std::string_view option) {
  return arguments.option_or(option, "true") != "false";
}

void check_connection(Controller& controller) {
  Reply reply;
  try {
    reply = controller.probe("/v2/");
  } catch (const Error& error) {
    const auto& access = controller.access();
    std::string advice = "Check the address, and that the platform is up: `workflow status` on its machine.";
    if (access.verify && access.url.starts_with("https:")) {
      advice += "\nIf you trust a certificate that nobody signed, add --ssl-verify=false.";
    }
    throw Error(error.kind(), access.url + " cannot be reached: " + error.message() + "\n" + advice);
  }
  if (reply.status == 401) return;
  throw Error(
      ErrorKind::invalid,
      controller.access().url +
          " does not appear to be a valid Deis controller.\nMake sure that the Controller URI is correct, the server "
          "is running and\nyour client version is correct.");
}

std::string asked_unless_given(Session& session, const Arguments& arguments, std::string_view option) {
  if (auto given = arguments.option_or(option, ""); !given.empty()) return given;
  return session.terminal().ask_word(std::string(option) + ": ");
}

struct Credentials {
  std::string username, password;
};

Credentials ask_credentials(Session& session, const Arguments& arguments) {
  Credentials out;
  out.username = asked_unless_given(session, arguments, "username");
  out.password = arguments.option_or("password", "");
  if (out.password.empty()) out.password = session.terminal().ask_secret("password: ");
  return out;
}

void log_in(Session& session, Controller& controller, const Credentials& credentials) {
  const auto body = controller.post(
      "/v2/auth/login/", json::object{{"username", credentials.username}, {"password", credentials.password}});
  session.save_profile({.username = credentials.username,
                        .ssl_verify = controller.access().verify,
                        .controller = controller.access().url,
                        .token = text_of(body, "token"),
                        .response_limit = 0});
  session.out("Logged in as " + credentials.username + "\nConfiguration file written to " +
              session.profile_path().string() + "\n");
}

// An administrator's token is sent along, so that he can register others while registration is closed.
std::string token_for(Session& session, const std::string& url) {
  try {
    const auto profile = session.find_profile();
    return profile && profile->controller == url ? profile->token : "";
  } catch (const Error&) {
    return "";  // a broken profile is about to be replaced
  }
}

int auth_register(Session& session, const Arguments& arguments) {
  const auto url = controller_url(arguments.operand(0));
  const bool verify = is_on(arguments, "ssl-verify");
  auto controller = session.controller_at({.url = url, .token = token_for(session, url), .verify = verify});
  check_connection(controller);
  Credentials credentials{.username = asked_unless_given(session, arguments, "username"),
                          .password = arguments.option_or("password", "")};
  if (credentials.password.empty()) {
    credentials.password = session.terminal().ask_secret_twice(
        "password: ", "password (confirm): ", "Password mismatch, aborting registration.");
  }
  const auto email = asked_unless_given(session, arguments, "email");
  try {
    controller.post(
        "/v2/auth/register/",
        json::object{{"username", credentials.username}, {"password", credentials.password}, {"email", email}});
  } catch (const Error& error) {
    throw Failure{"Registration failed: Error: " + error.message() + "\n"};
  }
  session.out("Registered " + credentials.username + "\n");
  if (!is_on(arguments, "login")) return 0;
  auto anonymous = session.controller_at({.url = url, .verify = verify});
  log_in(session, anonymous, credentials);
  return 0;
}

int auth_login(Session& session, const Arguments& arguments) {
  auto controller =
      session.controller_at({.url = controller_url(arguments.operand(0)), .verify = is_on(arguments, "ssl-verify")});
  check_connection(controller);
  log_in(session, controller, ask_credentials(session, arguments));
  return 0;
}

int auth_logout(Session& session, const Arguments&) {
  session.forget_profile();
  session.out("Logged out\n");
  return 0;
}

int auth_passwd(Session& session, const Arguments& arguments) {
  auto& controller = session.controller();
  const auto username = arguments.option_or("username", "");
  auto current = arguments.option_or("password", "");
  auto fresh = arguments.option_or("new-password", "");
  auto& terminal = session.terminal();
  if (current.empty() && username.empty()) current = terminal.ask_secret("current password: ");
  if (fresh.empty()) {
    fresh = terminal.ask_secret_twice("new password: ", "new password (confirm): ", "Password mismatch, not changing.");
  }
  json::object body;
  if (!username.empty()) body["username"] = username;
  if (!current.empty()) body["password"] = current;
  body["new_password"] = fresh;
  try {
    controller.post("/v2/auth/passwd/", body);
  } catch (const Error& error) {
    throw Failure{"Password change failed: Error: " + error.message() + "\n"};
  }
  session.out("Password change succeeded.\n");
  return 0;
}

int auth_whoami(Session& session, const Arguments& arguments) {
  if (arguments.flag("all")) {
    session.out(render_account(session.controller().get("/v2/auth/whoami/")));
    return 0;
  }
  const auto& profile = session.profile();
  session.out("You are " + profile.username + " at " + profile.controller + "\n");
  return 0;
}

int auth_cancel(Session& session, const Arguments& arguments) {
  const Profile before = session.profile();
  const auto username = arguments.option_or("username", "");
  const bool log_in_again = username.empty() || !arguments.option_or("password", "").empty();
  if (log_in_again) {
    session.out("Please log in again in order to cancel this account\n");
    auto controller = session.controller_at({.url = before.controller, .verify = before.ssl_verify});
    log_in(session, controller, ask_credentials(session, arguments));
  }
  const auto& profile = session.profile();
  const std::string cancelled = username.empty() ? profile.username : username;
  if (!arguments.flag("yes")) {
    const auto answer =
        session.terminal().ask("cancel account " + cancelled + " at " + profile.controller + "? (y/N): ");
    if (answer != "y" && answer != "Y") {
      session.err("Account not changed\n");
      return 0;
    }
  }
  const bool own = cancelled == profile.username;
  auto& controller = session.controller();
  if (username.empty())
    controller.remove("/v2/auth/cancel/");
  else
    controller.remove("/v2/auth/cancel/", json::object{{"username", username}});
  if (own) session.forget_profile();
  session.out("Account cancelled\n");
  return 0;
}

int auth_regenerate(Session& session, const Arguments& arguments) {
  const auto username = arguments.option_or("username", "");
  std::optional<json::value> body;
  if (arguments.flag("all"))
    body = json::object{{"all", true}};
  else if (!username.empty())
    body = json::object{{"username", username}};
  const auto answer = session.controller().post("/v2/auth/tokens/", body);
  if (!body) {
    Profile profile = session.profile();
    profile.token = text_of(answer, "token");
    profile.response_limit = profile.page_size();
    session.save_profile(profile);
  }
  session.out("Token Regenerated\n");
  return 0;
}

constexpr Option username_option = {0, "username", "<username>", "the user's name; asked for if not given"};
constexpr Option password_option = {0, "password", "<password>", "the password; asked for if not given"};
constexpr Option verify_option = {0, "ssl-verify", "<true|false>",
                                  "false: accept any TLS certificate of the controller [default: true]"};
constexpr Operand controller_operand = {"<controller>", Count::one,
                                        "the controller's URL, such as http://deis.example.com"};

}  // namespace

std::vector<Command> auth_commands() {
  return {
      {.name = "auth:register",
       .summary = "register a new user",
       .description = "Registers a new user with a controller, and logs in.",
       .operands = {controller_operand},
       .options = {username_option,
                   password_option,
                   {0, "email", "<email>", "the user's e-mail address; asked for if not given"},
                   {0, "login", "<true|false>", "false: do not log in afterwards [default: true]"},
                   verify_option},
       .run = auth_register},
      {.name = "auth:login",
       .summary = "log in to a controller",
       .description = "Logs in to a controller, and remembers it for all further commands.",
       .operands = {controller_operand},
       .options = {username_option, password_option, verify_option},
       .run = auth_login},
      {.name = "auth:logout",
       .summary = "forget the current login",
       .description = "Logs out from a controller and forgets the session.",
       .run = auth_logout},
      {.name = "auth:passwd",
       .summary = "change a password",
       .description = "Changes the password of the current user, or of another one for administrators.",
       .options = {{0, "password", "<password>", "the current password; asked for if not given"},
                   {0, "new-password", "<new-password>", "the new one; asked for if not given"},
                   {0, "username", "<username>", "whose password to change (administrators only)"}},
       .run = auth_passwd},
      {.name = "auth:whoami",
       .summary = "show the current user",
       .description = "Displays the current user.",
       .options = {{0, "all", "", "everything that the controller knows about the account"}},
       .run = auth_whoami},
      {.name = "auth:cancel",
       .summary = "remove an account",
       .description = "Cancels and removes an account.",
       .options = {username_option, password_option, {0, "yes", "", "do not ask for confirmation"}},
       .run = auth_cancel},
      {.name = "auth:regenerate",
       .summary = "make a new token",
       .description = "Makes a new token for the current user, or for others as an administrator.",
       .options = {{'u', "username", "<username>", "whose token to replace (administrators only)"},
                   {0, "all", "", "replace the tokens of all users (administrators only)"}},
       .run = auth_regenerate},
  };
}

}  // namespace workflow::cli
