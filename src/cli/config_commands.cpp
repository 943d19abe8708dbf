#include <algorithm>
#include <cctype>

#include "cli/commands.h"
#include "cli/dotenv.h"
#include "cli/limit_value.h"
#include "cli/ps_target.h"
#include "cli/render.h"
#include "cli/session.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::cli {
namespace {

json::value get_config(Session& session, const std::string& app) {
  return session.controller().get(app_path(app, "config/"));
}

// Everything here is a part of the app's config: a change is posted, and answered with all of it.
json::value change_config(Session& session, const std::string& app, std::string_view progress_text,
                          const json::object& change) {
  auto& controller = session.controller();
  Progress progress(session.terminal(), progress_text);
  const auto config = controller.post(app_path(app, "config/"), change);
  const auto release = find_string(config, {"values", "WORKFLOW_RELEASE"});
  progress.done((release && change.contains("values") ? "done, " + *release : "done") + "\n\n");
  return config;
}

json::object nulls(const std::vector<std::string>& keys) {
  json::object out;
  for (const auto& key : keys) out[key] = nullptr;
  return out;
}

// ---- config

void warn_of_old_healthchecks(Session& session, const Settings& settings) {
  for (const auto& [key, value] : settings) {
    if (key.find("HEALTHCHECK_") == std::string::npos) continue;
    session.out("Hey there! We've noticed that you're using '" + session.program() + " config:set " + key +
                "' to set up a healthcheck.\nThis way is deprecated.\nUse '" + session.program() +
                " healthchecks' instead.\n");
  }
}

int set_config(Session& session, const std::string& app, const Settings& settings) {
  warn_of_old_healthchecks(session, settings);
  json::object values;
  for (const auto& [key, value] : settings) values[key] = key == "SSH_KEY" ? ssh_key_value(value) : value;
  const auto config = change_config(session, app, "Creating config... ", {{"values", values}});
  session.out(render_config(app, config));
  return 0;
}

int config_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto config = get_config(session, app);
  const auto values = pairs_of(config, "values");
  if (arguments.flag("oneline")) {
    std::vector<std::string> words;
    for (const auto& [key, value] : values) words.push_back(key + "=" + value);
    if (!words.empty()) session.out(join(words, " ") + "\n");
  } else if (arguments.flag("diff")) {
    session.out(print_dotenv(values));
  } else {
    session.out(render_config(app, config));
  }
  return 0;
}

int config_set(Session& session, const Arguments& arguments) {
  Settings settings;
  for (const auto& word : arguments.operands()) {
    if (word.starts_with('#')) continue;
    auto setting = parse_setting(word);
    if (!setting) refuse_setting(word);
    settings.insert_or_assign(std::move(setting->first), std::move(setting->second));
  }
  return set_config(session, session.app(arguments), settings);
}

int config_unset(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto config = change_config(session, app, "Removing config... ", {{"values", nulls(arguments.operands())}});
  session.out(render_config(app, config));
  return 0;
}

// Local keys stay, remote ones are added; where both differ the user decides.
Settings merged(Session& session, Settings local, const Settings& remote) {
  for (const auto& [key, value] : remote) {
    const auto found = local.find(key);
    if (found == local.end()) {
      local.emplace(key, value);
    } else if (found->second != value) {
      const auto answer = session.terminal().ask(key + ": overwrite " + found->second + " with " + value + "? (y/N) ");
      if (answer == "y" || answer == "Y") found->second = value;
    }
  }
  return local;
}

int config_pull(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  Settings settings = pairs_of(get_config(session, app), "values");
  if (!session.terminal().out_is_character_device()) {
    session.out(print_dotenv(settings));
    return 0;
  }
  const std::string path = ".env";
  const auto local = find_file(path);
  if (local && !arguments.flag("overwrite")) {
    throw Error(ErrorKind::conflict, path + " already exists, pass -o to overwrite");
  }
  if (arguments.flag("interactive")) {
    if (!local) throw Error(ErrorKind::not_found, "open " + path + ": no such file or directory");
    settings = merged(session, parse_dotenv(*local), settings);
  }
  write_file_atomically(path, print_dotenv(settings), 0600);
  return 0;
}

int config_push(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  std::string text;
  if (session.terminal().in_is_character_device()) {
    const auto path = arguments.option_or("path", ".env");
    const auto found = find_file(path);
    if (!found) throw Error(ErrorKind::not_found, "open " + path + ": no such file or directory");
    text = *found;
  } else {
    text = session.terminal().read_all();
  }
  return set_config(session, app, parse_dotenv(text));
}

// ---- limits

int limits_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_limits(app, get_config(session, app)));
  return 0;
}

