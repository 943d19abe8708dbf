// src/lib/base/clock.h: time as an argument.
#pragma once
#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace workflow {

using Time = std::chrono::sys_time<std::chrono::nanoseconds>;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
};
class SystemClock : public Clock {
 public:
  Time now() const override;
};
class ManualClock : public Clock {
 public:
  explicit ManualClock(Time start = {}) : now_(start) {}
  Time now() const override { return now_; }
  void advance(std::chrono::nanoseconds by) { now_ += by; }

 private:
  Time now_;
};

std::string rfc3339(Time time);                            // 2026-01-02T03:04:05Z
std::string rfc3339_micros(Time time);                     // 2026-01-02T03:04:05.000006Z
std::string http_date(Time time);                          // RFC 9110, section 5.6.7: Sun, 06 Nov 1994 08:49:37 GMT
std::string basic_iso8601(Time time);                      // 20260102T030405Z, as SigV4 writes it
std::optional<Time> parse_rfc3339(std::string_view text);  // any fraction, Z or offset
std::optional<Time> parse_http_date(std::string_view text);
std::optional<Time> parse_basic_iso8601(std::string_view text);

}  // namespace workflow
