// src/cli/profile.h: who the user is, and where the controller is. The file is the original's.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "cli/identity.h"

namespace workflow::cli {

struct Profile {
  std::string username;
  bool ssl_verify = true;
  std::string controller;  // base URL
  std::string token;
  std::int64_t response_limit = 0;  // at most 0: 100
  bool operator==(const Profile&) const = default;
  std::int64_t page_size() const { return response_limit > 0 ? response_limit : 100; }
};

// The file that `name` means: a path if it has a folder and ends in .json, else a file in the profile folder.
std::filesystem::path profile_path(const Identity& identity, const std::string& name,
                                   const std::filesystem::path& home);

std::string print_profile(const Profile& profile);                       // one line, no newline
std::optional<Profile> parse_profile(std::string_view text);             // nullopt unless a JSON object
std::optional<Profile> find_profile(const std::filesystem::path& path);  // nullopt when absent; throws when broken
void save_profile(const std::filesystem::path& path, const std::filesystem::path& home_folder, const Profile& profile);

// "Deis.Example.com" → "http://deis.example.com". Throws invalid, naming the host.
std::string controller_url(std::string_view typed);

}  // namespace workflow::cli
