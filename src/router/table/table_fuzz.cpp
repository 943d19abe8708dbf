// A table from a disk: whatever its bytes are, reading it stays inside of it and ends.
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "router/table/table.h"

using namespace workflow::router::table;

namespace {
struct Literal : Regexes {
  bool matches(std::string_view pattern, Letters, std::string_view subject) override { return pattern == subject; }
};
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint64_t> aligned(size / 8 + 1);
  std::memcpy(aligned.data(), data, size);
  const std::span bytes(reinterpret_cast<std::byte*>(aligned.data()), size);
  if (size >= sizeof(Header)) {
    // Else no input of the fuzzer would get past the door.
    auto& header = *reinterpret_cast<Header*>(aligned.data());
    std::memcpy(header.magic, magic, sizeof magic);
    header.version = layout_version;
    header.header_size = sizeof(Header);
    header.size = size;
    header.checksum = checksum_of(bytes);
  }
  std::string problem;
  const auto table = Table::open(bytes, problem);
  if (!table) return 0;
  table->first_fault();
  Literal regexes;
  std::size_t seen = 0;
  for (const auto* name : {"foo.example.com", "a.b.foo.org", "foo", "*.x", "."}) {
    if (const auto* host = table->find_host(name, regexes)) {
      if (const auto* app = table->app(*host)) {
        const auto* backend = table->backend_for(*app, "/a/b", regexes);
        if (backend) seen += table->text(backend->name).size() + table->list(backend->endpoints).size();
        seen += table->text(app->label).size() + table->list(app->whitelist).size();
      }
    }
    seen += table->find_backend(name) != nullptr;
  }
  return seen == static_cast<std::size_t>(-1);
}
