// src/cli/identity.h: the names that the client derives from the name of its own file.
#pragma once
#include <string>
#include <string_view>

namespace workflow::cli {

struct Identity {
  std::string program;           // as in messages: "deis"
  std::string profile_variable;  // "DEIS_PROFILE"
  std::string remote;            // default git remote: "deis"
  std::string profile_folder;    // below the home folder: ".deis"
  bool operator==(const Identity&) const = default;
};

Identity identity_of(std::string_view argv0);

}  // namespace workflow::cli
