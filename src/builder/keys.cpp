#include "builder/keys.h"

#include "builder/client.h"
#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::builder {

std::optional<std::string> fingerprint_of(std::string_view type, std::string_view base64) {
  const auto blob = from_base64(base64);
  if (!blob || type.empty() || blob->size() < 4 + type.size()) return std::nullopt;
  std::size_t length = 0;
  for (std::size_t i = 0; i < 4; ++i) length = length << 8 | static_cast<unsigned char>((*blob)[i]);
  if (length != type.size() || std::string_view(*blob).substr(4, length) != type) return std::nullopt;
  const auto digits = to_hex(md5(*blob));
  std::string fingerprint;
  for (std::size_t i = 0; i < digits.size(); i += 2) fingerprint += (i ? ":" : "") + digits.substr(i, 2);
  return fingerprint;
}

std::string sign_identity(const Identity& identity, const Secret& key) {
  const auto text = identity.user.text() + " " + identity.fingerprint;
  return text + " " + to_hex(hmac_sha256(key.reveal(), text));
}

std::optional<Identity> verify_identity(std::string_view text, const Secret& key) {
  const auto words = split(text, ' ');
  if (words.size() != 3) return std::nullopt;
  const auto user = UserName::parse(words[0]);
  if (!user) return std::nullopt;
  Identity identity{*user, words[1]};
  if (!equal_in_constant_time(sign_identity(identity, key), text)) return std::nullopt;
  return identity;
}

std::string authorized_key(std::string_view type, std::string_view base64, std::string_view signed_identity) {
  std::string line = "restrict,environment=\"";
  line.append(pusher_variable).append("=").append(signed_identity).append("\" ");
  return line.append(type).append(" ").append(base64).append("\n");
}

}  // namespace workflow::builder
