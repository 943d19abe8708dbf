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
  // "", or the first thing in it that points outside or to nothing. For tables that lay on a disk.
  std::string first_fault() const;

  std::uint64_t generation() const { return header().generation; }
  std::size_t size() const { return bytes_.size(); }
  const Settings& settings() const { return header().settings; }
  std::span<const Host> hosts() const { return list(header().hosts); }
  std::span<const Backend> backends() const { return list(header().backends); }
  std::span<const App> apps() const { return list(header().apps); }

  std::string_view text(Text text) const;
  template <typename T>
  std::span<const T> list(List<T> list) const {
    const auto size = std::uint64_t{list.count} * sizeof(T);
    if (list.offset % alignof(T) != 0 || list.offset + size > bytes_.size()) return {};
    return {reinterpret_cast<const T*>(bytes_.data() + list.offset), list.count};
  }
  template <typename T>
  const T* item(std::span<const T> items, std::uint32_t index) const {
    return index < items.size() ? &items[index] : nullptr;
  }

  // The exact name, else the longest wildcard, else the first regular expression. `name`: in lower case, without port.
  const Host* find_host(std::string_view name, Regexes& regexes) const;
  const Backend* find_backend(std::string_view name) const;
  const App* app(const Host& host) const { return item(apps(), host.app); }
  const Backend* backend(std::uint32_t index) const { return item(backends(), index); }
  // Who answers a path: as nginx chooses among locations.
  const Backend* backend_for(const App& app, std::string_view path, Regexes& regexes) const;

 private:
  explicit Table(std::span<const std::byte> bytes) : bytes_(bytes) {}
  const Header& header() const { return *reinterpret_cast<const Header*>(bytes_.data()); }
  const Host* find_named(std::string_view name) const;

  std::span<const std::byte> bytes_;
};

bool contains(std::span<const Range> ranges, std::span<const std::uint8_t> address);  // of 4 or 16 bytes

// For writers: what Header::checksum must be.
std::uint64_t checksum_of(std::span<const std::byte> file);

}  // namespace workflow::router::table
