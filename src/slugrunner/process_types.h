// src/slugrunner/process_types.h: which command starts a process type (Procfile, .release), and what it may see.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "lib/procfile/procfile.h"

namespace workflow::slugrunner {

// The command of `type`: the Procfile's, else the buildpack's default. Throws not_found that says where to look.
std::string command_of(const std::string& type, const std::optional<std::string>& procfile,
                       const procfile::Release& release);

// The environment of the app: ours, without what only the runner needs, with HOME, PORT and the buildpack's config_vars
// for what is not set.
std::map<std::string, std::string> app_environment(std::map<std::string, std::string> ours,
                                                   const procfile::Release& release, const std::string& home);

}  // namespace workflow::slugrunner
