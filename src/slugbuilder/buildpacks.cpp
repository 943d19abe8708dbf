#include "slugbuilder/buildpacks.h"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include "lib/archive/archive.h"
#include "lib/async/process.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"
#include "slugbuilder/output.h"

namespace workflow::slugbuilder {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Sources $2…, as many as $1 says, then becomes the rest.
constexpr const char* with_exports =
    R"(n=$1; shift; while [ "$n" -gt 0 ]; do . "$1"; shift; n=$((n - 1)); done; exec "$@")";

ProcessSpec spec_of(Script script, const std::map<std::string, std::string>& env) {
  if (!script.exports.empty()) {
    std::vector<std::string> argv{"bash", "-c", with_exports, "bash", std::to_string(script.exports.size())};
    for (const auto& file : script.exports) argv.push_back(file.string());
    argv.insert(argv.end(), script.argv.begin(), script.argv.end());
    script.argv = std::move(argv);
  }
  ProcessSpec spec{.argv = std::move(script.argv),
                   .env = env,
                   .cwd = script.cwd.string(),
                   .new_session = true,
                   .die_with_parent = true};
  return spec;
}

}  // namespace

void Output::write(std::string_view bytes) const {
  while (!bytes.empty()) {
    const auto written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

Task<int> Runner::run_shown(Script script, Indent indent) const {
  auto spec = spec_of(std::move(script), env_);
  spec.out = ProcessSpec::Stream::pipe;
  ChildProcess child(spec);
  asio::posix::stream_descriptor stream(co_await asio::this_coro::executor, child.out().release());
  Indenter indenter;
  char piece[16 << 10];
  for (;;) {
    const auto [error, size] =
        co_await stream.async_read_some(asio::buffer(piece), asio::as_tuple(asio::use_awaitable));
    if (error) break;
    const std::string_view bytes(piece, size);
    output_.write(indent == Indent::yes ? indenter.feed(bytes) : std::string(bytes));
  }
  output_.write(indenter.finish());
  co_return co_await exited(child);
}

Task<std::pair<int, std::string>> Runner::run_collected(Script script, Errors errors) const {
  auto spec = spec_of(std::move(script), env_);
  auto done = co_await run(std::move(spec), 10min);
  if (errors == Errors::shown && !done.err.empty()) output_.write(done.err);
  co_return std::pair(done.status, std::string(trim(done.out)));
}

Task<std::optional<Buildpack>> detect(const Runner& runner, fs::path buildpacks, fs::path build,
                                      Runner::Errors errors) {
  std::vector<fs::path> candidates;
  for (const auto& entry : fs::directory_iterator(buildpacks)) {
    if (fs::exists(entry.path() / "bin" / "detect")) candidates.push_back(entry.path());
  }
  std::ranges::sort(candidates);
  for (const auto& candidate : candidates) {
    Script script{.argv = {(candidate / "bin/detect").string(), build.string()}, .cwd = build};
    const auto [status, name] = co_await runner.run_collected(std::move(script), errors);
    if (status == 0) co_return Buildpack{candidate, name};
  }
  co_return std::nullopt;
}

Task<fs::path> fetch_buildpack(const Runner& runner, BuildpackSource source, fs::path target) {
  const auto parent = target.parent_path();
  if (source.is_archive) {
    const auto file = target.string() + ".tgz";
    Script download{
        .argv = {"curl", "-fsSL", "--proto", "=http,https", "--max-time", "300", "-o", file, "--", source.url},
        .cwd = parent};
    if (const int status = co_await runner.run_shown(std::move(download), Runner::Indent::yes))
      throw ScriptFailed{status};
    fs::create_directories(target);
    Fd fd(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    archive::extract_tar(fd.get(), target, {.max_bytes = 1ull << 30});
    // An archive of a release often holds one folder that holds the rest.
    if (!fs::exists(target / "bin")) {
      for (const auto& entry : fs::directory_iterator(target)) {
        if (fs::exists(entry.path() / "bin")) co_return entry.path();
      }
    }
    co_return target;
  }
  std::vector<std::string> shallow{
      "git", "clone", "--quiet", "--depth=1", "--recurse-submodules", "--shallow-submodules"};
  if (!source.ref.empty()) shallow.insert(shallow.end(), {"--branch", source.ref});
  shallow.insert(shallow.end(), {"--", source.url, target.string()});
  Script clone{.argv = shallow, .cwd = parent};
  const bool by_commit = !source.ref.empty();
  auto [status, words] =
      co_await runner.run_collected(std::move(clone), by_commit ? Runner::Errors::hidden : Runner::Errors::shown);
  if (status == 0) co_return target;
  if (!by_commit) throw ScriptFailed{128};
  // Not a branch or tag: perhaps a commit, which only a whole clone surely has.
  fs::remove_all(target);
  Script whole{.argv = {"git", "clone", "--quiet", "--", source.url, target.string()}, .cwd = parent};
  if (const int failed = co_await runner.run_shown(std::move(whole), Runner::Indent::yes)) throw ScriptFailed{failed};
  for (const auto& argv :
       {std::vector<std::string>{"git", "checkout", "--quiet", source.ref, "--"},
        std::vector<std::string>{"git", "submodule", "--quiet", "update", "--init", "--recursive"}}) {
    Script step{.argv = argv, .cwd = target};
    if (const int failed = co_await runner.run_shown(std::move(step), Runner::Indent::yes)) throw ScriptFailed{failed};
  }
  co_return target;
}

}  // namespace workflow::slugbuilder
