// src/engine/controllers/loop.h: reconciles keys, each one at a time, different ones side by side.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "lib/async/task.h"
#include "lib/base/clock.h"

namespace workflow::engine {

class Loop {
 public:
  // `reconcile` says when to look at the key again, if nothing happens before. A failure is logged and tried again,
  // later each time.
  using Reconcile = std::function<Task<std::optional<Time>>(std::string key)>;
  Loop(Executor executor, std::string name, const Clock& clock, Reconcile reconcile);
  ~Loop();
  void add(const std::string& key);  // something about it changed
  void look_at_clock();              // it was set: what is due may be due now
  Task<> run();                      // until cancelled

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace workflow::engine
