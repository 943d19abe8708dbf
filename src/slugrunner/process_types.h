// src/slugrunner/process_types.h: which command starts a process type (Procfile, .release), and what it may see.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace workflow::slugrunner {

// What bin/release said of a slug.
struct Release {
  std::map<std::string, std::string> default_process_types;
  std::map<std::string, std::string> config_vars;
};
// Both throw `invalid` that names the file when it is not YAML of the right shape.
std::map<std::string, std::string> parse_procfile(std::string_view yaml);
Release parse_release(std::string_view yaml);

// The command of `type`: the Procfile's, else the buildpack's default. Throws not_found that says where to look.
std::string command_of(const std::string& type, const std::optional<std::string>& procfile, const Release& release);

// The environment of the app: ours, without what only the runner needs, with HOME, PORT and the buildpack's config_vars
// for what is not set.
std::map<std::string, std::string> app_environment(std::map<std::string, std::string> ours, const Release& release,
                                                   const std::string& home);

}  // namespace workflow::slugrunner
