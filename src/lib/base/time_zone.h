// src/lib/base/time_zone.h: the IANA time zones, as tzdata's files tell them (RFC 8536).
//   Here because libstdc++ 12 has no std::chrono::time_zone yet; with libstdc++ 14 this file can go.
#pragma once
#include <chrono>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace workflow {

class TimeZone {
 public:
  // While one offset from UTC holds: until `end`, exclusive.
  struct Span {
    std::chrono::seconds offset;
    std::chrono::sys_seconds end;
    bool operator==(const Span&) const = default;
  };
  // A day of every year: Mm.w.d, Jn or n of POSIX' TZ, and the local time on it.
  struct YearDay {
    enum class Kind { weekday, day_without_leap, day } kind = Kind::day;
    int month = 0, week = 0, day = 0;
    std::chrono::seconds time{};
  };
  // What holds after the last change that the file lists.
  struct Rule {
    std::chrono::seconds standard{}, summer{};
    std::optional<std::pair<YearDay, YearDay>> summer_from_to;
    Span span_at(std::chrono::sys_seconds time) const;
  };

  TimeZone() = default;  // UTC
  // Bytes of a file of version 2 or later. nullopt: malformed, or with leap seconds (as in zoneinfo/right), which our
  // clock does not count.
  static std::optional<TimeZone> parse(std::string_view bytes);
  // "CET-1CEST,M3.5.0,M10.5.0/3": the footer of such a file.
  static std::optional<Rule> parse_rule(std::string_view text);

  // `time` within the years that Time can say.
  Span span_at(std::chrono::sys_seconds time) const;

 private:
  std::chrono::seconds first_{};                                                    // before any change
  std::vector<std::pair<std::chrono::sys_seconds, std::chrono::seconds>> changes_;  // ascending: when, and to what
  std::optional<Rule> rule_;
};

// "Europe/Berlin", from /usr/share/zoneinfo; nullopt for what is no zone there. Reads one small file.
std::optional<TimeZone> find_time_zone(std::string_view name);

}  // namespace workflow
