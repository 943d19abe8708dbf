#include "cli/commands.h"
#include "cli/render.h"
#include "cli/session.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

json::value get_settings(Session& session, const std::string& app) {
  return session.controller().get(app_path(app, "settings/"));
}

struct Change {
  std::string_view path;  // below the app
  json::object values;
};

// "<text>... done"
int change(Session& session, const std::string& app, const std::string& text, Change change) {
  auto& controller = session.controller();
  with_progress(session, text + "... ",
                [&] { return controller.post(app_path(app, change.path), std::move(change.values)); });
  return 0;
}

int change_settings(Session& session, const std::string& app, const std::string& text, json::object values) {
  return change(session, app, text, {"settings/", std::move(values)});
}

int autoscale_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_autoscale(app, get_settings(session, app)));
  return 0;
}

int autoscale_set(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto& type = arguments.operand(0);
  json::object rule{{"min", number_option(arguments, "min", 0)},
                    {"max", number_option(arguments, "max", 0)},
                    {"cpu_percent", number_option(arguments, "cpu-percent", 0)}};
  return change_settings(session, app, "Applying autoscale settings for process type " + type + " on " + app,
                         {{"autoscale", json::object{{type, std::move(rule)}}}});
}

int autoscale_unset(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto& type = arguments.operand(0);
  return change_settings(session, app, "Removing autoscale for process type " + type + " on " + app,
                         {{"autoscale", json::object{{type, nullptr}}}});
}

int labels_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_labels(app, get_settings(session, app)));
  return 0;
}

int labels_set(Session& session, const Arguments& arguments) {
  json::object labels;
  for (const auto& word : arguments.operands()) {
    const auto label = parse_assignment(word);
    if (!label || label->second.empty() || label->second.find('=') != std::string::npos) {
      throw Error(
          ErrorKind::invalid,
          word +
              " is invalid, Must be in format key=value\nExamples: git_repo=https://git.example.com/app team=frontend");
    }
    labels[label->first] = label->second;
  }
  const auto app = session.app(arguments);
  return change_settings(session, app, "Applying labels on " + app, {{"label", std::move(labels)}});
}

int labels_unset(Session& session, const Arguments& arguments) {
  json::object labels;
  for (const auto& key : arguments.operands()) labels[key] = nullptr;
  const auto app = session.app(arguments);
  return change_settings(session, app, "Removing labels on " + app, {{"label", std::move(labels)}});
}

int maintenance_info(Session& session, const Arguments& arguments) {
  const auto settings = get_settings(session, session.app(arguments));
  session.out(find_bool(settings, {"maintenance"}).value_or(false) ? "Maintenance mode is on.\n"
                                                                   : "Maintenance mode is off.\n");
  return 0;
}

int maintenance_on(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change_settings(session, app, "Enabling maintenance mode for " + app, {{"maintenance", true}});
}

int maintenance_off(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change_settings(session, app, "Disabling maintenance mode for " + app, {{"maintenance", false}});
}

int routing_info(Session& session, const Arguments& arguments) {
  const auto settings = get_settings(session, session.app(arguments));
  session.out(find_bool(settings, {"routable"}).value_or(true) ? "Routing is enabled.\n" : "Routing is disabled.\n");
  return 0;
}

int routing_enable(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change_settings(session, app, "Enabling routing for " + app, {{"routable", true}});
}

int routing_disable(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change_settings(session, app, "Disabling routing for " + app, {{"routable", false}});
}

int tls_info(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_tls(app, session.controller().get(app_path(app, "tls/"))));
  return 0;
}

int tls_enable(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change(session, app, "Enabling https-only requests for " + app, {"tls/", {{"https_enforced", true}}});
}

int tls_disable(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change(session, app, "Disabling https-only requests for " + app, {"tls/", {{"https_enforced", false}}});
}

int tls_auto(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change(session, app, "Enabling automatic certificates for " + app, {"tls/", {{"certs_auto_enabled", true}}});
}

int tls_auto_disable(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  return change(session, app, "Disabling automatic certificates for " + app, {"tls/", {{"certs_auto_enabled", false}}});
}

int whitelist_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_whitelist(app, session.controller().get(app_path(app, "whitelist/"))));
  return 0;
}

json::object addresses_of(const std::string& text) {
  json::array addresses;
  for (const auto& address : split(text, ',')) addresses.emplace_back(address);
  if (text.empty()) addresses.emplace_back("");  // the server says what is wrong with it
  return {{"addresses", std::move(addresses)}};
}

int whitelist_add(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto& text = arguments.operand(0);
  with_progress(session, "Adding " + text + " to " + app + " whitelist...\n",
                [&] { return controller.post(app_path(app, "whitelist/"), addresses_of(text)); });
  return 0;
}

int whitelist_remove(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto& text = arguments.operand(0);
  with_progress(session, "Removing " + text + " from " + app + " whitelist...\n",
                [&] { return controller.remove(app_path(app, "whitelist/"), addresses_of(text)); });
  return 0;
}

}  // namespace

