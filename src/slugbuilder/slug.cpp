#include "slugbuilder/slug.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "lib/base/domain.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::slugbuilder {
namespace {

namespace fs = std::filesystem;

bool matches(const std::string& pattern, const std::string& path) {
  return fnmatch(pattern.c_str(), path.c_str(), 0) == 0;
}

}  // namespace

void check_process_types(const procfile::Types& types, const std::string& where) {
  std::set<std::string> seen;
  for (const auto& [name, command] : types) {
    const auto which = where + ": the process type \"" + name + "\" ";
    if (!ProcessType::parse(name))
      throw Error(ErrorKind::invalid, which + "must be " + std::string(ProcessType::rule()));
    if (!seen.insert(name).second) throw Error(ErrorKind::invalid, which + "is there twice");
    if (trim(command).empty()) throw Error(ErrorKind::invalid, which + "needs a command");
  }
}

procfile::Types merge(procfile::Types types, const procfile::Types& defaults) {
  for (const auto& type : defaults) {
    const bool has = std::ranges::any_of(types, [&](const auto& own) { return own.first == type.first; });
    if (!has) types.push_back(type);
  }
  return types;
}

std::function<bool(const std::string&)> slugignore(std::string_view text) {
  struct Pattern {
    std::string text;
    bool anchored;
  };
  std::vector<Pattern> patterns;
  for (const auto& raw : split(text, '\n')) {
    std::string line(trim(raw));
    if (line.empty() || line.starts_with('#')) continue;
    bool anchored = line.starts_with('/') || line.starts_with("./");
    if (anchored) line.erase(0, line.find('/') + 1);
    while (line.ends_with('/')) line.pop_back();
    if (!line.empty()) patterns.push_back({line, anchored});
  }
  return [patterns = std::move(patterns)](const std::string& path) {
    const auto name = path.substr(path.rfind('/') + 1);
    return std::ranges::any_of(patterns, [&](const Pattern& pattern) {
      if (pattern.anchored) return matches(pattern.text, path);
      return matches(pattern.text, name) || matches(pattern.text, path) || matches("*/" + pattern.text, path);
    });
  };
}

std::string folder_fingerprint(const fs::path& folder) {
  std::vector<std::string> lines;
  if (!fs::exists(folder)) return "";
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat info{};
    if (::lstat(entry.path().c_str(), &info) != 0 || S_ISDIR(info.st_mode)) continue;
    lines.push_back(entry.path().lexically_relative(folder).string() + " " + std::to_string(info.st_size) + " " +
                    std::to_string(info.st_mode) + " " + std::to_string(info.st_mtim.tv_sec));
  }
  if (lines.empty()) return "";
  std::ranges::sort(lines);
  return to_hex(sha256(join(lines, "\n")));
}

std::optional<BuildpackSource> parse_buildpack_url(std::string_view text) {
  const auto hash = text.rfind('#');
  BuildpackSource source;
  source.url = std::string(text.substr(0, hash));
  if (hash != std::string_view::npos) source.ref = std::string(text.substr(hash + 1));
  auto harmless = [](std::string_view part) {
    return !part.starts_with('-') &&
           std::ranges::none_of(part, [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7f; });
  };
  if (source.url.empty() || !harmless(source.url) || !harmless(source.ref)) return std::nullopt;
  const bool web = source.url.starts_with("https://") || source.url.starts_with("http://");
  const bool git = source.url.starts_with("git://") || source.url.starts_with("ssh://") ||
                   source.url.starts_with("file://") || source.url.starts_with("/");
  // git's short form user@host:path; but not ext::… and its like, which run commands.
  const bool scp = source.url.find('@') != std::string::npos && source.url.find("::") == std::string::npos &&
                   source.url.find(':') != std::string::npos;
  if (!web && !git && !scp) return std::nullopt;
  const auto path = source.url.substr(0, source.url.find('?'));
  source.is_archive = web && (path.ends_with(".tgz") || path.ends_with(".tar.gz"));
  return source;
}

}  // namespace workflow::slugbuilder
