#include "router/module/tables.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "router/table/traffic.h"

namespace workflow::router::module {
namespace {

bool is_alive(std::uint64_t process) { return ::kill(static_cast<pid_t>(process), 0) == 0 || errno == EPERM; }

// The whole file, or null with a reason.
enum class Access { read, share };
struct Wanted {
  int folder;
  std::string name;
  Access access;
};
void* map(const Wanted& wanted, std::size_t& size, std::string& problem) {
  const bool writes = wanted.access == Access::share;
  const int fd = ::openat(wanted.folder, wanted.name.c_str(), (writes ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOFOLLOW);
  struct stat info{};
  void* memory = MAP_FAILED;
  if (fd >= 0 && ::fstat(fd, &info) == 0 && info.st_size > 0) {
    size = static_cast<std::size_t>(info.st_size);
    memory = ::mmap(nullptr, size, writes ? PROT_READ | PROT_WRITE : PROT_READ,
                    writes ? MAP_SHARED : MAP_PRIVATE | MAP_POPULATE, fd, 0);
  }
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (memory != MAP_FAILED) return memory;
  problem = fd >= 0 && info.st_size == 0 ? "it is empty" : std::strerror(error);
  return nullptr;
}

}  // namespace

Tables::~Tables() {
  if (entry_) entry_->process.store(0);
  if (control_) ::munmap(control_, sizeof(table::Control));
}

Tables::Mapping& Tables::Mapping::operator=(Mapping&& other) noexcept {
  std::swap(memory, other.memory);
  std::swap(size, other.size);
  std::swap(generation, other.generation);
  return *this;
}

Tables::Mapping::~Mapping() {
  if (memory) ::munmap(memory, size);
}

bool Tables::start() {
  std::size_t size = 0;
  std::string problem;
  auto* memory = map({folder_, "current", Access::share}, size, problem);
  auto* control = static_cast<table::Control*>(memory);
  if (control && (size != sizeof(table::Control) || control->version != table::layout_version ||
                  std::memcmp(control->magic, table::magic, sizeof table::magic) != 0)) {
    ::munmap(memory, size);
    control = nullptr;
    problem = "it was written by another version of the router";
  }
  if (!control) {
    tell_("the control page cannot be used: " + problem);
    return false;
  }
  control_ = control;
  const auto self = static_cast<std::uint64_t>(::getpid());
  for (auto& worker : control_->workers) {
    auto owner = worker.process.load();
    if (owner != 0 && owner != self && is_alive(owner)) continue;
    if (!worker.process.compare_exchange_strong(owner, self)) continue;
    worker.generation.store(0);
    worker.refused.store(0);
    entry_ = &worker;
    break;
  }
  current();
  return true;
}

void* Tables::map_traffic() const {
  std::size_t size = 0;
  std::string problem;
  auto* memory = map({folder_, "traffic", Access::share}, size, problem);
  if (memory && size == table::Traffic::size()) return memory;
  tell_("requests are not counted: " + (memory ? std::string("the file has another size") : problem));
  if (memory) ::munmap(memory, size);
  return nullptr;
}

Tables::Mapping Tables::map_table(std::uint64_t generation, std::string& problem) const {
  Mapping mapping;
  mapping.generation = generation;
  mapping.memory = map({folder_, std::to_string(generation), Access::read}, mapping.size, problem);
  return mapping;
}

// A table that amends the one that we have costs what it has itself.
bool Tables::load(std::uint64_t generation, std::string& problem) {
  auto newest = map_table(generation, problem);
  if (!newest.memory) return false;
  auto table = table::Table::open(newest.bytes(), problem);
  if (table && table->generation() != generation) {
    problem = "it is another generation than its name says";
    table.reset();
  }
  if (!table) return false;
  if (table->base() == 0) {
    table_ = table;
    base_ = std::move(newest);
    amendment_ = Mapping();
    return true;
  }
  const auto number = table->base();
  std::optional<Mapping> base;
  if (base_.generation != number) base = map_table(number, problem);
  const auto bytes = base ? base->bytes() : base_.bytes();
  if (bytes.empty()) return false;
  // What is mapped was checked before.
  table = base ? table::Table::open(bytes, problem) : table::Table::view(bytes);
  if (!table || !table->amend(newest.bytes(), problem)) return false;
  table_ = table;
  if (base) base_ = std::move(*base);
  amendment_ = std::move(newest);
  return true;
}

// A table that a newer one replaced may be gone before we come to it.
void Tables::refresh() {
  for (;;) {
    const auto generation = control_->generation.load(std::memory_order_acquire);
    if (generation == seen_) return;
    std::string problem;
    const bool loaded = generation != 0 && load(generation, problem);
    if (!loaded && control_->generation.load(std::memory_order_acquire) != generation) continue;
    seen_ = generation;
    if (entry_) (loaded ? entry_->generation : entry_->refused).store(generation, std::memory_order_release);
    if (!loaded && generation != 0)
      tell_("routing table " + std::to_string(generation) + " cannot be used, the one before stays: " + problem);
  }
}

}  // namespace workflow::router::module
