// src/controller/attempts.h: how often signing in has failed of late, by name: who guesses passwords is slowed down.
#pragma once
#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "lib/base/clock.h"

namespace workflow::controller {

class Attempts {
 public:
  explicit Attempts(int allowed) : allowed_(allowed) {}  // failures in a minute; 0: any number
  // How long to wait before the next attempt; nullopt: go ahead.
  std::optional<std::chrono::seconds> pause(const std::string& name, Time now) const;
  void failed(const std::string& name, Time now);
  void succeeded(const std::string& name) { failures_.erase(name); }
  std::size_t size() const { return failures_.size(); }

 private:
  struct Failures {
    int count = 0;
    Time since{};
  };
  int allowed_;
  std::map<std::string, Failures> failures_;
};

}  // namespace workflow::controller
