// src/slugbuilder/slug.h: decisions about a slug: its process types, what it leaves out, whether a cache changed.
#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/procfile/procfile.h"

namespace workflow::slugbuilder {

// Throws `invalid` that names what is wrong with a process type of `where`: its name, a name that comes twice, an empty
// command.
void check_process_types(const procfile::Types& types, const std::string& where);
// The Procfile's types win one by one over the buildpack's defaults.
procfile::Types merge(procfile::Types types, const procfile::Types& defaults);

// Whether .slugignore leaves a path (relative, without "./") out: shell patterns, "/x" only at the root, "x/" only
// folders (taken for anything of that name), a pattern without a slash at any depth; blank lines and # comments say
// nothing.
std::function<bool(const std::string&)> slugignore(std::string_view text);

// Changes whenever a file below changes; "" for a folder without any.
std::string folder_fingerprint(const std::filesystem::path& folder);

// BUILDPACK_URL or an entry of .buildpacks, taken apart at its "#".
struct BuildpackSource {
  std::string url;
  std::string ref;  // "" = the default branch
  bool is_archive = false;
  bool operator==(const BuildpackSource&) const = default;
};
// nullopt unless it is an http(s), git or ssh URL (or a local path for tests); never an option of git.
std::optional<BuildpackSource> parse_buildpack_url(std::string_view text);

}  // namespace workflow::slugbuilder
