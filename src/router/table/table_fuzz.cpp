// A table from a disk: whatever its bytes are, reading it stays inside of it and ends.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "router/table/table.h"

using namespace workflow::router::table;

namespace {
struct Literal : Regexes {
  bool matches(std::string_view pattern, Letters, std::string_view subject) override { return pattern == subject; }
};
}  // namespace

namespace {

// Else no input of the fuzzer would get past the door.
void make_openable(std::span<std::byte> bytes, std::uint64_t generation, std::uint64_t base) {
  if (bytes.size() < sizeof(Header)) return;
  auto& header = *reinterpret_cast<Header*>(bytes.data());
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = layout_version;
  header.header_size = sizeof(Header);
  header.size = bytes.size();
  header.generation = generation;
  header.base = base;
  header.checksum = checksum_of(bytes);
}

std::size_t read_all(const Table& table) {
  table.first_fault();
  Literal regexes;
  std::size_t seen = 0;
  for (const auto* name : {"foo.example.com", "a.b.foo.org", "foo", "*.x", "."}) {
    if (const auto* host = table.find_host(name, regexes)) {
      if (const auto* app = table.app(*host)) {
        const auto* backend = table.backend_for(*app, "/a/b", regexes);
        if (backend) seen += table.text(backend->name).size() + table.list(backend->endpoints).size();
        seen += table.text(app->label).size() + table.list(app->whitelist).size() + table.list(app->users).size();
        for (const auto& page : table.list(app->pages)) seen += table.text(page.html).size();
      }
    }
    seen += table.find_backend(name) != nullptr;
  }
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint64_t> aligned(size / 8 + 1), second(size / 8 + 1);
  std::memcpy(aligned.data(), data, size);
  std::memcpy(second.data(), data, size);
  const std::span bytes(reinterpret_cast<std::byte*>(aligned.data()), size);
  make_openable(bytes, 7, 0);
  std::string problem;
  auto table = Table::open(bytes, problem);
  if (!table) return 0;
  auto seen = read_all(*table);
  // The same bytes over themselves: offsets that are marked point into them, others into the base.
  const std::span amendment(reinterpret_cast<std::byte*>(second.data()), size);
  make_openable(amendment, 8, 7);
  if (table->amend(amendment, problem)) seen += read_all(*table);
  return seen == static_cast<std::size_t>(-1);
}
