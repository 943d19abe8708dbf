// src/slugbuilder/buildpacks.h: finding buildpacks and running their scripts.
#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/async/task.h"
#include "slugbuilder/slug.h"

namespace workflow::slugbuilder {

// Where a build's words go: standard output, or standard error when the slug itself goes to standard output.
class Output {
 public:
  explicit Output(int fd) : fd_(fd) {}
  void heading(const std::string& text) const { write("-----> " + text + "\n"); }
  void detail(const std::string& text) const { write("       " + text + "\n"); }
  void warning(const std::string& text) const { write(" !     " + text + "\n"); }
  void write(std::string_view bytes) const;

 private:
  int fd_;
};

// A failing script ends the build with its own exit status.
struct ScriptFailed {
  int status;
};

struct Script {
  std::vector<std::string> argv;
  std::filesystem::path cwd;
  std::vector<std::filesystem::path> exports;  // sourced first: `export` files of earlier buildpacks
};
// Runs build scripts with only the given environment.
class Runner {
 public:
  Runner(std::map<std::string, std::string> env, Output output) : env_(std::move(env)), output_(output) {}
  enum class Indent { no, yes };
  enum class Errors { hidden, shown };
  Task<int> run_shown(Script script, Indent indent) const;  // output as it comes; returns the status
  Task<std::pair<int, std::string>> run_collected(Script script, Errors errors) const;  // status and standard output
  const Output& output() const { return output_; }

 private:
  std::map<std::string, std::string> env_;
  Output output_;
};

struct Buildpack {
  std::filesystem::path folder;
  std::string name;  // what detect printed
};

// The first of the stack's own buildpacks that recognises the app.
Task<std::optional<Buildpack>> detect(const Runner& runner, std::filesystem::path buildpacks,
                                      std::filesystem::path build, Runner::Errors errors);
// Fetches a buildpack into `target`; throws ScriptFailed (128 for git) after showing why.
Task<std::filesystem::path> fetch_buildpack(const Runner& runner, BuildpackSource source, std::filesystem::path target);

}  // namespace workflow::slugbuilder
