#include "controller/passwords.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <thread>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

// RFC 7914, with the cost that OWASP's Password Storage Cheat Sheet asks for at 16 MiB.
struct Cost {
  std::uint64_t n = 16384, r = 8, p = 5;
  std::uint64_t work() const { return n * r * p; }
};
constexpr std::uint64_t memory_limit = 64u << 20;

std::string scrypt(const std::string& password, const std::string& salt, const Cost& cost) {
  std::string key(32, '\0');
  WF_CHECK(EVP_PBE_scrypt(password.data(), password.size(), reinterpret_cast<const unsigned char*>(salt.data()),
                          salt.size(), cost.n, cost.r, cost.p, memory_limit,
                          reinterpret_cast<unsigned char*>(key.data()), key.size()) == 1);
  return key;
}

struct Stored {
  Cost cost;
  std::string salt, key;
};
std::optional<Stored> parse(const std::string& text) {
  const auto parts = split(text, '$');
  if (parts.size() != 6 || parts[0] != "scrypt") return std::nullopt;
  const auto n = parse_integer(parts[1]), r = parse_integer(parts[2]), p = parse_integer(parts[3]);
  auto salt = from_hex(parts[4]), key = from_hex(parts[5]);
  if (!n || !r || !p || !salt || !key) return std::nullopt;
  const Cost cost{static_cast<std::uint64_t>(*n), static_cast<std::uint64_t>(*r), static_cast<std::uint64_t>(*p)};
  return Stored{cost, std::move(*salt), std::move(*key)};
}

// pbkdf2_sha256$iterations$salt$key in base64: Django's, of users that came from the original.
struct StoredByDjango {
  int iterations = 0;
  std::string salt, key;
};
constexpr std::int64_t most_iterations = 10'000'000;
std::optional<StoredByDjango> parse_of_django(const std::string& text) {
  const auto parts = split(text, '$');
  if (parts.size() != 4 || parts[0] != "pbkdf2_sha256") return std::nullopt;
  const auto iterations = parse_integer(parts[1]);
  auto key = from_base64(parts[3]);
  if (!iterations || *iterations < 1 || *iterations > most_iterations || !key || key->size() != 32) return std::nullopt;
  return StoredByDjango{static_cast<int>(*iterations), parts[2], std::move(*key)};
}

// RFC 8018, section 5.2, with HMAC-SHA-256.
std::string pbkdf2(const std::string& password, const StoredByDjango& stored) {
  std::string key(32, '\0');
  WF_CHECK(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()),
                             reinterpret_cast<const unsigned char*>(stored.salt.data()),
                             static_cast<int>(stored.salt.size()), stored.iterations, EVP_sha256(),
                             static_cast<int>(key.size()), reinterpret_cast<unsigned char*>(key.data())) == 1);
  return key;
}

}  // namespace

namespace {
std::string print(const Cost& cost, const std::string& salt, const std::string& key) {
  return "scrypt$" + std::to_string(cost.n) + "$" + std::to_string(cost.r) + "$" + std::to_string(cost.p) + "$" +
         to_hex(salt) + "$" + to_hex(key);
}
}  // namespace

std::string hash_password(const std::string& password) {
  const Cost cost;
  const auto salt = random_bytes(16);
  return print(cost, salt, scrypt(password, salt, cost));
}

std::string decoy_hash() { return print({}, random_bytes(16), random_bytes(32)); }

bool password_matches(const std::string& password, const std::string& stored) {
  if (const auto known = parse_of_django(stored)) return equal_in_constant_time(pbkdf2(password, *known), known->key);
  const auto known = parse(stored);
  return known && equal_in_constant_time(scrypt(password, known->salt, known->cost), known->key);
}

bool is_cheaply_hashed(const std::string& stored) {
  if (parse_of_django(stored)) return true;
  const auto known = parse(stored);
  return known && known->cost.work() < Cost{}.work();
}

// One processor is left to everybody else.
PasswordChecks::PasswordChecks(Executor executor)
    : turns_(std::move(executor), std::clamp(std::thread::hardware_concurrency(), 2u, 5u) - 1) {}

Task<std::string> PasswordChecks::hash(std::string address, std::string password) {
  auto work = [password = std::move(password)] { return hash_password(password); };
  co_return co_await turns_.run(std::move(address), std::move(work));
}

Task<bool> PasswordChecks::matches(std::string address, std::string password, std::string stored) {
  auto work = [password = std::move(password), stored = std::move(stored)] {
    return password_matches(password, stored);
  };
  co_return co_await turns_.run(std::move(address), std::move(work));
}

}  // namespace workflow::controller
