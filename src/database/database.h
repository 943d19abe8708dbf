// src/database/database.h: supervises PostgreSQL 15 on a persistent volume.
//   Owns    DATABASE_DIR: the cluster in <dir>/15, and the lock that keeps a second server away from it.
//   Needs   PostgreSQL 15 (initdb, postgres, psql) and, when it runs as root, the user `postgres`.
//   Speaks  SQL on DATABASE_PORT; health on DATABASE_HEALTH_PORT.
#pragma once
#include <cstdint>
#include <string>

#include "lib/async/task.h"
#include "lib/base/settings.h"

namespace workflow::database {

struct Config {
  std::string folder;         // DATABASE_DIR: default /var/lib/workflow/database
  std::string name;           // DATABASE_NAME: the database, made when absent; default workflow
  std::string user;           // DATABASE_USER_FILE: its owner
  Secret password;            // DATABASE_PASSWORD_FILE: the owner's, set at each start
  std::uint16_t port;         // DATABASE_PORT: default 5432
  std::uint16_t health_port;  // DATABASE_HEALTH_PORT: default 8082
  std::string programs;       // DATABASE_PROGRAMS: default /usr/lib/postgresql/15/bin
  static Config from(Env& env);
};

Task<> serve(Executor executor, Config config);  // until cancelled; throws when PostgreSQL ends by itself
int database_main(int argc, char** argv);

}  // namespace workflow::database
