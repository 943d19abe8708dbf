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
  if (opened && opened->base() == 0) problem = opened->first_fault();
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

// When so many places are touched a table of its own is due: it costs what all apps do, and this often only.
bool is_much(const Touched& touched, const Model& model) {
  return touched.places.size() + touched.hosts.size() > 64 + model.apps.size() / 8;
}

// But for the number that each table has of its own.
bool are_equal(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  auto one = header_of(a), other = header_of(b);
  other.generation = one.generation;
  other.checksum = one.checksum;
  return std::memcmp(&one, &other, sizeof one) == 0 &&
         std::memcmp(a.data() + sizeof one, b.data() + sizeof one, a.size() - sizeof one) == 0;
}

// The pages live on: workers of a router that was killed have them mapped.
void* map_shared(const std::string& path, std::size_t size) {
  const Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0660));
  if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) fail("cannot make " + path);
  share(fd.get(), 0660);
  auto* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (memory == MAP_FAILED) fail("cannot map " + path);
  return memory;
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
  make_traffic();
  load_last();
}

Publisher::~Publisher() { ::munmap(control_, sizeof(table::Control)); }

void Publisher::make_control() {
  control_ = static_cast<table::Control*>(map_shared(folder_ + "/current", sizeof(table::Control)));
  std::memcpy(control_->magic, table::magic, sizeof table::magic);
  control_->version = table::layout_version;
}

void Publisher::make_traffic() {
  traffic_.emplace(map_shared(folder_ + "/traffic", table::Traffic::size()));
  traffic_->start(seed_);
}

// What workers that outlived us use: they need not notice that we are new.
bool Publisher::resume(std::uint64_t generation) {
  const auto bytes = find_file(file_of(generation));
  std::string problem;
  if (!bytes) return false;
  auto table = table::Table::open(std::as_bytes(std::span(*bytes)), problem);
  const auto base = table && table->base() != 0 ? find_file(file_of(table->base())) : std::nullopt;
  const auto base_number = table ? table->base() : 0;
  if (base) {
    table = table::Table::open(std::as_bytes(std::span(*base)), problem);
    if (table && !table->amend(std::as_bytes(std::span(*bytes)), problem)) table.reset();
  }
  if (!table || table->base() != base_number || (base_number != 0 && !base)) return false;
  problem = table->first_fault();
  if (!problem.empty() || table->generation() != generation) return false;
  base_ = base_number == 0 ? generation : base_number;
  generation_ = generation;
  return true;
}

void Publisher::load_last() {
  const auto current = control_->generation.load();
  if (current != 0 && resume(current)) return;
  std::string best;
  std::uint64_t highest = current;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const auto name = entry.path().filename().string();
    if (const auto number = parse_integer(name)) highest = std::max(highest, static_cast<std::uint64_t>(*number));
    if (name == "current" || name == "traffic" || name.ends_with(".draft")) continue;
    auto bytes = read_table(entry.path());
    if (!bytes || header_of(*bytes).base != 0) continue;
    if (best.empty() || generation_of(*bytes) > generation_of(best)) best = std::move(*bytes);
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
  base_ = highest + 1;
  use(highest + 1);
}

void Publisher::use(std::uint64_t generation) {
  generation_ = generation;
  control_->generation.store(generation, std::memory_order_release);
  // Wakes workers that have nothing to do: they confirm it, and no request waits for the mapping.
  ::utimensat(AT_FDCWD, (folder_ + "/current").c_str(), nullptr, 0);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const auto number = parse_integer(entry.path().filename().string());
    if (!number || static_cast<std::uint64_t>(*number) == base_) continue;
    if (static_cast<std::uint64_t>(*number) + 1 < generation) fs::remove(entry.path());
  }
}

void Publisher::publish(const Model& model) {
  complete_ = false;
  auto bytes = encode_table(model, {.generation = generation_ + 1, .seed = seed_});
  if (!are_equal(bytes, bytes_)) {
    const auto next = generation_ + 1;
    write_table(file_of(next), bytes);
    base_ = next;
    use(next);
    bytes_ = std::move(bytes);
  }
  since_base_ = {};
  complete_ = true;
}

void Publisher::publish(const Model& model, const Touched& touched) {
  since_base_.places.insert(touched.places.begin(), touched.places.end());
  since_base_.hosts.insert(touched.hosts.begin(), touched.hosts.end());
  since_base_.backends.insert(touched.backends.begin(), touched.backends.end());
  since_base_.challenges = since_base_.challenges || touched.challenges;
  if (!complete_ || is_much(since_base_, model)) return publish(model);
  if (since_base_.places.empty() && !since_base_.challenges) return;
  const auto next = generation_ + 1;
  auto bytes = encode_amendment(model, since_base_, base_, {.generation = next, .seed = seed_});
  if (are_equal(bytes, bytes_)) return;
  write_table(file_of(next), bytes);
  use(next);
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

Task<> Publisher::keep(const Model& model) {
  if (kept_ == generation_ || generation_ == 0 || !complete_) co_return;
  const auto generation = generation_;
  auto write = [bytes = encode_table(model, {.generation = generation, .seed = seed_}), to = folder_ + "/last-good"] {
    write_file_atomically(to, bytes, 0600);
  };
  co_await offload(std::move(write));
  kept_ = generation;
}

}  // namespace workflow::router