std::vector<Command> settings_commands() {
  constexpr Operand type = {"<process-type>", Count::one, "a process type, such as web"};
  constexpr Operand addresses = {"<addresses>", Count::one,
                                 "IP addresses and networks, separated by commas: 1.2.3.4,10.0.0.0/8"};
  return {
      {.name = "autoscale:list",
       .summary = "list autoscale rules for an app",
       .description = "Prints a list of autoscale rules of the application.",
       .options = {app_option},
       .run = autoscale_list},
      {.name = "autoscale:set",
       .summary = "set autoscale rules for an app",
       .description = "Sets autoscale rules for a process type of an application.",
       .operands = {type},
       .options = {{0, "min", "<num>", "the fewest processes"},
                   {0, "max", "<num>", "the most processes"},
                   {0, "cpu-percent", "<num>", "the CPU load to keep to, in percent"},
                   app_option},
       .required = {"min", "max", "cpu-percent"},
       .usage = "<process-type> --min=<min> --max=<max> --cpu-percent=<percent> [options]",
       .run = autoscale_set},
      {.name = "autoscale:unset",
       .summary = "unset autoscale rules for an app",
       .description = "Removes the autoscale rules of a process type.",
       .operands = {type},
       .options = {app_option},
       .run = autoscale_unset},
      {.name = "labels:list",
       .summary = "list labels for an app",
       .description = "Prints a list of labels of the application.",
       .options = {app_option},
       .run = labels_list},
      {.name = "labels:set",
       .summary = "set labels for an app",
       .description = "Sets labels for an application.",
       .operands = {{"<key>=<value>", Count::many, "the label, such as team=frontend"}},
       .options = {app_option},
       .usage = "[options] <key>=<value>...",
       .run = labels_set},
      {.name = "labels:unset",
       .summary = "unset labels for an app",
       .description = "Unsets labels for an application.",
       .operands = {{"<key>", Count::many, "the label to remove"}},
       .options = {app_option},
       .usage = "[options] <key>...",
       .run = labels_unset},
      {.name = "maintenance:info",
       .summary = "show whether an app is in maintenance mode",
       .description = "Prints info about the current application's maintenance status.",
       .options = {app_option},
       .run = maintenance_info},
      {.name = "maintenance:on",
       .summary = "answer every request with a maintenance page",
       .description = "Enables maintenance mode for an app.",
       .options = {app_option},
       .run = maintenance_on},
      {.name = "maintenance:off",
       .summary = "serve the app again",
       .description = "Disables maintenance mode for an app.",
       .options = {app_option},
       .run = maintenance_off},
      {.name = "routing:info",
       .summary = "show whether an app is reachable",
       .description = "Prints info about the current application's routability.",
       .options = {app_option},
       .run = routing_info},
      {.name = "routing:enable",
       .summary = "make an app reachable through the router",
       .description = "Enables routability for an app.",
       .options = {app_option},
       .run = routing_enable},
      {.name = "routing:disable",
       .summary = "take an app off the router",
       .description = "Disables routability for an app.",
       .options = {app_option},
       .run = routing_disable},
      {.name = "tls:info",
       .summary = "show whether an app requires HTTPS",
       .description = "Prints info about the current application's TLS settings.",
       .options = {app_option},
       .run = tls_info},
      {.name = "tls:enable",
       .summary = "redirect plain HTTP to HTTPS",
       .description = "Enables the enforcement of HTTPS for an app.",
       .options = {app_option},
       .run = tls_enable},
      {.name = "tls:disable",
       .summary = "serve plain HTTP too",
       .description = "Disables the enforcement of HTTPS for an app.",
       .options = {app_option},
       .run = tls_disable},
      {.name = "tls:auto",
       .summary = "get certificates for the domains by themselves",
       .description = "Lets the router get, and renew, a certificate for each domain of an app that has none.",
       .options = {app_option},
       .run = tls_auto},
      {.name = "tls:auto:disable",
       .summary = "get no certificates by themselves",
       .description = "Ends that: certificates that are there are not renewed, nor served, any more.",
       .options = {app_option},
       .run = tls_auto_disable},
      {.name = "whitelist:list",
       .summary = "list addresses that may reach an app",
       .description = "Lists the addresses that may reach an application; without any, everybody may.",
       .options = {app_option},
       .run = whitelist_list},
      {.name = "whitelist:add",
       .summary = "let addresses reach an app",
       .description = "Adds addresses to an application's whitelist.",
       .operands = {addresses},
       .options = {app_option},
       .run = whitelist_add},
      {.name = "whitelist:remove",
       .summary = "remove addresses from the whitelist",
       .description = "Removes addresses from an application's whitelist.",
       .operands = {addresses},
       .options = {app_option},
       .run = whitelist_remove},
  };
}

}  // namespace workflow::cli
