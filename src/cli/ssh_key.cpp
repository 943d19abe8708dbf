#include "cli/ssh_key.h"

#include <algorithm>

#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::cli {

std::optional<PublicKey> parse_public_key(std::string_view text, std::string_view file_name) {
  const auto line = trim(text);
  if (line.find('\n') != std::string_view::npos) return std::nullopt;
  const auto first = line.find(' ');
  if (first == std::string_view::npos) return std::nullopt;
  const auto kind = line.substr(0, first);
  const bool known = kind == "ssh-rsa" || kind == "ssh-dss" || kind == "ssh-ed25519" || kind.starts_with("ecdsa-") ||
                     kind.starts_with("sk-");
  if (!known) return std::nullopt;
  const auto second = std::min(line.find(' ', first + 1), line.size());
  if (!from_base64(line.substr(first + 1, second - first - 1))) return std::nullopt;
  const auto comment = trim(line.substr(second));
  return PublicKey{std::string(comment.empty() ? file_name.substr(0, file_name.find('.')) : comment),
                   std::string(text)};
}

}  // namespace workflow::cli
