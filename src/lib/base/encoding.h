// src/lib/base/encoding.h: digests, encodings, random identifiers.
#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace workflow {

std::string to_hex(std::string_view bytes);
std::optional<std::string> from_hex(std::string_view text);
std::string to_base64(std::string_view bytes);                  // RFC 4648, section 4, padded
std::optional<std::string> from_base64(std::string_view text);  // strict; newlines are not accepted
std::string to_base64url(std::string_view bytes);               // section 5, no padding
std::optional<std::string> from_base64url(std::string_view text);

// RFC 3986: everything but unreserved characters becomes %XX. `keep` lists further characters to leave alone ("/").
std::string percent_encode(std::string_view text, std::string_view keep = "");
std::optional<std::string> percent_decode(std::string_view text);  // nullopt on a broken escape

// Raw digests (bytes, not hex).
std::string md5(std::string_view bytes);
std::string sha1(std::string_view bytes);
std::string sha256(std::string_view bytes);
std::string hmac_sha1(std::string_view key, std::string_view bytes);
std::string hmac_sha256(std::string_view key, std::string_view bytes);

enum class DigestKind { md5, sha1, sha256 };
// A digest fed piece by piece.
class Digest {
 public:
  explicit Digest(DigestKind kind);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  void update(std::string_view bytes);
  std::string finish();  // raw bytes; once

 private:
  struct State;
  std::unique_ptr<State> state_;
};
std::uint32_t crc32c(std::string_view bytes, std::uint32_t start = 0);

std::string random_bytes(std::size_t count);  // from the kernel
std::string random_hex(std::size_t digits);
std::string random_alphanumeric(std::size_t count);
std::string random_uuid();  // RFC 9562, version 4

// Compares in time that depends only on the lengths.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace workflow
