// src/lib/sql/pool.h: the connections of a Db. Not for components.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>

#include "lib/sql/connection.h"
#include "lib/sql/sql.h"

namespace workflow::sql {

// Used from the threads of the blocking pool. The connection that came back last is given out first; those that a burst
// left behind are closed when others come back: an idle server process costs 8 MB.
struct Db::Pool {
  struct Idle {
    std::unique_ptr<Connection> connection;
    std::chrono::steady_clock::time_point since;
  };

  Config config;
  std::mutex mutex;
  std::condition_variable returned;
  std::deque<Idle> idle;  // longest first
  int open = 0;           // idle or taken

  std::unique_ptr<Connection> take();
  void give_back(std::unique_ptr<Connection> connection);
  void roll_back(std::unique_ptr<Connection> connection);  // and give it back
  void forget();                                           // a taken connection is gone
  void forget_idle();                                      // they will be made anew
};

}  // namespace workflow::sql
