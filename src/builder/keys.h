// src/builder/keys.h: public keys as sshd offers them, and who they were found to belong to.
#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/domain.h"

namespace workflow::builder {

// The MD5 fingerprint (RFC 4716, section 4) of a key as AuthorizedKeysCommand gets it: %t and %k. nullopt unless the
// blob is base64 and begins with that very type (RFC 4253, section 6.6).
std::optional<std::string> fingerprint_of(std::string_view type, std::string_view base64);

struct Identity {
  UserName user;
  std::string fingerprint;
  bool operator==(const Identity&) const = default;
};
// "user fingerprint signature": goes through sshd's environment to the session. Only who has `key` can make it.
std::string sign_identity(const Identity& identity, const Secret& key);
std::optional<Identity> verify_identity(std::string_view text, const Secret& key);

// The line of authorized_keys(5) that lets this key in, to the forced command alone.
std::string authorized_key(std::string_view type, std::string_view base64, std::string_view signed_identity);

}  // namespace workflow::builder
