// src/cli/ssh_key.h: public keys as OpenSSH writes them.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace workflow::cli {

struct PublicKey {
  std::string id;    // its comment, else the file's name up to the first dot
  std::string text;  // the whole file
};
// nullopt unless `text` is one public key of a kind that an SSH server takes.
std::optional<PublicKey> parse_public_key(std::string_view text, std::string_view file_name);

}  // namespace workflow::cli
