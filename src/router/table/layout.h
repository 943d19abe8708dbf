// src/router/table/layout.h: the routing table as bytes, and the page through which router and workers agree on one.
//   A table is a file that never changes once it has its name: <folder>/<generation>. Everything in it is reached by
//   offsets from its beginning. Numbers are the machine's own: a table never leaves the machine.
//   A table may amend another one, `base`, which it is read together with: what it has wins, and its offsets and
//   indices are marked as its own.
#pragma once
#include <atomic>
#include <cstdint>
#include <string_view>

namespace workflow::router::table {

constexpr char magic[8] = {'W', 'F', 'R', 'O', 'U', 'T', 'E', 'S'};
constexpr std::uint32_t layout_version = 4;
constexpr std::uint32_t none = 0xffffffff;
constexpr std::uint32_t amending = 0x80000000;  // marks an offset into, or an index of, the table that amends

struct Text {
  std::uint32_t offset = 0, size = 0;
};
template <typename T>
struct List {
  std::uint32_t offset = 0, count = 0;
};

struct Range {                          // of addresses
  std::uint8_t family = 0, prefix = 0;  // family: 4 or 6
  std::uint8_t address[16] = {};
};

struct Endpoint {
  std::uint8_t family = 0, unused = 0;
  std::uint16_t port = 0;
  std::uint8_t address[16] = {};
  bool operator==(const Endpoint&) const = default;
};

namespace backend_flags {
constexpr std::uint32_t maintenance = 1, enforce_tls = 2, buffering = 4, affinity = 8, grpc = 16, gone = 32;
}
struct Backend {
  Text name;  // "namespace.service"
  List<Endpoint> endpoints;
  std::uint32_t flags = 0;
  std::uint32_t connect_timeout = 0, io_timeout = 0, slow_start = 0;  // milliseconds
  std::uint32_t buffers = 0, buffer_size = 0, busy_size = 0;
};

enum class PathKind : std::uint32_t { prefix, exact, prefix_before_regex, regex, regex_any_case };
struct Location {
  Text path;
  PathKind kind = PathKind::prefix;
  std::uint32_t backend = none;
};

namespace app_flags {
constexpr std::uint32_t whitelisted = 1, request_start = 2, platform = 4, odd_header_names = 8, authenticated = 16;
}
struct Page {  // of an error; status 0: of maintenance
  std::uint32_t status = 0;
  Text html;
};
struct Digest {
  std::uint8_t bytes[32] = {};
};
struct App {
  Text label, referrer_policy, hsts;
  std::uint32_t backend = none, flags = 0;
  List<Range> whitelist;
  List<Location> locations;
  std::uint64_t body_limit = 0;  // 0: any
  Text canonical_host;           // others are redirected to it
  List<Digest> users;            // of Header::seed as it is in memory, user, ":", password: SHA-256
  List<Page> pages;
  Text canary;                                   // the name of a backend
  std::uint32_t canary_percent = 0, unused = 0;  // its share of clients
  Text canary_header, canary_cookie;             // "always" and "never" in them win over the share
  std::uint32_t rate = 0, burst = 0;             // requests a second of one client address; 0: any
};

struct Host {
  Text name;                 // "foo.example.com", "*.foo.com", "foo.*", or a regular expression
  Text certificate;          // its id; empty: no HTTPS
  std::uint32_t app = none;  // none: in the table that amends: nobody's any more
};

namespace settings_flags {
constexpr std::uint32_t request_ids = 1;
}
struct Challenge {  // of a certificate authority
  Text domain, token, answer, certificate;
};

struct Settings {
  std::uint32_t flags = 0;
  std::uint32_t default_backend = none;  // for hosts that nobody has
  Text default_label, platform_certificate;
  std::uint64_t default_body_limit = 0;
  List<Range> trusted;
  List<Text> early_methods;
};

struct Header {
  char magic[8] = {};
  std::uint32_t version = 0, header_size = 0;
  std::uint64_t size = 0, checksum = 0;  // of the whole file; of what follows the checksum
  std::uint64_t generation = 0, seed = 0;
  std::uint64_t base = 0;  // generation of the table that this one amends; 0: it stands alone
  Settings settings;
  List<Host> hosts;  // the last `regexes` of them are regular expressions, in order
  std::uint32_t regexes = 0, unused = 0;
  List<std::uint32_t> host_slots;  // by hash of the name: 1 + the index, 0: empty. A power of two of them, or none
  List<Backend> backends;
  List<std::uint32_t> backend_slots;  // the same by the backend's name
  List<App> apps;
  List<Challenge> challenges;  // all of them, in an amendment as well
};

std::uint64_t hash_of(std::string_view text, std::uint64_t seed);

// <folder>/current, mapped by the router, which alone writes `generation`, and by each worker, which writes its own
// entry. Whoever dies leaves nothing behind that harms: a table is complete before it is named here, and the entry of
// a process that is gone is taken by another.
struct Control {
  char magic[8];
  std::uint32_t version, unused;
  std::atomic<std::uint64_t> generation;  // of the table that requests meet; 0: none yet
  struct Worker {
    std::atomic<std::uint64_t> process;     // 0: free
    std::atomic<std::uint64_t> generation;  // that this worker works with
    std::atomic<std::uint64_t> refused;     // the last one that it could not use
  };
  static constexpr std::size_t max_workers = 512;
  Worker workers[max_workers];
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

}  // namespace workflow::router::table
