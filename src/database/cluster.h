// src/database/cluster.h: the files and the SQL of a PostgreSQL cluster; decisions only, no processes.
#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "database/database.h"

namespace workflow::database {

enum class Start { initialise, run };
struct DataFolder {
  std::filesystem::path path;
  std::set<std::string> entries;
  bool has_version = false;  // the file PG_VERSION of a cluster in it
};
// Throws unprocessable, saying why, rather than initialise a new cluster beside or over anything that may be an old
// one.
Start plan_start(const DataFolder& folder);

// Arguments of `postgres`, after its name.
std::vector<std::string> server_arguments(const Config& config, const std::filesystem::path& data,
                                          const std::filesystem::path& sockets);
// pg_hba.conf: everybody over TCP with a SCRAM password; the superuser only through our own socket folder.
std::string access_rules();
// Input for psql: the role with its password, and its database.
std::string setup_sql(const Config& config);

std::string sql_identifier(const std::string& name);  // "quoted"
std::string sql_literal(const std::string& text);     // 'quoted'

}  // namespace workflow::database
