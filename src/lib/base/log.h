// src/lib/base/log.h: one logfmt (or JSON) line per event on standard output.
//   The message is constant, the facts are fields. Never log a secret, a config value or a request body.
#pragma once
#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace workflow::log {

enum class Level { debug, info, warn, error };
enum class Format { logfmt, json };

struct Field {
  std::string key;
  std::string value;
};

inline Field kv(std::string key, std::string value) { return {std::move(key), std::move(value)}; }
inline Field kv(std::string key, std::string_view value) { return {std::move(key), std::string(value)}; }
inline Field kv(std::string key, const char* value) { return {std::move(key), value}; }
inline Field kv(std::string key, bool value) { return {std::move(key), value ? "true" : "false"}; }
template <typename T>
  requires(std::integral<T> || std::floating_point<T>)
Field kv(std::string key, T value) {
  return {std::move(key), std::to_string(value)};
}
template <typename T>
  requires requires(const T& t) {
    { t.text() } -> std::convertible_to<std::string>;
  }
Field kv(std::string key, const T& value) {
  return {std::move(key), value.text()};
}

// Once, in main. `component` is on every line. Reads nothing from the environment itself.
void configure(std::string component, Level threshold, Format format);
bool enabled(Level level);

void write(Level level, std::string_view message, std::initializer_list<Field> fields);
// The line that `write` prints, without time stamp; for tests.
std::string render(Format format, Level level, std::string_view component, std::string_view request,
                   std::string_view message, std::initializer_list<Field> fields);

template <typename... F>
void debug(std::string_view m, F... f) {
  if (enabled(Level::debug)) write(Level::debug, m, {f...});
}
template <typename... F>
void info(std::string_view m, F... f) {
  write(Level::info, m, {f...});
}
template <typename... F>
void warn(std::string_view m, F... f) {
  write(Level::warn, m, {f...});
}
template <typename... F>
void error(std::string_view m, F... f) {
  write(Level::error, m, {f...});
}

// The id of the request that this thread works on right now; "" outside any. async/request_scope.h keeps it across
// suspension points.
const std::string& current_request();
class RequestScope {
 public:
  explicit RequestScope(std::string id);
  ~RequestScope();
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

 private:
  std::string previous_;
};

}  // namespace workflow::log
namespace workflow {
using log::kv;
}
