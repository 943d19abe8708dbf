#include "slugrunner/process_types.h"

#include "lib/base/error.h"
#include "lib/json/json.h"
#include "lib/kube/yaml.h"

namespace workflow::slugrunner {
namespace {

// A mapping of text to text; numbers and booleans count as they are written.
std::map<std::string, std::string> text_map(const json::value* value, const std::string& where) {
  std::map<std::string, std::string> out;
  if (!value || value->is_null()) return out;
  const auto* object = value->if_object();
  if (!object) throw Error(ErrorKind::invalid, where + " must map names to text");
  for (const auto& [key, member] : *object) {
    if (member.is_object() || member.is_array()) {
      throw Error(ErrorKind::invalid, where + ": \"" + std::string(key) + "\" must be text");
    }
    out[key] = member.is_string() ? std::string(member.get_string()) : member.is_null() ? "" : json::serialize(member);
  }
  return out;
}

json::value yaml_of(std::string_view text, const std::string& where) {
  try {
    return kube::parse_yaml(text);
  } catch (const Error& error) {
    throw Error(ErrorKind::invalid, where + " is not valid YAML: " + error.message());
  }
}

}  // namespace

std::map<std::string, std::string> parse_procfile(std::string_view yaml) {
  const auto document = yaml_of(yaml, "Procfile");
  return text_map(&document, "Procfile");
}

Release parse_release(std::string_view yaml) {
  const auto document = yaml_of(yaml, ".release");
  Release release;
  if (document.is_null()) return release;
  if (!document.is_object()) throw Error(ErrorKind::invalid, ".release must be a mapping");
  release.default_process_types =
      text_map(find_path(document, {"default_process_types"}), ".release default_process_types");
  release.config_vars = text_map(find_path(document, {"config_vars"}), ".release config_vars");
  return release;
}

std::string command_of(const std::string& type, const std::optional<std::string>& procfile, const Release& release) {
  if (procfile) {
    const auto types = parse_procfile(*procfile);
    if (const auto found = types.find(type); found != types.end() && !found->second.empty()) return found->second;
  }
  const auto found = release.default_process_types.find(type);
  if (found != release.default_process_types.end() && !found->second.empty()) return found->second;
  throw Error(ErrorKind::not_found, "Proc entrypoint " + type + " does not exist. Please check your Procfile");
}

std::map<std::string, std::string> app_environment(std::map<std::string, std::string> ours, const Release& release,
                                                   const std::string& home) {
  ours.erase("SLUG_URL");
  ours["HOME"] = home;
  ours.try_emplace("PORT", "5000");
  for (const auto& [name, value] : release.config_vars) ours.try_emplace(name, value);
  return ours;
}

}  // namespace workflow::slugrunner
