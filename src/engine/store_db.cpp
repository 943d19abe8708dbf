#include "engine/store_db.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <utility>

#include "lib/base/error.h"
#include "lib/base/file.h"

namespace workflow::engine {

namespace {

void bind(sqlite3_stmt* statement, int at, const std::string& text) {
  sqlite3_bind_text(statement, at, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

std::string column(sqlite3_stmt* statement, int at) {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, at));
  return {text, static_cast<std::size_t>(sqlite3_column_bytes(statement, at))};
}

// Whoever may read the file reads every Secret. SQLite gives the files beside it the mode of the main one.
void keep_private(const std::filesystem::path& file) {
  const Fd made(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  for (const auto* suffix : {"", "-wal", "-shm"}) ::chmod((file.string() + suffix).c_str(), 0600);
}

constexpr const char* schema =
    "create table if not exists objects (resource text not null, ns text not null, name text not null, body text not "
    "null,"
    " primary key (resource, ns, name)) without rowid;"
    "create table if not exists revision (one integer primary key check (one = 1), value integer not null);"
    "insert or ignore into revision values (1, 0);";

}  // namespace

StoreDb::StoreDb(std::filesystem::path file) : file_(std::move(file)) {
  keep_private(file_);
  try {
    check(
        sqlite3_open_v2(file_.c_str(), &db_, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr),
        SQLITE_OK);
    sqlite3_extended_result_codes(db_, 1);
    sqlite3_busy_timeout(db_, 5000);
    // Exclusive: a second engine on the same folder is told so instead of sharing the file.
    execute("pragma locking_mode = exclusive");
    execute("pragma journal_mode = wal");
    execute("pragma synchronous = full");
    execute("begin immediate");
    execute(schema);
    execute("commit");
    put_ = prepare("insert into objects values (?, ?, ?, ?) on conflict do update set body = excluded.body");
    erase_ = prepare("delete from objects where resource = ? and ns = ? and name = ?");
    set_revision_ = prepare("update revision set value = ?");
  } catch (...) {
    sqlite3_close_v2(db_);
    throw;
  }
}

StoreDb::~StoreDb() {
  for (auto* statement : {put_, erase_, set_revision_}) sqlite3_finalize(statement);
  sqlite3_close_v2(db_);
}

void StoreDb::check(int code, int expected) {
  if (code == expected) return;
  const std::string why = db_ != nullptr ? sqlite3_errmsg(db_) : sqlite3_errstr(code);
  const std::string where = file_.string();
  switch (code & 0xff) {
    case SQLITE_FULL:
      throw Error{ErrorKind::unavailable, "no space left on the disk of " + where + "; free some and try again"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      throw Error{ErrorKind::internal, where + " is damaged (" + why + "); move it away, or restore it from a copy"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      throw Error{ErrorKind::unavailable,
                  where + " is in use by another engine; stop that one, or choose another --state"};
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM: throw Error{ErrorKind::unavailable, where + " cannot be written: " + why};
    case SQLITE_IOERR: throw Error{ErrorKind::unavailable, "the disk of " + where + " failed: " + why};
    default: throw Error{ErrorKind::internal, "SQLite refused a statement on " + where + ": " + why};
  }
}

void StoreDb::execute(const char* sql) { check(sqlite3_exec(db_, sql, nullptr, nullptr, nullptr), SQLITE_OK); }

sqlite3_stmt* StoreDb::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  check(sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr), SQLITE_OK);
  return statement;
}

std::int64_t StoreDb::revision() {
  auto* statement = prepare("select value from revision");
  const int code = sqlite3_step(statement);
  const auto value = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
  sqlite3_finalize(statement);
  check(code, SQLITE_ROW);
  return value;
}

void StoreDb::for_each(const std::function<void(StoredRow)>& row) {
  auto* statement = prepare("select resource, ns, name, body from objects");
  int code = 0;
  try {
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
      row({column(statement, 0), column(statement, 1), column(statement, 2), column(statement, 3)});
    }
  } catch (...) {
    sqlite3_finalize(statement);
    throw;
  }
  sqlite3_finalize(statement);
  check(code, SQLITE_DONE);
}

void StoreDb::commit(const std::vector<RowChange>& changes, std::int64_t revision) {
  execute("begin immediate");
  try {
    for (const auto& change : changes) {
      auto* statement = change.body.empty() ? erase_ : put_;
      bind(statement, 1, change.resource);
      bind(statement, 2, change.ns);
      bind(statement, 3, change.name);
      if (!change.body.empty()) bind(statement, 4, change.body);
      const int code = sqlite3_step(statement);
      sqlite3_reset(statement);
      check(code, SQLITE_DONE);
    }
    sqlite3_bind_int64(set_revision_, 1, revision);
    const int code = sqlite3_step(set_revision_);
    sqlite3_reset(set_revision_);
    check(code, SQLITE_DONE);
    execute("commit");
  } catch (...) {
    if (sqlite3_get_autocommit(db_) == 0) sqlite3_exec(db_, "rollback", nullptr, nullptr, nullptr);
    throw;
  }
}

}  // namespace workflow::engine
