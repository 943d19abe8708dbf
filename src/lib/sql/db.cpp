#include <condition_variable>
#include <mutex>
#include <thread>

#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/sql/connection.h"
#include "lib/sql/pool.h"
#include "lib/sql/sql.h"

namespace workflow::sql {
namespace {

using namespace std::chrono_literals;

// One number for the whole project: replicas that start together migrate one after the other.
constexpr const char* lock_migrations = "SELECT pg_advisory_lock(7305472)";
constexpr const char* unlock_migrations = "SELECT pg_advisory_unlock(7305472)";
constexpr const char* make_migrations_table =
    "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, applied timestamptz NOT NULL DEFAULT now())";
constexpr Query select_migration{"select_migration", "SELECT 1 FROM schema_migrations WHERE name = $1"};
constexpr Query insert_migration{"insert_migration", "INSERT INTO schema_migrations (name) VALUES ($1)"};
constexpr Query select_one{"select_one", "SELECT 1 AS one"};

}  // namespace

struct Rows::State {
  Result result;
};
struct Tx::State {
  Connection& connection;
};

Rows::Rows(std::unique_ptr<State> state) : state_(std::move(state)) {}
Rows::Rows(Rows&&) noexcept = default;
Rows::~Rows() = default;
int Rows::size() const { return PQntuples(state_->result.get()); }
Row Rows::operator[](int index) const {
  WF_CHECK(index >= 0 && index < size());
  return Row(this, index);
}
std::int64_t Rows::affected() const { return parse_integer(PQcmdTuples(state_->result.get())).value_or(0); }

std::optional<std::string> Row::find(std::string_view column) const {
  auto* result = rows_->state_->result.get();
  // PQfnumber folds case unless quoted; column names of ours are lower case.
  const int number = PQfnumber(result, std::string(column).c_str());
  WF_CHECK(number >= 0);
  if (PQgetisnull(result, index_, number)) return std::nullopt;
  return std::string(PQgetvalue(result, index_, number), static_cast<std::size_t>(PQgetlength(result, index_, number)));
}
bool Row::is_null(std::string_view column) const { return !find(column); }
std::string Row::text(std::string_view column) const {
  auto value = find(column);
  if (!value) throw Error(ErrorKind::internal, "unexpected null").with_detail(std::string(column));
  return *std::move(value);
}
std::string Row::text_or(std::string_view column, std::string fallback) const {
  return find(column).value_or(std::move(fallback));
}
std::int64_t Row::integer(std::string_view column) const {
  const auto value = parse_integer(text(column));
  if (!value) throw Error(ErrorKind::internal, "not a number").with_detail(std::string(column));
  return *value;
}
bool Row::boolean(std::string_view column) const { return text(column) == "t"; }

Rows Tx::query_all(const Query& query, const std::vector<Param>& params) {
  return Rows(std::make_unique<Rows::State>(state_.connection.prepared(query, params)));
}
std::int64_t Tx::execute(const Query& query, std::initializer_list<Param> params) {
  return query_all(query, std::vector<Param>(params)).affected();
}
void Tx::notify(const std::string& channel, const std::string& payload) {
  constexpr Query notify_query{"notify", "SELECT pg_notify($1, $2)"};
  query(notify_query, {channel, payload});
}

std::unique_ptr<Connection> Db::Pool::take() {
  std::unique_lock lock(mutex);
  if (!returned.wait_for(lock, config.acquire_timeout, [&] { return !idle.empty() || open < config.connections; })) {
    throw Error(ErrorKind::unavailable, "all database connections are busy; try again soon");
  }
  if (!idle.empty()) {
    auto connection = std::move(idle.back().connection);
    idle.pop_back();
    return connection;
  }
  ++open;
  lock.unlock();
  try {
    return std::make_unique<Connection>(config);
  } catch (...) {
    forget();
    throw;
  }
}

void Db::Pool::give_back(std::unique_ptr<Connection> connection) {
  if (!connection->usable()) return forget();
  const auto now = std::chrono::steady_clock::now();
  std::deque<Idle> expired;  // closed without the lock
  std::lock_guard lock(mutex);
  for (; !idle.empty() && now - idle.front().since > config.idle_timeout; idle.pop_front(), --open) {
    expired.push_back(std::move(idle.front()));
  }
  idle.push_back({std::move(connection), now});
  returned.notify_one();
}

void Db::Pool::forget() {
  std::lock_guard lock(mutex);
  --open;
  returned.notify_one();
}

void Db::Pool::forget_idle() {
  std::lock_guard lock(mutex);
  open -= static_cast<int>(idle.size());
  idle.clear();
  returned.notify_all();
}

void Db::Pool::roll_back(std::unique_ptr<Connection> connection) {
  try {
    connection->simple("ROLLBACK", "rollback");
  } catch (const Error&) {
    return forget();
  }
  give_back(std::move(connection));
}

Db::Db(Config config) : pool_(std::make_shared<Pool>()) { pool_->config = std::move(config); }
Db::~Db() = default;

void Db::run(const std::function<void(Tx&)>& work) {
  constexpr int attempts = 6;
  for (int attempt = 1;; ++attempt) {
    auto connection = pool_->take();
    bool begun = false;
    try {
      connection->simple("BEGIN", "begin");
      begun = true;
      Tx::State state{*connection};
      Tx tx(state);
      work(tx);
      connection->simple("COMMIT", "commit");
      pool_->give_back(std::move(connection));
      return;
    } catch (const Broken&) {
      pool_->forget();
      if (begun || attempt == attempts) throw;
      // A pooled connection that died while idle: nothing was sent, so a new one may begin. The other idle ones met the
      // same.
      pool_->forget_idle();
    } catch (const Retry& retry) {
      pool_->roll_back(std::move(connection));
      if (attempt == attempts) throw Error(retry);
      std::this_thread::sleep_for(5ms * attempt);
    } catch (...) {
      pool_->roll_back(std::move(connection));
      throw;
    }
  }
}

void Db::migrate(const std::vector<std::pair<std::string, std::string>>& migrations) {
  Connection connection(pool_->config);
  connection.simple("SET statement_timeout = 0", "migrate");
  connection.simple(lock_migrations, "lock_migrations");
  connection.simple(make_migrations_table, "make_migrations_table");
  for (const auto& [name, text] : migrations) {
    if (PQntuples(connection.prepared(select_migration, {name}).get()) > 0) continue;
    connection.simple("BEGIN", "begin");
    connection.simple(text, name);
    connection.prepared(insert_migration, {name});
    connection.simple("COMMIT", "commit");
    log::info("migration applied", kv("name", name));
  }
  connection.simple(unlock_migrations, "unlock_migrations");
}

Task<bool> Db::reachable() {
  try {
    co_await transact([](Tx& tx) { tx.query(select_one); });
    co_return true;
  } catch (const Error&) {
    co_return false;
  }
}

}  // namespace workflow::sql
