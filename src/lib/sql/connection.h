// src/lib/sql/connection.h: one connection to PostgreSQL; the only code that sees libpq. Not for components.
#pragma once
#include <libpq-fe.h>

#include <memory>
#include <set>
#include <string>

#include "lib/base/error.h"
#include "lib/sql/sql.h"

namespace workflow::sql {

using Result = std::unique_ptr<PGresult, decltype(&PQclear)>;

// A failure of PostgreSQL as an Error of ours, by SQLSTATE.
Error error_from(const std::string& sqlstate, const std::string& text, std::string_view query);
bool may_be_retried(const std::string& sqlstate);  // deadlock, serialization failure

// Thrown inside this library only: the connection is of no more use.
struct Broken : Error {
  explicit Broken(std::string detail)
      : Error(Error(ErrorKind::unavailable, "the database cannot be reached; try again soon")
                  .with_detail(std::move(detail))) {}
};
// Thrown inside this library only: the transaction lost a race and may be run again.
struct Retry : Error {
  explicit Retry(Error error) : Error(std::move(error)) {}
};

class Connection {
 public:
  explicit Connection(const Config& config);                      // throws Broken
  Result simple(const std::string& text, std::string_view name);  // may hold several statements
  Result prepared(const Query& query, const std::vector<Param>& params);
  PGconn* raw() const { return connection_.get(); }
  bool usable() const { return PQstatus(connection_.get()) == CONNECTION_OK; }

 private:
  Result checked(PGresult* result, std::string_view name);
  std::unique_ptr<PGconn, decltype(&PQfinish)> connection_;
  std::set<std::string> prepared_;
};

}  // namespace workflow::sql
