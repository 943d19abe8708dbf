// src/router/module/tables.h: the table that requests meet, as one worker sees it.
//   Owns    a mapping of the current table and this worker's entry in the control page.
//   Needs   the folder that the router writes, see table/layout.h: open, because a worker may not be allowed to look it
//   up from the root.
#pragma once
#include <functional>
#include <optional>
#include <string>

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
  // The newest usable table, or null when there is none yet. What it returned before is gone if it returns another.
  const table::Table* current() {
    if (control_ && control_->generation.load(std::memory_order_acquire) != seen_) refresh();
    return table_ ? &*table_ : nullptr;
  }

 private:
  void refresh();
  bool load(std::uint64_t generation, std::string& problem);
  void release();

  int folder_;
  Tell tell_;
  table::Control* control_ = nullptr;
  table::Control::Worker* entry_ = nullptr;
  std::uint64_t seen_ = 0;
  void* mapping_ = nullptr;
  std::size_t size_ = 0;
  std::optional<table::Table> table_;
};

}  // namespace workflow::router::module
