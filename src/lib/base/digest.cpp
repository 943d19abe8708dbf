#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <cstring>

#include "lib/base/encoding.h"
#include "lib/base/error.h"

namespace workflow {

namespace {
// Fetched once: a lookup by name costs more than hashing a small message (OpenSSL 3, crypto(7)).
const EVP_MD* algorithm(DigestKind kind) {
  static const EVP_MD* const md5_md = EVP_MD_fetch(nullptr, "MD5", nullptr);
  static const EVP_MD* const sha1_md = EVP_MD_fetch(nullptr, "SHA1", nullptr);
  static const EVP_MD* const sha256_md = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  const EVP_MD* md = kind == DigestKind::md5 ? md5_md : kind == DigestKind::sha1 ? sha1_md : sha256_md;
  WF_CHECK(md != nullptr);
  return md;
}

std::string digest(DigestKind kind, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned length = 0;
  WF_CHECK(EVP_Digest(bytes.data(), bytes.size(), out.data(), &length, algorithm(kind), nullptr) == 1);
  return {reinterpret_cast<const char*>(out.data()), length};
}

std::string hmac(DigestKind kind, std::string_view key, std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned length = 0;
  WF_CHECK(HMAC(algorithm(kind), key.data(), static_cast<int>(key.size()),
                reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), out.data(), &length) != nullptr);
  return {reinterpret_cast<const char*>(out.data()), length};
}

// CRC-32C (Castagnoli), reflected polynomial 0x82f63b78 (RFC 3720, appendix B.4), eight bytes a step.
using CrcTables = std::array<std::array<std::uint32_t, 256>, 8>;
constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t crc = i;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1u) ^ ((crc & 1u) != 0 ? 0x82f63b78u : 0u);
    tables[0][i] = crc;
  }
  for (std::size_t t = 1; t < 8; ++t) {
    for (std::size_t i = 0; i < 256; ++i) {
      tables[t][i] = (tables[t - 1][i] >> 8u) ^ tables[0][tables[t - 1][i] & 0xffu];
    }
  }
  return tables;
}
constexpr CrcTables crc_tables = make_crc_tables();

std::uint32_t crc_by_table(const unsigned char* in, std::size_t size, std::uint32_t crc) {
  for (; size >= 8; size -= 8, in += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, in, 8);
    word ^= crc;
    crc = 0;
    for (unsigned byte = 0; byte < 8; ++byte) crc ^= crc_tables[7 - byte][(word >> (8 * byte)) & 0xffu];
  }
  for (; size > 0; --size, ++in) crc = (crc >> 8u) ^ crc_tables[0][(crc ^ *in) & 0xffu];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc_by_instruction(const unsigned char* in, std::size_t size,
                                                                   std::uint32_t start) {
  std::uint64_t crc = start;
  for (; size >= 8; size -= 8, in += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, in, 8);
    crc = __builtin_ia32_crc32di(crc, word);
  }
  auto low = static_cast<std::uint32_t>(crc);
  for (; size > 0; --size, ++in) low = __builtin_ia32_crc32qi(low, *in);
  return low;
}
#endif
}  // namespace

std::string md5(std::string_view bytes) { return digest(DigestKind::md5, bytes); }
std::string sha1(std::string_view bytes) { return digest(DigestKind::sha1, bytes); }
std::string sha256(std::string_view bytes) { return digest(DigestKind::sha256, bytes); }
std::string hmac_sha1(std::string_view key, std::string_view bytes) { return hmac(DigestKind::sha1, key, bytes); }
std::string hmac_sha256(std::string_view key, std::string_view bytes) { return hmac(DigestKind::sha256, key, bytes); }

struct Digest::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { EVP_MD_CTX_free(context); }
};

Digest::Digest(DigestKind kind) : state_(std::make_unique<State>()) {
  WF_CHECK(EVP_DigestInit_ex(state_->context, algorithm(kind), nullptr) == 1);
}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

void Digest::update(std::string_view bytes) {
  WF_CHECK(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1);
}

std::string Digest::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> out;
  unsigned length = 0;
  WF_CHECK(EVP_DigestFinal_ex(state_->context, out.data(), &length) == 1);
  return {reinterpret_cast<const char*>(out.data()), length};
}

std::uint32_t crc32c(std::string_view bytes, std::uint32_t start) {
  const auto* in = reinterpret_cast<const unsigned char*>(bytes.data());
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2") != 0;
  if (has_instruction) return ~crc_by_instruction(in, bytes.size(), ~start);
#endif
  return ~crc_by_table(in, bytes.size(), ~start);
}

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace workflow
