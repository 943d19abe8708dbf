// src/controller/passwords.h: passwords as they are kept, and how much of the machine checking them may take.
#pragma once
#include <string>

#include "controller/turns.h"
#include "lib/async/task.h"

namespace workflow::controller {

// scrypt$N$r$p$salt$key: what a hash cost is written in it, so that the cost can be raised while old hashes still work.
// Django's pbkdf2_sha256$iterations$salt$key, of users that came from the original, works too and counts as cheap.
std::string hash_password(const std::string& password);
bool password_matches(const std::string& password, const std::string& stored);  // in time that tells nothing
bool is_cheaply_hashed(const std::string& stored);  // with less than what a new password costs
// Costs what any other does and matches nothing: for names that do not exist.
std::string decoy_hash();

// Checking is dear on purpose: 16 MiB and a tenth of a second each. Few at a time do it, on threads of their own that
// everything else goes before: neither the threads nor the memory nor the processors of the process are taken by people
// who sign in, or guess. `address`: where the password came from.
class PasswordChecks {
 public:
  explicit PasswordChecks(Executor executor);
  Task<std::string> hash(std::string address, std::string password);
  Task<bool> matches(std::string address, std::string password, std::string stored);

 private:
  Turns turns_;
};

}  // namespace workflow::controller
