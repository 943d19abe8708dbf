// src/cli/git.h: the git remotes of the current folder.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::cli {

struct Remote {
  std::string name, url;
  bool operator==(const Remote&) const = default;
};

std::vector<Remote> parse_remotes(std::string_view output);  // push URLs of `git remote -v`, in its order

// "http://deis.example.com:8080" → "deis-builder.example.com". An IP address stays itself: it has no first label.
std::string builder_host(std::string_view controller);
std::string remote_url(std::string_view controller, std::string_view app);
// The app that the first remote of this controller's builder names.
std::optional<std::string> app_of_remotes(const std::vector<Remote>& remotes, std::string_view controller);

// These run git. They throw `unavailable` with git's own words.
std::vector<Remote> list_remotes();
std::optional<std::vector<Remote>> find_remotes();  // nullopt without a repository or without git
void add_remote(const std::string& name, const std::string& url);
void delete_remote(const std::string& name);

}  // namespace workflow::cli
