#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <iostream>

#include "lib/archive/archive.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/init.h"
#include "lib/base/log.h"
#include "lib/base/process.h"
#include "lib/base/settings.h"
#include "lib/base/text.h"
#include "slugrunner/process_types.h"
#include "slugrunner/slugrunner.h"

namespace workflow::slugrunner {
namespace {

namespace fs = std::filesystem;

// Fixed text: the command comes as an argument and is never pasted into it.
constexpr const char* start_script = R"(
for profile in .profile.d/*; do [ ! -f "$profile" ] || . "$profile"; done
[ ! -f .profile ] || . ./.profile
hash -r
exec bash -c "$1"
)";

bool holds_nothing(const fs::path& folder) { return !fs::exists(folder) || fs::is_empty(folder); }

void obtain_slug(const Env& env, const fs::path& folder) {
  if (!holds_nothing(folder)) return;
  fs::create_directories(folder);
  const auto url = env.find("SLUG_URL").value_or("");
  if (url.empty()) return archive::extract_tar(STDIN_FILENO, folder);
  std::exception_ptr failure;
  const int status = run_main([&](Executor executor) -> Task<> {
    try {
      co_await fetch_slug(executor, url, folder);
    } catch (const Error&) {
      failure = std::current_exception();
    }
  });
  if (failure) std::rethrow_exception(failure);
  if (status != 0) throw Error(ErrorKind::unavailable, "stopped while the slug was fetched");
}

std::string words(int argc, char** argv) {
  std::vector<std::string> list(argv + 1, argv + argc);
  return join(list, " ");
}

int start(int argc, char** argv) {
  if (argc < 2) throw Error(ErrorKind::invalid, "usage: init start TYPE | init COMMAND…");
  const auto env = Env::from_process();
  const fs::path folder = env.find("SLUG_DIR").value_or("/app");
  obtain_slug(env, folder);
  const auto release_text = find_file(folder / ".release");
  const auto release = release_text ? procfile::parse_release(*release_text) : procfile::Release{};
  const auto command = std::string_view(argv[1]) == "start" && argc == 3
                           ? command_of(argv[2], find_file(folder / "Procfile"), release)
                           : words(argc, argv);
  return run_app(command, folder, app_environment(env.all(), release, folder.string()));
}

}  // namespace

int run_app(const std::string& command, const fs::path& folder, const std::map<std::string, std::string>& env) {
  block_signals();
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // as process 1 does by itself: orphans come to us, also in tests

  ProcessSpec spec{.argv = {"bash", "-c", start_script, "bash", command}};
  spec.env = env;
  spec.cwd = folder.string();
  spec.in = ProcessSpec::Stream::inherit;
  // A terminal's foreground job must stay in the terminal's session; otherwise a group of its own takes every signal.
  spec.new_session = ::isatty(STDIN_FILENO) == 0;
  ChildProcess app(spec);
  const int status = attend(app.pid(), spec.new_session ? PassSignalsTo::group : PassSignalsTo::process);
  app.signal(SIGTERM);  // what it left behind in its group goes with it
  app.detach();
  return status;
}

int slugrunner_main(int argc, char** argv) {
  log::configure("slugrunner", log::Level::warn, log::Format::logfmt);
  try {
    return start(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

}  // namespace workflow::slugrunner
