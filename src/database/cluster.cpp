#include "database/cluster.h"

#include "lib/base/error.h"
#include "lib/base/text.h"

namespace workflow::database {

Start plan_start(const DataFolder& folder) {
  if (folder.has_version) return Start::run;
  if (folder.entries.contains("15")) {
    throw Error(ErrorKind::unprocessable, (folder.path / "15").string() +
                                              " is damaged: it has no PG_VERSION. Restore it from a "
                                              "backup, or move it away to begin with an empty database");
  }
  for (const auto& entry : folder.entries) {
    // Ours: the lock, and what an interrupted initialisation left. A volume's own lost+found is nobody's database.
    if (entry == "lock" || entry == "lost+found" || entry.starts_with("15.new")) continue;
    throw Error(ErrorKind::unprocessable, folder.path.string() + " holds \"" + entry +
                                              "\" but no PostgreSQL 15 cluster. If it is "
                                              "an older database, upgrade it; if not, move it away");
  }
  return Start::initialise;
}

std::vector<std::string> server_arguments(const Config& config, const std::filesystem::path& data,
                                          const std::filesystem::path& sockets) {
  std::vector<std::string> arguments{"-D", data.string(), "-p", std::to_string(config.port), "-k", sockets.string()};
  // Sized for a platform that shares one small machine with its apps; durability is never traded.
  for (const char* setting : {"listen_addresses=*",
                              "max_connections=50",
                              "shared_buffers=16MB",
                              "work_mem=2MB",
                              "maintenance_work_mem=32MB",
                              "max_wal_size=512MB",
                              "wal_level=replica",
                              "fsync=on",
                              "synchronous_commit=on",
                              "full_page_writes=on",
                              "password_encryption=scram-sha-256",
                              "timezone=UTC",
                              "log_timezone=UTC",
                              "jit=off",
                              "huge_pages=off",
                              "max_parallel_workers=1",
                              "max_logical_replication_workers=0",
                              "logging_collector=off",
                              "log_line_prefix=%m [%p] ",
                              "log_min_duration_statement=1s",
                              "log_parameter_max_length=0",
                              "log_parameter_max_length_on_error=0"}) {
    arguments.insert(arguments.end(), {"-c", setting});
  }
  return arguments;
}

std::string access_rules() {
  return "local all postgres trust\n"
         "host all postgres all reject\n"
         "host all all all scram-sha-256\n";
}

std::string sql_identifier(const std::string& name) { return "\"" + replace_all(name, "\"", "\"\"") + "\""; }
std::string sql_literal(const std::string& text) {
  return "E'" + replace_all(replace_all(text, "\\", "\\\\"), "'", "\\'") + "'";
}

std::string setup_sql(const Config& config) {
  const auto user = sql_identifier(config.user), name = sql_identifier(config.name);
  return "SELECT " + sql_literal("CREATE ROLE " + user) +
         " WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = " + sql_literal(config.user) +
         ")\\gexec\n"
         "ALTER ROLE " +
         user + " LOGIN PASSWORD " + sql_literal(config.password.reveal()) +
         ";\n"
         "SELECT " +
         sql_literal("CREATE DATABASE " + name + " OWNER " + user) +
         " WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = " + sql_literal(config.name) + ")\\gexec\n";
}

}  // namespace workflow::database