int change_limits(Session& session, const Arguments& arguments, json::object values) {
  const auto app = session.app(arguments);
  const auto config = change_config(session, app, "Applying limits... ",
                                    {{arguments.flag("cpu") ? "cpu" : "memory", std::move(values)}});
  session.out(render_limits(app, config));
  return 0;
}

int limits_set(Session& session, const Arguments& arguments) {
  json::object values;
  for (const auto& word : arguments.operands()) {
    const auto limit = parse_assignment(word);
    if (!limit || !is_process_type(limit->first) || !is_limit(limit->second)) {
      throw Error(ErrorKind::invalid, word +
                                          " doesn't fit format type=#unit or type=# or type=#/#\n"
                                          "Examples: web=2G worker=500M db=1G/2G");
    }
    values[limit->first] = limit->second;
  }
  return change_limits(session, arguments, std::move(values));
}

int limits_unset(Session& session, const Arguments& arguments) {
  return change_limits(session, arguments, nulls(arguments.operands()));
}

// ---- tags

int tags_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_tags(app, get_config(session, app)));
  return 0;
}

int change_tags(Session& session, const Arguments& arguments, json::object tags) {
  const auto app = session.app(arguments);
  session.out(render_tags(app, change_config(session, app, "Applying tags... ", {{"tags", std::move(tags)}})));
  return 0;
}

int tags_set(Session& session, const Arguments& arguments) {
  json::object tags;
  for (const auto& word : arguments.operands()) {
    const auto tag = parse_assignment(word);
    if (!tag || tag->second.empty() || tag->second.find('=') != std::string::npos) {
      throw Error(ErrorKind::invalid,
                  word + " is invalid, Must be in format key=value\nExamples: rack=1 evironment=production");
    }
    tags[tag->first] = tag->second;
  }
  return change_tags(session, arguments, std::move(tags));
}

int tags_unset(Session& session, const Arguments& arguments) {
  return change_tags(session, arguments, nulls(arguments.operands()));
}

// ---- registry

int registry_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  const auto password = arguments.flag("reveal") ? Password::shown : Password::hidden;
  session.out(render_registry(app, get_config(session, app), password));
  return 0;
}

int change_registry(Session& session, const Arguments& arguments, json::object values) {
  const auto app = session.app(arguments);
  const auto config =
      change_config(session, app, "Applying registry information... ", {{"registry", std::move(values)}});
  session.out(render_registry(app, config, Password::hidden));
  return 0;
}

int registry_set(Session& session, const Arguments& arguments) {
  json::object values;
  for (const auto& word : arguments.operands()) {
    const auto value = parse_assignment(word);
    if (!value || value->second.empty()) {
      throw Error(ErrorKind::invalid,
                  word + " is invalid. Must be in format key=value\nExamples: username=bob password=s3cur3pw1");
    }
    if (value->first != "username" && value->first != "password") {
      throw Error(ErrorKind::invalid, value->first + " is invalid. Valid keys are \"username\" or \"password\"");
    }
    values[value->first] = value->second;
  }
  return change_registry(session, arguments, std::move(values));
}

int registry_unset(Session& session, const Arguments& arguments) {
  return change_registry(session, arguments, nulls(arguments.operands()));
}

// ---- timeouts

int timeouts_list(Session& session, const Arguments& arguments) {
  const auto app = session.app(arguments);
  session.out(render_timeouts(app, get_config(session, app)));
  return 0;
}

int change_timeouts(Session& session, const Arguments& arguments, json::object values) {
  const auto app = session.app(arguments);
  const auto config =
      change_config(session, app, "Applying timeouts... ", {{"termination_grace_period", std::move(values)}});
  session.out(render_timeouts(app, config));
  return 0;
}

int timeouts_set(Session& session, const Arguments& arguments) {
  json::object values;
  for (const auto& word : arguments.operands()) {
    const auto timeout = parse_scale_target(word);
    if (!timeout) {
      throw Error(ErrorKind::invalid, word + " doesn't fit format type=#\nExamples: web=30 worker=300");
    }
    values[timeout->type] = std::to_string(timeout->count);
  }
  return change_timeouts(session, arguments, std::move(values));
}

int timeouts_unset(Session& session, const Arguments& arguments) {
  return change_timeouts(session, arguments, nulls(arguments.operands()));
}

}  // namespace

