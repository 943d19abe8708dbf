#include "lib/sql/connection.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <exception>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/text.h"
#include "lib/http/resolve.h"

namespace workflow::sql {

bool may_be_retried(const std::string& sqlstate) { return sqlstate == "40001" || sqlstate == "40P01"; }

Error error_from(const std::string& sqlstate, const std::string& text, std::string_view query) {
  const auto detail = std::string(query) + ": " + sqlstate + " " + text;
  auto of = [&](ErrorKind kind, std::string message) { return Error(kind, std::move(message)).with_detail(detail); };
  if (sqlstate == "23505") return of(ErrorKind::conflict, "it exists already");
  // Foreign keys name what a request has found before: it can only have gone since.
  if (sqlstate == "23503") return of(ErrorKind::conflict, "what it belongs to was removed at the same time");
  if (sqlstate.starts_with("23")) return of(ErrorKind::unprocessable, "it does not fit what is stored");
  if (may_be_retried(sqlstate)) return of(ErrorKind::conflict, "somebody else changed it at the same time; try again");
  if (sqlstate == "22021") return of(ErrorKind::invalid, "text must be valid UTF-8");
  if (sqlstate == "57014") return of(ErrorKind::timeout, "the database took too long");
  if (sqlstate.starts_with("53"))
    return of(ErrorKind::unavailable, "the database is out of memory, disk or connections");
  if (sqlstate.starts_with("08") || sqlstate.starts_with("57P")) {
    return of(ErrorKind::unavailable, "the database cannot be reached; try again soon");
  }
  return of(ErrorKind::internal, "the database refused a query");
}

namespace {

using namespace std::chrono_literals;

// libpq would look the name up itself, for as long as a name server likes. Nothing for the folder of a Unix socket.
std::vector<std::string> addresses_of(const std::string& host) {
  std::vector<std::string> addresses;
  if (host.empty() || host.starts_with('/')) return addresses;
  asio::io_context io(1);
  std::exception_ptr failure;
  auto take = [&](const std::exception_ptr& error, const std::vector<asio::ip::tcp::endpoint>& found) {
    failure = error;
    for (const auto& endpoint : found) addresses.push_back(endpoint.address().to_string());
  };
  asio::co_spawn(io, with_deadline(5s, "the name " + host + " cannot be looked up in time", http::resolve(host, 0)),
                 take);
  io.run();
  if (failure) throw Broken(describe(failure));
  return addresses;
}

}  // namespace

Connection::Connection(const Config& config) : connection_(nullptr, PQfinish) {
  const auto addresses = addresses_of(config.host);
  // Each address has its name, which certificates are checked against.
  const auto hosts = addresses.empty() ? config.host : join(std::vector(addresses.size(), config.host), ",");
  const auto options = "-c statement_timeout=" + std::to_string(config.statement_timeout.count()) +
                       " -c idle_in_transaction_session_timeout=60000 -c timezone=UTC -c client_min_messages=warning";
  const std::pair<const char*, std::string> settings[] = {{"host", hosts},
                                                          {"hostaddr", join(addresses, ",")},
                                                          {"port", config.port},
                                                          {"dbname", config.database},
                                                          {"user", config.user},
                                                          {"password", config.password.reveal()},
                                                          {"connect_timeout", "5"},
                                                          {"options", options},
                                                          {"application_name", config.application},
                                                          {"client_encoding", "UTF8"},
                                                          {"keepalives_idle", "10"},
                                                          {"keepalives_interval", "5"},
                                                          {"keepalives_count", "3"},
                                                          {"tcp_user_timeout", "15000"}};
  std::vector<const char*> names, values;
  for (const auto& [name, value] : settings) {
    names.push_back(name);
    values.push_back(value.c_str());
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  connection_.reset(PQconnectdbParams(names.data(), values.data(), 0));
  if (!usable()) throw Broken(PQerrorMessage(connection_.get()));
}

Result Connection::checked(PGresult* raw_result, std::string_view name) {
  Result result(raw_result, PQclear);
  const auto status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) return result;
  const char* code = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  if (!code || !usable()) throw Broken(PQerrorMessage(connection_.get()));
  const std::string sqlstate = code;
  const char* text = PQresultErrorField(result.get(), PG_DIAG_MESSAGE_PRIMARY);
  auto error = error_from(sqlstate, text ? text : "", name);
  if (may_be_retried(sqlstate)) throw Retry(std::move(error));
  throw error;
}

Result Connection::simple(const std::string& text, std::string_view name) {
  return checked(PQexec(connection_.get(), text.c_str()), name);
}

Result Connection::prepared(const Query& query, const std::vector<Param>& params) {
  const std::string name(query.name);
  std::vector<const char*> values;
  for (const auto& param : params) {
    // libpq takes text up to the first NUL: what follows would be lost without a word.
    if (param.text() && param.text()->contains('\0'))
      throw Error(ErrorKind::invalid, "text must not contain a NUL character").with_detail(name);
    values.push_back(param.text() ? param.text()->c_str() : nullptr);
  }
  if (!prepared_.contains(name)) {
    checked(PQprepare(connection_.get(), name.c_str(), std::string(query.text).c_str(), 0, nullptr), name);
    prepared_.insert(name);
  }
  return checked(PQexecPrepared(connection_.get(), name.c_str(), static_cast<int>(values.size()), values.data(),
                                nullptr, nullptr, 0),
                 name);
}

}  // namespace workflow::sql
