#include "cli/session.h"

#include "cli/git.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::cli {

namespace fs = std::filesystem;

fs::path Session::home() const { return env_.find("HOME").value_or(""); }

fs::path Session::profile_path() const {
  std::string name = env_.find(identity_.profile_variable).value_or("client");
  if (profile_name_ && !profile_name_->empty()) name = *profile_name_;
  return cli::profile_path(identity_, name, home());
}

std::optional<Profile> Session::find_profile() const { return cli::find_profile(profile_path()); }

const Profile& Session::profile() {
  if (!profile_) profile_ = find_profile();
  if (!profile_) {
    throw Failure{"Error: Client configuration file not found at: " + profile_path().string() +
                  "\nAre you logged in? Use '" + program() + " login' or '" + program() +
                  " register' to get started.\n"};
  }
  return *profile_;
}

void Session::save_profile(const Profile& profile) {
  cli::save_profile(profile_path(), home() / identity_.profile_folder, profile);
  profile_ = profile;
  controller_.reset();
}

void Session::forget_profile() {
  std::error_code ignored;  // an absent file is what we want
  fs::remove(profile_path(), ignored);
  profile_.reset();
  controller_.reset();
}

Controller Session::controller_at(Controller::Access access) {
  access.proxies = Proxies::from(env_);
  return Controller(std::move(access), [this](std::string text) { err(text); });
}

Controller& Session::controller() {
  if (!controller_) {
    const auto& p = profile();
    controller_.reset(new Controller(controller_at({.url = p.controller, .token = p.token, .verify = p.ssl_verify})));
  }
  return *controller_;
}

bool Session::app_was_given(const Arguments& arguments) const { return !arguments.option_or("app", "").empty(); }

std::string Session::app(const Arguments& arguments) {
  if (app_was_given(arguments)) return *arguments.option("app");
  const auto& url = profile().controller;
  if (const auto remotes = find_remotes()) {
    if (auto app = app_of_remotes(*remotes, url)) return *app;
  }
  return lower(fs::current_path().filename().string());
}

std::int64_t Session::limit(const Arguments& arguments) {
  const auto given = number_option(arguments, "limit", -1);
  return given == -1 ? profile().page_size() : given;
}

std::string Session::drink() const {
  const auto drink = env_.find("DEIS_DRINK_OF_CHOICE").value_or("");
  return drink.empty() ? "coffee" : drink;
}

std::int64_t number_option(const Arguments& arguments, std::string_view name, std::int64_t fallback) {
  const auto text = arguments.option(name);
  if (!text) return fallback;
  const auto number = parse_integer(*text);
  if (!number) throw Error(ErrorKind::invalid, "--" + std::string(name) + ": \"" + *text + "\" is not a number");
  return *number;
}

}  // namespace workflow::cli
