#include "router/table/table.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace workflow::router::table {
namespace {

constexpr std::size_t checksum_end = offsetof(Header, checksum) + sizeof(Header::checksum);

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t word_at(const char* data, std::size_t size) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, std::min<std::size_t>(size, 8));
  return word;
}

template <typename T>
struct Named {
  std::span<const T> items;
  std::span<const std::uint32_t> slots;
  std::uint64_t seed;
};

// The item whose name is `name`, by open addressing.
template <typename T>
const T* find_in(const Table& table, const Named<T>& named, std::string_view name) {
  const auto& slots = named.slots;
  if (slots.empty() || (slots.size() & (slots.size() - 1)) != 0) return nullptr;
  auto at = hash_of(name, named.seed) & (slots.size() - 1);
  for (std::size_t tries = 0; tries < slots.size() && slots[at] != 0; ++tries) {
    const std::size_t index = slots[at] - 1;
    if (index < named.items.size() && table.text(named.items[index].name) == name) return &named.items[index];
    at = (at + 1) & (slots.size() - 1);
  }
  return nullptr;
}

bool matches(const Range& range, std::span<const std::uint8_t> address) {
  if (range.family != (address.size() == 4 ? 4 : 6)) return false;
  const std::size_t bits = std::min<std::size_t>(range.prefix, address.size() * 8), bytes = bits / 8;
  if (std::memcmp(range.address, address.data(), bytes) != 0) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff00 >> (bits % 8));
  return (range.address[bytes] & mask) == (address[bytes] & mask);
}

// "/a/b" is under "/a/b" and "/a" (nginx: a prefix is text, not segments).
bool is_prefix(PathKind kind) { return kind == PathKind::prefix || kind == PathKind::prefix_before_regex; }

}  // namespace

// Multiplication folds eight bytes at a time. The seed is the writer's secret, so that nobody can choose names that
// meet in one slot.
std::uint64_t hash_of(std::string_view text, std::uint64_t seed) {
  std::uint64_t hash = seed ^ 0x9e3779b97f4a7c15;
  const auto size = text.size();
  while (text.size() > 8) {
    hash = mix(hash ^ word_at(text.data(), 8), 0xd6e8feb86659fd93);
    text.remove_prefix(8);
  }
  return mix(mix(hash ^ word_at(text.data(), text.size()), 0xa0761d6478bd642f) ^ size, 0xe7037ed1a0b428db);
}

std::uint64_t checksum_of(std::span<const std::byte> file) {
  std::uint64_t lanes[4] = {1, 2, 3, 4};
  const auto* data = reinterpret_cast<const char*>(file.data()) + std::min(file.size(), checksum_end);
  std::size_t left = file.size() - std::min(file.size(), checksum_end);
  for (; left >= 32; data += 32, left -= 32) {
    for (int lane = 0; lane < 4; ++lane)
      lanes[lane] = mix(lanes[lane] ^ word_at(data + lane * 8, 8), 0xd6e8feb86659fd93);
  }
  std::uint64_t sum = file.size();
  for (const auto lane : lanes) sum = mix(sum ^ lane, 0xa0761d6478bd642f);
  for (; left > 0; data += std::min<std::size_t>(left, 8), left -= std::min<std::size_t>(left, 8)) {
    sum = mix(sum ^ word_at(data, left), 0xe7037ed1a0b428db);
  }
  return sum;
}

std::optional<Table> Table::open(std::span<const std::byte> bytes, std::string& problem) {
  const auto fails = [&](const char* why) {
    problem = why;
    return std::nullopt;
  };
  if (bytes.size() < sizeof(Header) || reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(Header) != 0)
    return fails("it is too short to be a routing table");
  Table table(bytes);
  const auto& header = table.header();
  if (std::memcmp(header.magic, magic, sizeof magic) != 0) return fails("it is no routing table");
  if (header.version != layout_version || header.header_size != sizeof(Header))
    return fails("it was written by another version of the router");
  if (header.size != bytes.size()) return fails("it is cut off");
  if (header.checksum != checksum_of(bytes)) return fails("its checksum is wrong");
  return table;
}

