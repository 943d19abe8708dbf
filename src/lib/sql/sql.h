// src/lib/sql/sql.h: PostgreSQL: a pool, transactions as plain functions on the blocking pool, migrations,
// notifications.
//   Queries are named constants; values are parameters, never pasted.
//   Throws  Error: conflict (unique violation, foreign key, serialization failure after retries),
//           unprocessable (check), invalid (text with a NUL or that is not UTF-8), unavailable (no connection),
//           timeout, internal.
#pragma once
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/domain.h"

namespace workflow::sql {

struct Query {
  std::string_view name;  // shows in logs and metrics; also the prepared statement's name
  std::string_view text;  // $1, $2, …
};

// One parameter: null, text, integer, boolean, or bytes. Times go as text in RFC 3339.
class Param {
 public:
  Param(std::nullopt_t) {}
  Param(std::nullptr_t) {}
  Param(std::string text) : text_(std::move(text)) {}
  Param(std::string_view text) : text_(std::string(text)) {}
  Param(const char* text) : text_(text) {}
  Param(bool value) : text_(value ? "t" : "f") {}
  template <typename T>
    requires(std::integral<T> && !std::same_as<T, bool>)
  Param(T value) : text_(std::to_string(value)) {}
  template <typename T>
  Param(const std::optional<T>& value) {
    if (value) *this = Param(*value);
  }
  template <typename T>
    requires requires(const T& t) {
      { t.text() } -> std::convertible_to<std::string>;
    } && (!std::same_as<T, Secret>)
  Param(const T& value) : text_(value.text()) {}
  const std::optional<std::string>& text() const { return text_; }

 private:
  std::optional<std::string> text_;
};

class Rows;
// A row of a result; valid while its Rows is. Columns by name; a missing column is a bug (WF_CHECK).
class Row {
 public:
  bool is_null(std::string_view column) const;
  std::string text(std::string_view column) const;  // throws internal on null
  std::string text_or(std::string_view column, std::string fallback) const;
  std::optional<std::string> find(std::string_view column) const;
  std::int64_t integer(std::string_view column) const;
  bool boolean(std::string_view column) const;

 private:
  friend class Rows;
  Row(const Rows* rows, int index) : rows_(rows), index_(index) {}
  const Rows* rows_;
  int index_;
};
class Rows {
 public:
  Rows(Rows&&) noexcept;
  ~Rows();
  int size() const;
  bool empty() const { return size() == 0; }
  Row operator[](int index) const;
  std::int64_t affected() const;  // rows changed by INSERT, UPDATE, DELETE

 private:
  friend class Tx;
  friend class Row;
  struct State;
  explicit Rows(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Inside a transaction, on a thread of the blocking pool. Nothing suspends here.
class Tx {
 public:
  Rows query(const Query& query, std::initializer_list<Param> params = {}) {
    return query_all(query, std::vector<Param>(params));
  }
  Rows query_all(const Query& query, const std::vector<Param>& params);
  std::int64_t execute(const Query& query, std::initializer_list<Param> params = {});  // rows affected
  void notify(const std::string& channel, const std::string& payload);                 // delivered on commit

 private:
  friend class Db;
  struct State;
  explicit Tx(State& state) : state_(state) {}
  State& state_;
};

struct Config {
  std::string host, port = "5432", database, user;
  Secret password;
  std::string application = "workflow";  // who we are to the server: pg_stat_activity.application_name
  int connections = 8;
  std::chrono::milliseconds statement_timeout{30'000};
  std::chrono::milliseconds acquire_timeout{10'000};
  std::chrono::milliseconds idle_timeout{60'000};  // of connections that nobody needed for so long
};

class Db {
 public:
  explicit Db(Config config);
  ~Db();
  // Runs `work` in one SERIALIZABLE-safe READ COMMITTED transaction; commits on return, rolls back on exception.
  // Retried on deadlock and serialization failure, and when a pooled connection turns out broken before anything was
  // sent.
  template <typename F>
  auto transact(F work) -> Task<std::invoke_result_t<F, Tx&>>;
  template <typename F>
  auto transact_here(F work) -> std::invoke_result_t<F, Tx&>;  // on this thread: tests, migrations
  // Applies the numbered .sql files (name → text, in order) not applied yet; one replica at a time (advisory lock).
  void migrate(const std::vector<std::pair<std::string, std::string>>& migrations);
  // Calls `on_notify(payload)` for each NOTIFY on `channel`, and `on_notify("")` after each (re)connect, until
  // cancelled.
  Task<> listen(std::string channel, std::function<void(const std::string&)> on_notify);
  Task<bool> reachable();

 private:
  struct Pool;
  void run(const std::function<void(Tx&)>& work);
  std::shared_ptr<Pool> pool_;
};

template <typename F>
auto Db::transact_here(F work) -> std::invoke_result_t<F, Tx&> {
  using R = std::invoke_result_t<F, Tx&>;
  if constexpr (std::is_void_v<R>) {
    run([&](Tx& tx) { work(tx); });
  } else {
    std::optional<R> result;
    run([&](Tx& tx) { result.emplace(work(tx)); });
    return std::move(*result);
  }
}
template <typename F>
auto Db::transact(F work) -> Task<std::invoke_result_t<F, Tx&>> {
  auto here = [this, work = std::move(work)]() mutable { return transact_here(std::move(work)); };
  co_return co_await offload(std::move(here));
}

}  // namespace workflow::sql
