// src/cli/session.h: what one call of the client knows and may use. Commands get it and nothing else.
#pragma once
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/controller.h"
#include "cli/grammar.h"
#include "cli/identity.h"
#include "cli/profile.h"
#include "cli/terminal.h"
#include "lib/base/settings.h"

namespace workflow::cli {

class Session {
 public:
  Session(Identity identity, Env env) : identity_(std::move(identity)), env_(std::move(env)) {}

  const Identity& identity() const { return identity_; }
  const std::string& program() const { return identity_.program; }
  const Env& env() const { return env_; }
  Terminal& terminal() { return terminal_; }
  void out(std::string_view text) { terminal_.out(text); }
  void err(std::string_view text) { terminal_.err(text); }
  std::filesystem::path home() const;

  void use_profile(std::string name) { profile_name_ = std::move(name); }
  std::filesystem::path profile_path() const;
  std::optional<Profile> find_profile() const;
  const Profile& profile();  // throws Failure that says how to log in
  void save_profile(const Profile& profile);
  void forget_profile();  // deletes the file

  Controller& controller();                             // as the profile says
  Controller controller_at(Controller::Access access);  // through the environment's proxies

  // --app, else what the git remotes say, else the name of the current folder.
  std::string app(const Arguments& arguments);
  bool app_was_given(const Arguments& arguments) const;
  std::int64_t limit(const Arguments& arguments);  // --limit, else the profile's
  std::string drink() const;

 private:
  Identity identity_;
  Env env_;
  Terminal terminal_;
  std::optional<std::string> profile_name_;
  std::optional<Profile> profile_;
  std::unique_ptr<Controller> controller_;
};

// A number that an option wants. Throws invalid naming the option.
std::int64_t number_option(const Arguments& arguments, std::string_view name, std::int64_t fallback);

// "Creating config... ", the work, "done". The result of the work.
template <typename Work>
auto with_progress(Session& session, std::string_view text, Work work) {
  Progress progress(session.terminal(), text);
  auto result = work();
  progress.done();
  return result;
}

}  // namespace workflow::cli