bool Table::amend(std::span<const std::byte> bytes, std::string& problem) {
  const auto other = open(bytes, problem);
  if (!other) return false;
  if (other->base() == 0 || other->base() != header().generation || header().base != 0) {
    problem = "it amends another table";
    return false;
  }
  amendment_ = bytes;
  return true;
}

std::string_view Table::text(Text text) const {
  const auto bytes = part(text.offset);
  const auto offset = text.offset & ~amending;
  if (std::uint64_t{offset} + text.size > bytes.size()) return {};
  return {reinterpret_cast<const char*>(bytes.data()) + offset, text.size};
}

template <typename T>
const T* Table::item(List<T> Header::* items, std::uint32_t index) const {
  const auto bytes = part(index);
  if (bytes.empty()) return nullptr;
  const auto all = list(header_of(bytes).*items);
  const auto at = index & ~amending;
  return at < all.size() ? &all[at] : nullptr;
}

const App* Table::app(const Host& host) const { return item(&Header::apps, host.app); }

// The base's own word about a backend may be amended.
const Backend* Table::backend(std::uint32_t index) const {
  const auto* found = item(&Header::backends, index);
  return found && !amendment_.empty() && (index & amending) == 0 ? find_backend(text(found->name)) : found;
}

std::string Table::first_fault() const {
  auto fault = fault_in(header());
  return fault.empty() && !amendment_.empty() ? fault_in(newest()) : fault;
}

std::string Table::fault_in(const Header& h) const {
  std::string fault;
  const auto check = [&](bool good, const char* what) {
    if (!good && fault.empty()) fault = what;
  };
  const auto has_text = [&](Text t) {
    return std::uint64_t{t.offset & ~amending} + t.size <= part(t.offset).size() || t.size == 0;
  };
  const auto has_list = [&]<typename T>(List<T> l) { return list(l).size() == l.count; };
  const auto has_backend = [&](std::uint32_t index) { return item(&Header::backends, index) != nullptr; };
  check(has_list(h.hosts) && has_list(h.host_slots) && has_list(h.backends) && has_list(h.backend_slots) &&
            has_list(h.apps),
        "a list lies outside");
  if (!fault.empty()) return fault;
  const auto& s = h.settings;
  check(has_text(s.default_label) && has_text(s.platform_certificate) && has_list(s.trusted) &&
            has_list(s.early_methods) && (s.default_backend == none || has_backend(s.default_backend)),
        "a setting points outside");
  for (const auto& method : list(s.early_methods)) check(has_text(method), "a method lies outside");
  check(has_list(h.challenges), "the challenges lie outside");
  for (const auto& challenge : list(h.challenges)) {
    check(has_text(challenge.domain) && has_text(challenge.token) && has_text(challenge.answer) &&
              has_text(challenge.certificate),
          "a challenge points outside");
  }
  check(h.regexes <= h.hosts.count, "there are more regular expressions than hosts");
  for (const auto& [slots, limit] :
       {std::pair(h.host_slots, h.hosts.count), std::pair(h.backend_slots, h.backends.count)}) {
    check((slots.count & (slots.count - 1)) == 0, "the slots are no power of two");
    for (const auto slot : list(slots)) check(slot <= limit, "a slot points to nothing");
  }
  for (const auto& host : list(h.hosts)) {
    check(has_text(host.name) && has_text(host.certificate) &&
              ((h.base != 0 && host.app == none) || item(&Header::apps, host.app)),
          "a host points outside");
  }
  for (const auto& backend : list(h.backends)) {
    check(has_text(backend.name) && has_list(backend.endpoints), "a backend points outside");
    for (const auto& endpoint : list(backend.endpoints))
      check(endpoint.family == 4 || endpoint.family == 6, "an endpoint has no family");
  }
  for (const auto& app : list(h.apps)) {
    check(has_text(app.label) && has_text(app.referrer_policy) && has_text(app.hsts) && has_text(app.canonical_host) &&
              has_text(app.canary) && has_text(app.canary_header) && has_text(app.canary_cookie) &&
              has_list(app.whitelist) && has_list(app.locations) && has_list(app.users) && has_list(app.pages) &&
              has_backend(app.backend),
          "an app points outside");
    for (const auto& location : list(app.locations)) {
      check(has_text(location.path) && has_backend(location.backend) && location.kind <= PathKind::regex_any_case,
            "a path points outside");
    }
    for (const auto& page : list(app.pages)) check(has_text(page.html), "a page lies outside");
  }
  return fault;
}

