// src/router/publish.h: puts routing tables where nginx's workers see them.
//   Owns    <folder>/table/: the control page, the current table, and the last one that was kept for good.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "lib/async/task.h"
#include "router/encode.h"
#include "router/table/layout.h"

namespace workflow::router {

class Publisher {
 public:
  // Begins with the last good table in `folder`, if there is one.
  explicit Publisher(std::string folder);
  ~Publisher();
  Publisher(const Publisher&) = delete;
  Publisher& operator=(const Publisher&) = delete;

  // Requests that begin after this meet the model. Throws `unavailable` when the table cannot be written; the one
  // before stays. Does nothing when the table would be the same.
  void publish(const Model& model);
  // Returns once every worker works with the newest table; throws `timeout` when one does not, `unavailable` when one
  // refused it.
  Task<> confirm();
  // Keeps the newest table for a start without the Kubernetes API, whatever happens to this machine.
  Task<> keep();
  std::uint64_t generation() const { return generation_; }  // 0: no table yet

 private:
  std::string file_of(std::uint64_t generation) const { return folder_ + "/" + std::to_string(generation); }
  void make_control();
  void load_last();
  void use(std::uint64_t generation);

  std::string folder_;
  table::Control* control_ = nullptr;
  std::uint64_t seed_, generation_ = 0, kept_ = 0;
  std::string bytes_;  // of the newest table: an equal one is not published again
};

}  // namespace workflow::router
