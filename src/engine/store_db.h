// src/engine/store_db.h: the objects on disk: one SQLite file, WAL, every commit synced.
#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

struct sqlite3;
struct sqlite3_stmt;

namespace workflow::engine {

struct StoredRow {
  std::string resource, ns, name, body;
};
struct RowChange {
  std::string resource, ns, name;
  std::string body;  // "" removes the row
};

// Used by one thread at a time. Throws Error: unavailable when the disk is full or cannot be written (the transaction
// is then undone), internal with the remedy when the file is damaged.
class StoreDb {
 public:
  explicit StoreDb(std::filesystem::path file);
  ~StoreDb();
  StoreDb(const StoreDb&) = delete;
  StoreDb& operator=(const StoreDb&) = delete;

  // The last resourceVersion given out by a commit.
  std::int64_t revision();
  void for_each(const std::function<void(StoredRow)>& row);
  // All or nothing, on disk when it returns.
  void commit(const std::vector<RowChange>& changes, std::int64_t revision);

 private:
  void execute(const char* sql);
  sqlite3_stmt* prepare(const char* sql);
  void check(int code, int expected);

  std::filesystem::path file_;
  sqlite3* db_ = nullptr;
  sqlite3_stmt *put_ = nullptr, *erase_ = nullptr, *set_revision_ = nullptr;
};

}  // namespace workflow::engine
