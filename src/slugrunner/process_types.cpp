#include "slugrunner/process_types.h"

#include "lib/base/error.h"

namespace workflow::slugrunner {

std::string command_of(const std::string& type, const std::optional<std::string>& procfile,
                       const procfile::Release& release) {
  if (procfile) {
    if (auto command = procfile::find(procfile::parse(*procfile), type)) return *std::move(command);
  }
  if (auto command = procfile::find(release.default_process_types, type)) return *std::move(command);
  throw Error(ErrorKind::not_found, "Proc entrypoint " + type + " does not exist. Please check your Procfile");
}

std::map<std::string, std::string> app_environment(std::map<std::string, std::string> ours,
                                                   const procfile::Release& release, const std::string& home) {
  ours.erase("SLUG_URL");
  ours["HOME"] = home;
  ours.try_emplace("PORT", "5000");
  for (const auto& [name, value] : release.config_vars) ours.try_emplace(name, value);
  return ours;
}

}  // namespace workflow::slugrunner
