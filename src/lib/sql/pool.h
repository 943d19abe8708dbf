// src/lib/sql/pool.h: the connections of a Db. Not for components.
#pragma once
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "lib/sql/connection.h"
#include "lib/sql/sql.h"

namespace workflow::sql {

// Used from the threads of the blocking pool.
struct Db::Pool {
  Config config;
  std::mutex mutex;
  std::condition_variable returned;
  std::vector<std::unique_ptr<Connection>> idle;
  int open = 0;  // idle or taken

  std::unique_ptr<Connection> take();
  void give_back(std::unique_ptr<Connection> connection);
  void roll_back(std::unique_ptr<Connection> connection);  // and give it back
  void forget();                                           // a taken connection is gone
  void forget_idle();                                      // they will be made anew
};

}  // namespace workflow::sql
