// src/router/publish.h: puts routing tables where nginx's workers see them.
//   Owns    <folder>/table/: the control page, the current table, and the last one that was kept for good.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "lib/async/task.h"
#include "router/encode.h"
#include "router/table/layout.h"
#include "router/table/traffic.h"

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
  // The same for a model that changed in these places only since the last one: costs what they do.
  void publish(const Model& model, const Touched& touched);
  // Returns once every worker works with the newest table; throws `timeout` when one does not, `unavailable` when one
  // refused it.
  Task<> confirm();
  // Keeps the model for a start without the Kubernetes API, whatever happens to this machine.
  Task<> keep(const Model& model);
  std::uint64_t generation() const { return generation_; }  // 0: no table yet
  table::Traffic& traffic() { return *traffic_; }           // what workers count

 private:
  std::string file_of(std::uint64_t generation) const { return folder_ + "/" + std::to_string(generation); }
  void make_control();
  void make_traffic();
  void load_last();
  bool resume(std::uint64_t generation);
  void use(std::uint64_t generation);

  std::string folder_;
  table::Control* control_ = nullptr;
  std::optional<table::Traffic> traffic_;
  std::uint64_t seed_, generation_ = 0, kept_ = 0;
  std::uint64_t base_ = 0;  // generation of the newest table that stands alone
  Touched since_base_;
  std::string bytes_;      // of the newest table: an equal one is not published again
  bool complete_ = false;  // nothing was left unpublished by a failure
};

}  // namespace workflow::router
