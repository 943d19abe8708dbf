#include "cli/cli.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "cli/dispatch.h"
#include "cli/help.h"
#include "cli/session.h"
#include "lib/base/error.h"

namespace workflow::cli {
namespace {

// Becomes the plugin: its exit status is ours.
int run_plugin(Session& session, const RunPlugin& plugin) {
  std::vector<std::string> words = plugin.words;
  words.insert(words.begin(), plugin.executable);
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(plugin.executable.c_str(), argv.data());
  if (errno == ENOENT) {
    session.err(no_match(session.program()));
  } else {
    session.err("Error: " + plugin.executable + " cannot be run; is the file executable?\n");
  }
  return 1;
}

int run_command(Session& session, const RunCommand& call) {
  const auto parsed = parse(session.program(), *call.command, call.words);
  if (parsed.help) {
    session.out(command_help(session.program(), *call.command));
    return 0;
  }
  if (parsed.profile) session.use_profile(*parsed.profile);
  return call.command->run(session, parsed.arguments);
}

int follow(Session& session, const Plan& plan) {
  if (const auto* call = std::get_if<RunCommand>(&plan)) return run_command(session, *call);
  if (const auto* plugin = std::get_if<RunPlugin>(&plan)) return run_plugin(session, *plugin);
  if (const auto* help = std::get_if<ShowResourceHelp>(&plan)) {
    session.out(resource_help(session.program(), *help->resource));
    return 0;
  }
  if (const auto* refusal = std::get_if<Refuse>(&plan)) {
    session.err(refusal->text);
    return 1;
  }
  session.out(program_help(session.program()));
  return 0;
}

}  // namespace

int cli_main(int argc, char** argv) {
  Session session(identity_of(argc > 0 ? argv[0] : ""), Env::from_process());
  try {
    return follow(session, plan(session.program(), std::vector<std::string>(argv + std::min(argc, 1), argv + argc)));
  } catch (const Failure& failure) {
    session.err(failure.text);
    return failure.status;
  } catch (const Error& error) {
    session.err("Error: " + error.message() + "\n");
  } catch (const std::exception& error) {
    session.err("Error: " + std::string(error.what()) + "\n");
  }
  return 1;
}

}  // namespace workflow::cli