const Host* Table::find_named(std::string_view name) const {
  for (const auto& bytes : {amendment_, bytes_}) {
    if (bytes.empty()) continue;
    const auto& h = header_of(bytes);
    const auto* host = find_in(*this, Named<Host>{list(h.hosts), list(h.host_slots), h.seed}, name);
    if (host) return host->app == none ? nullptr : host;
  }
  return nullptr;
}

const Backend* Table::find_backend(std::string_view name) const {
  for (const auto& bytes : {amendment_, bytes_}) {
    if (bytes.empty()) continue;
    const auto& h = header_of(bytes);
    const auto* backend = find_in(*this, Named<Backend>{list(h.backends), list(h.backend_slots), h.seed}, name);
    if (backend) return (backend->flags & backend_flags::gone) != 0 ? nullptr : backend;
  }
  return nullptr;
}

const Host* Table::find_host(std::string_view name, Regexes& regexes) const {
  if (name.empty() || name.size() > 253) return nullptr;
  if (const auto* exact = find_named(name); exact && name.find('*') == std::string_view::npos) return exact;
  char pattern[256];
  pattern[0] = '*';
  // ".foo.com" of "a.foo.com": the longest first.
  for (auto dot = name.find('.'); dot != std::string_view::npos; dot = name.find('.', dot + 1)) {
    if (dot == 0) continue;
    const auto rest = name.substr(dot);
    rest.copy(pattern + 1, rest.size());
    if (const auto* wildcard = find_named({pattern, rest.size() + 1})) return wildcard;
  }
  const auto first = name.find('.');
  if (first != std::string_view::npos && first + 1 < name.size()) {
    name.copy(pattern, first + 1);
    pattern[first + 1] = '*';
    if (const auto* any_domain = find_named({pattern, first + 2})) return any_domain;
  }
  const auto all = list(header().hosts);
  for (const auto& host : all.last(std::min<std::size_t>(header().regexes, all.size()))) {
    if (regexes.matches(text(host.name), Letters::any_case, name)) return &host;
  }
  return nullptr;
}

const Backend* Table::backend_for(const App& app, std::string_view path, Regexes& regexes) const {
  const Location* best = nullptr;
  const auto locations = list(app.locations);
  for (const auto& location : locations) {
    const auto own = text(location.path);
    if (location.kind == PathKind::exact && path == own) return backend(location.backend);
    if (is_prefix(location.kind) && path.starts_with(own) && (!best || own.size() > best->path.size)) best = &location;
  }
  if (!best || best->kind != PathKind::prefix_before_regex) {
    for (const auto& location : locations) {
      if (location.kind != PathKind::regex && location.kind != PathKind::regex_any_case) continue;
      const auto letters = location.kind == PathKind::regex_any_case ? Letters::any_case : Letters::as_they_are;
      if (regexes.matches(text(location.path), letters, path)) return backend(location.backend);
    }
  }
  return backend(best ? best->backend : app.backend);
}

bool contains(std::span<const Range> ranges, std::span<const std::uint8_t> address) {
  return std::ranges::any_of(ranges, [&](const Range& range) { return matches(range, address); });
}

}  // namespace workflow::router::table
