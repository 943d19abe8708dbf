// src/lib/base/settings.h: reads a component's settings from environment variables, and reports every bad one at once.
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/domain.h"

namespace workflow {

// A snapshot of variables. Each reader returns the value or a default and remembers problems; `done()` throws one
// `invalid` Error that lists them all by variable.
class Env {
 public:
  static Env from_process();  // the only getenv of the project
  explicit Env(std::map<std::string, std::string> values) : values_(std::move(values)) {}

  std::optional<std::string> find(const std::string& name) const;
  std::string text(const std::string& name, std::string fallback);
  std::string required(const std::string& name);  // problem when absent or empty
  std::int64_t integer(const std::string& name, std::int64_t fallback, std::int64_t min, std::int64_t max);
  bool flag(const std::string& name, bool fallback);  // true/false/1/0/yes/no in any case
  std::chrono::milliseconds duration(
      const std::string& name, std::chrono::milliseconds fallback);  // "250ms" "30s" "5m" "2h"; bare number = seconds
  Secret secret(const std::string& name);                            // required
  // A secret from the file named by `<name>_FILE`, else from `<name>`; trailing newline trimmed; required.
  Secret secret_or_file(const std::string& name);
  const std::map<std::string, std::string>& all() const { return values_; }
  void problem(const std::string& name, std::string what);  // the same one twice is one
  void done() const;

 private:
  std::map<std::string, std::string> values_;
  std::map<std::string, std::vector<std::string>> problems_;
};

}  // namespace workflow
