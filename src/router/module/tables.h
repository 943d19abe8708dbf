// src/router/module/tables.h: the table that requests meet, as one worker sees it.
//   Owns    a mapping of the current table and this worker's entry in the control page.
//   Needs   the folder that the router writes, see table/layout.h: open, because a worker may not be allowed to look it
//   up from the root.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "router/table/table.h"

namespace workflow::router::module {

class Tables {
 public:
  using Tell = std::function<void(const std::string& problem)>;
  Tables(int folder, Tell tell) : folder_(folder), tell_(std::move(tell)) {}
  ~Tables();
  Tables(const Tables&) = delete;
  Tables& operator=(const Tables&) = delete;

  // Maps the control page and takes an entry in it. False when it cannot be used, which has been told.
  bool start();
  // Where requests are counted, see table/traffic.h; null when it cannot be used, which has been told.
  void* map_traffic() const;
  // The newest usable table, or null when there is none yet. What it returned before is gone if it returns another.
  const table::Table* current() {
    if (control_ && control_->generation.load(std::memory_order_acquire) != seen_) refresh();
    return table_ ? &*table_ : nullptr;
  }

 private:
  struct Mapping {
    void* memory = nullptr;
    std::size_t size = 0;
    std::uint64_t generation = 0;
    Mapping() = default;
    Mapping(Mapping&& other) noexcept { *this = std::move(other); }
    Mapping& operator=(Mapping&& other) noexcept;
    ~Mapping();
    std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(memory), size}; }
  };
  void refresh();
  bool load(std::uint64_t generation, std::string& problem);
  Mapping map_table(std::uint64_t generation, std::string& problem) const;

  int folder_;
  Tell tell_;
  table::Control* control_ = nullptr;
  table::Control::Worker* entry_ = nullptr;
  std::uint64_t seen_ = 0;
  Mapping base_, amendment_;  // what `table_` is a view of
  std::optional<table::Table> table_;
};

}  // namespace workflow::router::module
