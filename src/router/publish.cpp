#include "router/publish.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>

#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "router/table/table.h"

namespace workflow::router {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

constexpr gid_t workers_group = 65534;  // of nginx's workers when we run as root: nogroup

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorKind::unavailable, what + ": " + std::strerror(errno));
}

// For us to write and for nginx's workers to read; the control page they write, too.
void share(int fd, mode_t mode) {
  if (::geteuid() == 0 && ::fchown(fd, static_cast<uid_t>(-1), workers_group) != 0) fail("cannot share a table");
  if (::fchmod(fd, mode) != 0) fail("cannot share a table");
}

// Written whole under another name first: whoever sees the name sees all of it.
void write_table(const std::string& path, const std::string& bytes) {
  const auto draft = path + ".draft";
  const Fd fd(::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!fd) fail("cannot write the routing table " + draft);
  for (std::size_t done = 0; done < bytes.size();) {
    const auto written = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (written < 0) {
      const auto error = errno;
      ::unlink(draft.c_str());
      errno = error;
      fail("cannot write the routing table " + draft);
    }
    done += static_cast<std::size_t>(written);
  }
  share(fd.get(), 0640);
  if (::rename(draft.c_str(), path.c_str()) != 0) fail("cannot name the routing table " + path);
}

bool is_alive(std::uint64_t process) { return ::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM; }

// The bytes of a table that may be believed.
std::optional<std::string> read_table(const fs::path& path) {
  auto text = find_file(path);
  if (!text) return std::nullopt;
  std::string problem;
  const auto opened = table::Table::open(std::as_bytes(std::span(*text)), problem);
  if (opened) problem = opened->first_fault();
  if (problem.empty()) return text;
  log::warn("a kept routing table is not used", kv("file", path.string()), kv("problem", problem));
  return std::nullopt;
}

table::Header header_of(const std::string& bytes) {
  table::Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  return header;
}

std::uint64_t generation_of(const std::string& bytes) { return header_of(bytes).generation; }

// But for the number that each table has of its own.
bool are_equal(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  auto one = header_of(a), other = header_of(b);
  other.generation = one.generation;
  other.checksum = one.checksum;
  return std::memcmp(&one, &other, sizeof one) == 0 &&
         std::memcmp(a.data() + sizeof one, b.data() + sizeof one, a.size() - sizeof one) == 0;
}

}  // namespace

Publisher::Publisher(std::string folder) : folder_(std::move(folder) + "/table") {
  fs::create_directories(folder_);
  const Fd fd(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) fail("cannot open " + folder_);
  share(fd.get(), 0750);
  const auto random = random_hex(8);
  std::memcpy(&seed_, random.data(), sizeof seed_);
  make_control();
  load_last();
}

Publisher::~Publisher() { ::munmap(control_, sizeof(table::Control)); }

// The page lives on: workers of a router that was killed have it mapped.
void Publisher::make_control() {
  const auto path = folder_ + "/current";
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660));
  if (!fd || ::ftruncate(fd.get(), sizeof(table::Control)) != 0) fail("cannot make " + path);
  share(fd.get(), 0660);
  auto* memory = ::mmap(nullptr, sizeof(table::Control), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) fail("cannot map " + path);
  control_ = static_cast<table::Control*>(memory);
  std::memcpy(control_->magic, table::magic, sizeof table::magic);
  control_->version = table::layout_version;
}

void Publisher::load_last() {
  std::string best;
  std::uint64_t highest = control_->generation.load();
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const auto name = entry.path().filename().string();
    if (const auto number = parse_integer(name)) highest = std::max(highest, static_cast<std::uint64_t>(*number));
    if (name == "current" || name.ends_with(".draft")) continue;
    if (auto bytes = read_table(entry.path()); bytes && (best.empty() || generation_of(*bytes) > generation_of(best)))
      best = std::move(*bytes);
  }
  generation_ = highest;
  if (best.empty()) {
    control_->generation.store(0);
    return;
  }
  // It gets a new number: what was written under the old one may be another table.
  table::Header header;
  std::memcpy(&header, best.data(), sizeof header);
  header.generation = highest + 1;
  std::memcpy(best.data(), &header, sizeof header);
  header.checksum = table::checksum_of(std::as_bytes(std::span(best)));
  std::memcpy(best.data(), &header, sizeof header);
  write_table(file_of(highest + 1), best);
  use(highest + 1);
}

void Publisher::use(std::uint64_t generation) {
  generation_ = generation;
  control_->generation.store(generation, std::memory_order_release);
  // Wakes workers that have nothing to do: they confirm it, and no request waits for the mapping.
  ::utimensat(AT_FDCWD, (folder_ + "/current").c_str(), nullptr, 0);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const auto number = parse_integer(entry.path().filename().string());
    if (number && static_cast<std::uint64_t>(*number) + 1 < generation) fs::remove(entry.path());
  }
}

void Publisher::publish(const Model& model) {
  auto bytes = encode_table(model, {.generation = generation_ + 1, .seed = seed_});
  if (are_equal(bytes, bytes_)) return;
  write_table(file_of(generation_ + 1), bytes);
  use(generation_ + 1);
  bytes_ = std::move(bytes);
}

Task<> Publisher::confirm() {
  const auto wanted = generation_;
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  for (;;) {
    std::size_t working = 0, late = 0;
    for (const auto& worker : control_->workers) {
      const auto process = worker.process.load();
      if (process == 0 || !is_alive(process)) continue;
      if (worker.refused.load() >= wanted)
        throw Error(ErrorKind::unavailable, "an nginx worker cannot use the routing table; its log says why");
      ++(worker.generation.load(std::memory_order_acquire) >= wanted ? working : late);
    }
    if (working > 0 && late == 0) co_return;
    if (std::chrono::steady_clock::now() > deadline)
      throw Error(ErrorKind::timeout, "nginx's workers do not use the new routing table");
    co_await sleep_for(1ms);
  }
}

Task<> Publisher::keep() {
  if (kept_ == generation_ || generation_ == 0) co_return;
  const auto generation = generation_;
  auto copy = [from = file_of(generation), to = folder_ + "/last-good"] {
    const auto bytes = find_file(from);
    if (bytes) write_file_atomically(to, *bytes, 0600);
    return bytes.has_value();
  };
  if (co_await offload(std::move(copy))) kept_ = generation;
}

}  // namespace workflow::router
