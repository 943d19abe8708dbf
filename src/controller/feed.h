// src/controller/feed.h: what the controllers tell each other: events, ends of jobs, progress of deploys.
//   Owns    a connection that listens; the last lines of progress. Nothing here is durable: what matters is in the
//   database,
//           and whoever is woken reads it there.
#pragma once
#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "lib/async/task.h"
#include "lib/json/json.h"
#include "lib/sql/sql.h"

namespace workflow::controller {

class Feed {
 public:
  Feed(Executor executor, sql::Db& db) : db_(db), changes_(executor) {}
  Task<> run();  // until cancelled

  // Something was committed, here or by another controller; also when messages may have been missed.
  Notifier& changes() { return changes_; }
  // Called for each message, and with {} when some may have been missed. Must not suspend.
  void on_message(std::function<void(const json::object&)> listener) { listeners_.push_back(std::move(listener)); }

  // A line of progress of an app's deploy, for whoever looks on at any controller.
  struct Progress {
    std::uint64_t number = 0;
    std::string app_uuid, line;
  };
  std::uint64_t newest() const { return told_; }
  std::vector<Progress> progress_since(std::uint64_t number, const std::string& app_uuid) const;

 private:
  void take(const std::string& payload);
  sql::Db& db_;
  Notifier changes_;
  std::vector<std::function<void(const json::object&)>> listeners_;
  std::deque<Progress> progress_;
  std::uint64_t told_ = 0;
};

}  // namespace workflow::controller
