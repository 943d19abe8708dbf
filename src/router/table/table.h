// src/router/table/table.h: reads a routing table. Believes no offset: what points outside is absent.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "router/table/layout.h"

namespace workflow::router::table {

enum class Letters { as_they_are, any_case };

// Whether a regular expression matches. Supplied by whoever has an engine for them.
struct Regexes {
  virtual ~Regexes() = default;
  virtual bool matches(std::string_view pattern, Letters letters, std::string_view subject) = 0;
};

class Table {
 public:
  // A view of bytes that somebody keeps alive. nullopt with a reason: no table of this layout, cut off, or changed.
  static std::optional<Table> open(std::span<const std::byte> bytes, std::string& problem);
  // The same bytes, opened again.
  static Table view(std::span<const std::byte> bytes) { return Table(bytes); }
  // Reads the bytes of another table over this one from now on. False with a reason: they are none that amends it.
  bool amend(std::span<const std::byte> bytes, std::string& problem);
  // "", or the first thing in it that points outside or to nothing. For tables that lay on a disk.
  std::string first_fault() const;

  std::uint64_t generation() const { return newest().generation; }
  // Of the table that has the list.
  template <typename T>
  std::uint64_t seed_of(List<T> list) const {
    return (list.offset & amending) == 0 ? header().seed : newest().seed;
  }
  std::uint64_t base() const { return newest().base; }
  std::size_t size() const { return bytes_.size() + amendment_.size(); }
  std::size_t backend_count() const { return header().backends.count; }
  const Settings& settings() const { return header().settings; }
  std::span<const Challenge> challenges() const { return list(newest().challenges); }

  std::string_view text(Text text) const;
  template <typename T>
  std::span<const T> list(List<T> list) const {
    const auto bytes = part(list.offset);
    const std::uint64_t offset = list.offset & ~amending, size = std::uint64_t{list.count} * sizeof(T);
    if (offset % alignof(T) != 0 || offset + size > bytes.size()) return {};
    return {reinterpret_cast<const T*>(bytes.data() + offset), list.count};
  }

  // The exact name, else the longest wildcard, else the first regular expression. `name`: in lower case, without port.
  const Host* find_host(std::string_view name, Regexes& regexes) const;
  const Backend* find_backend(std::string_view name) const;
  const App* app(const Host& host) const;
  const Backend* backend(std::uint32_t index) const;
  // Who answers a path: as nginx chooses among locations.
  const Backend* backend_for(const App& app, std::string_view path, Regexes& regexes) const;

 private:
  explicit Table(std::span<const std::byte> bytes) : bytes_(bytes) {}
  static const Header& header_of(std::span<const std::byte> bytes) {
    return *reinterpret_cast<const Header*>(bytes.data());
  }
  const Header& header() const { return header_of(bytes_); }
  const Header& newest() const { return amendment_.empty() ? header() : header_of(amendment_); }
  std::span<const std::byte> part(std::uint32_t offset) const { return (offset & amending) == 0 ? bytes_ : amendment_; }
  template <typename T>
  const T* item(List<T> Header::* items, std::uint32_t index) const;
  const Host* find_named(std::string_view name) const;
  std::string fault_in(const Header& header) const;

  std::span<const std::byte> bytes_, amendment_;
};

bool contains(std::span<const Range> ranges, std::span<const std::uint8_t> address);  // of 4 or 16 bytes

// For writers: what Header::checksum must be.
std::uint64_t checksum_of(std::span<const std::byte> file);

}  // namespace workflow::router::table
