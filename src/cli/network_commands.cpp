#include "cli/commands.h"
#include "cli/render.h"
#include "cli/session.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::cli {
namespace {

int domains_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_domains(app, session.controller().page(app_path(app, "domains/"), session.limit(arguments))));
  return 0;
}

int domains_add(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto& domain = arguments.operand(0);
  with_progress(session, "Adding " + domain + " to " + app + "... ",
                [&] { return controller.post(app_path(app, "domains/"), json::object{{"domain", domain}}); });
  return 0;
}

int domains_remove(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto& domain = arguments.operand(0);
  with_progress(session, "Removing " + domain + " from " + app + "... ",
                [&] { return controller.remove(app_path(app, "domains/" + escaped(domain))); });
  return 0;
}

std::string certificate_path(const std::string& name) { return "/v2/certs/" + escaped(name); }

int certs_list(Session& session, const Arguments& arguments) {
  const auto page = session.controller().page("/v2/certs/", session.limit(arguments));
  session.out(render_certificates(page.results, SystemClock().now()));
  return 0;
}

std::string read_or_refuse(const std::string& path) {
  auto text = find_file(path);
  if (!text) throw Error(ErrorKind::not_found, "open " + path + ": no such file or directory");
  return std::move(*text);
}

int certs_add(Session& session, const Arguments& arguments) {
  auto& controller = session.controller();
  with_progress(session, "Adding SSL endpoint... ", [&] {
    const json::object body{{"certificate", read_or_refuse(arguments.operand(1))},
                            {"key", read_or_refuse(arguments.operand(2))},
                            {"name", arguments.operand(0)}};
    return controller.post("/v2/certs/", body);
  });
  return 0;
}

int certs_remove(Session& session, const Arguments& arguments) {
  auto& controller = session.controller();
  const auto& name = arguments.operand(0);
  with_progress(session, "Removing " + name + "... ", [&] { return controller.remove(certificate_path(name)); });
  return 0;
}

int certs_info(Session& session, const Arguments& arguments) {
  session.out(render_certificate(session.controller().get(certificate_path(arguments.operand(0)))));
  return 0;
}

int certs_attach(Session& session, const Arguments& arguments) {
  auto& controller = session.controller();
  const auto& name = arguments.operand(0);
  const auto& domain = arguments.operand(1);
  with_progress(session, "Attaching certificate " + name + " to domain " + domain + "... ",
                [&] { return controller.post(certificate_path(name) + "/domain/", json::object{{"domain", domain}}); });
  return 0;
}

int certs_detach(Session& session, const Arguments& arguments) {
  auto& controller = session.controller();
  const auto& name = arguments.operand(0);
  const auto& domain = arguments.operand(1);
  with_progress(session, "Detaching certificate " + name + " from domain " + domain + "... ",
                [&] { return controller.remove(certificate_path(name) + "/domain/" + escaped(domain)); });
  return 0;
}

int services_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_services(app, session.controller().get(app_path(app, "services/"))));
  return 0;
}

int services_add(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto type = arguments.option_or("type", ""), route = arguments.option_or("route", "");
  with_progress(session, "Adding " + type + " (" + route + ") to " + app + "... ", [&] {
    return controller.post(app_path(app, "services/"), json::object{{"procfile_type", type}, {"path_pattern", route}});
  });
  return 0;
}

int services_remove(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  auto& controller = session.controller();
  const auto& type = arguments.operand(0);
  with_progress(session, "Removing " + type + " from " + app + "... ",
                [&] { return controller.remove(app_path(app, "services/"), json::object{{"procfile_type", type}}); });
  return 0;
}

}  // namespace

std::vector<Command> network_commands() {
  constexpr Operand domain = {"<domain>", Count::one, "a host name, such as www.example.com or *.example.com"};
  constexpr Operand name = {"<name>", Count::one, "the certificate's name: lower-case letters, digits, hyphens"};
  return {
      {.name = "certs:list",
       .summary = "list TLS certificates",
       .description = "Lists the TLS certificates that you may use.",
       .options = {limit_option},
       .run = certs_list},
      {.name = "certs:add",
       .summary = "add a TLS certificate",
       .description = "Adds a TLS certificate with its key.",
       .operands = {name,
                    {"<cert>", Count::one, "file of the certificate with its chain, PEM"},
                    {"<key>", Count::one, "file of the private key, PEM"}},
       .run = certs_add},
      {.name = "certs:remove",
       .summary = "remove a TLS certificate",
       .description = "Removes a TLS certificate.",
       .operands = {name},
       .run = certs_remove},
      {.name = "certs:info",
       .summary = "show a TLS certificate",
       .description = "Prints info about a TLS certificate.",
       .operands = {name},
       .run = certs_info},
      {.name = "certs:attach",
       .summary = "use a certificate for a domain",
       .description = "Attaches a certificate to a domain.",
       .operands = {name, domain},
       .run = certs_attach},
      {.name = "certs:detach",
       .summary = "stop using a certificate for a domain",
       .description = "Detaches a certificate from a domain.",
       .operands = {name, domain},
       .run = certs_detach},
      {.name = "domains:list",
       .summary = "list domains of an app",
       .description = "Lists domains bound to an application.",
       .options = {app_option, limit_option},
       .run = domains_list},
      {.name = "domains:add",
       .summary = "add a domain to an app",
       .description = "Adds a domain to an application.",
       .operands = {domain},
       .options = {app_option},
       .run = domains_add},
      {.name = "domains:remove",
       .summary = "remove a domain from an app",
       .description = "Removes a domain from an application.",
       .operands = {domain},
       .options = {app_option},
       .run = domains_remove},
      {.name = "services:list",
       .summary = "list paths and the process types that answer them",
       .description = "Lists the services of an application.",
       .options = {app_option},
       .run = services_list},
      {.name = "services:add",
       .summary = "let a process type answer a path",
       .description = "Routes requests for a path to a process type of an application.",
       .options = {{0, "type", "<procfile_type>", "the process type"},
                   {0, "route", "<path_pattern>", "paths, separated by commas; '~ ' before a regular expression"},
                   app_option},
       .required = {"type", "route"},
       .usage = "--type <procfile_type> --route <path_pattern> [options]",
       .run = services_add},
      {.name = "services:remove",
       .summary = "remove the paths of a process type",
       .description = "Removes a service from an application.",
       .operands = {{"<procfile_type>", Count::one, "the process type"}},
       .options = {app_option},
       .run = services_remove},
  };
}

}  // namespace workflow::cli