std::vector<Command> config_commands() {
  constexpr Option cpu = {0, "cpu", "", "limit CPU"};
  constexpr Option memory = {'m', "memory", "", "limit memory [default]"};
  constexpr Operand types = {"<type>", Count::many, "a process type, such as web"};
  constexpr Operand keys = {"<key>", Count::many, "the key to remove"};
  return {
      {.name = "config:list",
       .summary = "list environment variables for an app",
       .description = "Lists environment variables for an application.",
       .options = {{0, "oneline", "", "all of them on one line"},
                   {0, "diff", "", "KEY=value lines, to compare or to save"},
                   app_option},
       .run = config_list},
      {.name = "config:set",
       .summary = "set environment variables for an app",
       .description = "Sets environment variables for an application.",
       .operands = {{"<var>=<value>", Count::many, "variable and value, such as MODE=test"}},
       .options = {app_option},
       .usage = "<var>=<value> [<var>=<value>...] [options]",
       .run = config_set},
      {.name = "config:unset",
       .summary = "unset environment variables for an app",
       .description = "Unsets an environment variable for an application.",
       .operands = {{"<key>", Count::many, "the variable to remove"}},
       .options = {app_option},
       .run = config_unset},
      {.name = "config:pull",
       .summary = "extract environment variables to .env",
       .description = "Extract all environment variables from an application for local use.\n\n"
                      "Writes the file .env, or KEY=value lines when the output is no terminal.",
       .options = {app_option,
                   {'i', "interactive", "", "ask before a value of .env is replaced (with -o)"},
                   {'o', "overwrite", "", "replace an existing .env"}},
       .run = config_pull},
      {.name = "config:push",
       .summary = "set environment variables from .env",
       .description = "Sets environment variables for an application.\n\n"
                      "Reads KEY=value lines from a file, or from standard input when that is no terminal.",
       .options = {app_option, {'p', "path", "<path>", "the file to read [default: .env]"}},
       .run = config_push},
      {.name = "limits:list",
       .summary = "list resource limits for an app",
       .description = "Lists resource limits for an application.",
       .options = {app_option},
       .run = limits_list},
      {.name = "limits:set",
       .summary = "set resource limits for an app",
       .description = "Sets resource limits for an application.\n\n"
                      "A limit is a maximum (512M, 1G; 500m, 2 for CPU), or request/maximum (256M/512M).",
       .operands = {{"<type>=<value>", Count::many, "process type and limit, such as web=512M"}},
       .options = {app_option, cpu, memory},
       .usage = "[options] <type>=<value>...",
       .run = limits_set},
      {.name = "limits:unset",
       .summary = "unset resource limits for an app",
       .description = "Unsets resource limits for an application.",
       .operands = {types},
       .options = {app_option, cpu, memory},
       .exclusive = {{"cpu", "memory"}},
       .usage = "[options] [--memory | --cpu] <type>...",
       .run = limits_unset},
      {.name = "registry:list",
       .summary = "list registry info for an app",
       .description = "Lists registry information for an application.",
       .options = {app_option, {0, "reveal", "", "show the password"}},
       .run = registry_list},
      {.name = "registry:set",
       .summary = "set registry info for an app",
       .description = "Sets registry information for an application.",
       .operands = {{"<key>=<value>", Count::many, "username=<name> or password=<password>"}},
       .options = {app_option},
       .usage = "[options] <key>=<value>...",
       .run = registry_set},
      {.name = "registry:unset",
       .summary = "unset registry info for an app",
       .description = "Unsets registry information for an application.",
       .operands = {keys},
       .options = {app_option},
       .usage = "[options] <key>...",
       .run = registry_unset},
      {.name = "tags:list",
       .summary = "list tags for an app",
       .description = "Lists tags for an application.",
       .options = {app_option},
       .run = tags_list},
      {.name = "tags:set",
       .summary = "set tags for an app",
       .description = "Sets tags for an application.\n\nIt then runs only on nodes with these labels.",
       .operands = {{"<key>=<value>", Count::many, "label of a node, such as rack=1"}},
       .options = {app_option},
       .usage = "[options] <key>=<value>...",
       .run = tags_set},
      {.name = "tags:unset",
       .summary = "unset tags for an app",
       .description = "Unsets tags for an application.",
       .operands = {keys},
       .options = {app_option},
       .usage = "[options] <key>...",
       .run = tags_unset},
      {.name = "timeouts:list",
       .summary = "list termination grace periods for an app",
       .description = "Lists how long processes of an application may take to stop.",
       .options = {app_option},
       .run = timeouts_list},
      {.name = "timeouts:set",
       .summary = "set termination grace periods for an app",
       .description = "Sets how long processes of an application may take to stop.",
       .operands = {{"<type>=<value>", Count::many, "process type and seconds, such as web=30"}},
       .options = {app_option},
       .usage = "[options] <type>=<value>...",
       .run = timeouts_set},
      {.name = "timeouts:unset",
       .summary = "unset termination grace periods for an app",
       .description = "Unsets how long processes of an application may take to stop.",
       .operands = {types},
       .options = {app_option},
       .usage = "[options] <type>...",
       .run = timeouts_unset},
  };
}

}  // namespace workflow::cli
