#include "controller/passwords.h"

#include <openssl/evp.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <cstdint>
#include <optional>
#include <thread>

#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

// RFC 7914, with the cost that OWASP's Password Storage Cheat Sheet asks for at 16 MiB.
struct Cost {
  std::uint64_t n = 16384, r = 8, p = 5;
  std::uint64_t work() const { return n * r * p; }
};
constexpr std::uint64_t memory_limit = 64u << 20;
constexpr std::size_t most_waiting = 100;

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
    : places_(std::clamp(std::thread::hardware_concurrency(), 2u, 5u) - 1),
      left_(std::move(executor)),
      threads_(places_) {}

namespace {
// A thread's niceness is its own on Linux; where it cannot be changed, the count of places is the bound that is left.
void be_nice() {
  constexpr int niceness = 10;
  thread_local const bool is_nice = setpriority(PRIO_PROCESS, 0, niceness) == 0;
  static_cast<void>(is_nice);
}

template <typename F>
Task<std::invoke_result_t<F>> work_nicely(F work) {
  be_nice();
  co_return work();
}
}  // namespace

template <typename F>
auto PasswordChecks::in_turn(F work) -> Task<std::invoke_result_t<F>> {
  struct Counted {
    std::size_t& count;
    explicit Counted(std::size_t& c) : count(++c) {}
    ~Counted() { --count; }
  };
  if (waiting_ >= most_waiting) {
    throw Error(ErrorKind::unavailable, "Too many people are signing in at this moment. Try again in a few seconds");
  }
  const Counted waiting(waiting_);
  while (places_ == 0) co_await left_.wait(left_.version());
  struct Place {
    PasswordChecks& checks;
    explicit Place(PasswordChecks& c) : checks(c) { --checks.places_; }
    ~Place() {
      ++checks.places_;
      checks.left_.notify_all();
    }
  };
  const Place place(*this);
  // It waits for nothing: what is begun is finished, also when whoever asked has gone.
  co_return co_await asio::co_spawn(Executor(threads_.get_executor()), work_nicely(std::move(work)),
                                    asio::use_awaitable);
}

Task<std::string> PasswordChecks::hash(std::string password) {
  auto work = [password = std::move(password)] { return hash_password(password); };
  co_return co_await in_turn(std::move(work));
}

Task<bool> PasswordChecks::matches(std::string password, std::string stored) {
  auto work = [password = std::move(password), stored = std::move(stored)] {
    return password_matches(password, stored);
  };
  co_return co_await in_turn(std::move(work));
}

}  // namespace workflow::controller
