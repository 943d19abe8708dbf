// Against a real PostgreSQL in a temporary folder; skipped, saying so, where none is installed.
#include "lib/sql/sql.h"

#include <gtest/gtest.h>
#include <pwd.h>
#include <signal.h>
#include <unistd.h>

#include <barrier>
#include <thread>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/process.h"

namespace workflow::sql {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

const std::string programs = "/usr/lib/postgresql/15/bin/";

class Server {
 public:
  Server() {
    if (::geteuid() == 0) {
      const auto* postgres = getpwnam("postgres");
      uid_ = static_cast<int>(postgres->pw_uid);
      gid_ = static_cast<int>(postgres->pw_gid);
      if (::chown(folder_.path().c_str(), static_cast<uid_t>(*uid_), static_cast<gid_t>(*gid_)) != 0) std::abort();
    }
    const auto data = (folder_.path() / "data").string();
    run_process(
        spec({programs + "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--no-instructions"}),
        60s);
    start();
  }
  ~Server() { stop(); }
  void start() {
    server_.emplace(spec({programs + "postgres", "-D", (folder_.path() / "data").string(), "-k",
                          folder_.path().string(), "-c", "listen_addresses=", "-c", "fsync=off"}));
    for (int i = 0; i < 1000; ++i) {
      try {
        Db(config()).transact_here([](Tx& tx) { tx.query({"ping", "SELECT 1"}); });
        return;
      } catch (const Error&) {
        std::this_thread::sleep_for(10ms);
      }
    }
    throw std::runtime_error("PostgreSQL did not start");
  }
  void stop() {
    if (!server_) return;
    server_->signal(SIGINT);
    server_->wait(30s);
    server_.reset();
  }
  Config config() const {
    return {.host = folder_.path().string(), .database = "postgres", .user = "postgres", .connections = 4};
  }

 private:
  ProcessSpec spec(std::vector<std::string> argv) const {
    ProcessSpec out{.argv = std::move(argv),
                    .out = ProcessSpec::Stream::null,
                    .err = ProcessSpec::Stream::null,
                    .die_with_parent = true};
    out.uid = uid_;
    out.gid = gid_;
    out.cwd = "/";
    return out;
  }
  TemporaryFolder folder_;
  std::optional<int> uid_, gid_;
  std::optional<ChildProcess> server_;
};

class SqlTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (fs::exists(programs + "postgres")) server = new Server;
  }
  static void TearDownTestSuite() {
    delete server;
    server = nullptr;
  }
  void SetUp() override {
    if (!server) GTEST_SKIP() << "PostgreSQL 15 is not installed";
    db.emplace(server->config());
    db->transact_here([](Tx& tx) {
      tx.query({"drop_t", "DROP TABLE IF EXISTS t, part"});
      tx.query({"make_t", "CREATE TABLE t (id int PRIMARY KEY, name text, flag boolean CHECK (flag))"});
    });
  }
  static inline Server* server = nullptr;
  std::optional<Db> db;
};

constexpr Query insert_t{"insert_t", "INSERT INTO t (id, name, flag) VALUES ($1, $2, $3)"};
constexpr Query select_t{"select_t", "SELECT id, name, flag FROM t ORDER BY id"};

ErrorKind kind_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::internal;
}

TEST_F(SqlTest, values_go_in_and_come_back_whatever_they_hold) {
  const std::string nasty = "it's \"quoted\"; DROP TABLE t; -- \\ $1 \xc3\xa9\n";
  db->transact_here([&](Tx& tx) {
    EXPECT_EQ(tx.execute(insert_t, {1, nasty, true}), 1);
    EXPECT_EQ(tx.execute(insert_t, {2, std::nullopt, std::nullopt}), 1);
  });
  db->transact_here([&](Tx& tx) {
    const auto rows = tx.query(select_t);
    ASSERT_EQ(rows.size(), 2);
    EXPECT_EQ(rows[0].integer("id"), 1);
    EXPECT_EQ(rows[0].text("name"), nasty);
    EXPECT_TRUE(rows[0].boolean("flag"));
    EXPECT_TRUE(rows[1].is_null("name"));
    EXPECT_EQ(rows[1].text_or("name", "none"), "none");
  });
}

TEST_F(SqlTest, an_exception_undoes_everything) {
  EXPECT_EQ(kind_of([&] {
              db->transact_here([](Tx& tx) {
                tx.execute(insert_t, {1, "a", true});
                throw Error(ErrorKind::forbidden, "no");
              });
            }),
            ErrorKind::forbidden);
  EXPECT_EQ(db->transact_here([](Tx& tx) { return tx.query(select_t).size(); }), 0);
}

TEST_F(SqlTest, failures_have_a_kind) {
  db->transact_here([](Tx& tx) { tx.execute(insert_t, {1, "a", true}); });
  EXPECT_EQ(kind_of([&] { db->transact_here([](Tx& tx) { tx.execute(insert_t, {1, "b", true}); }); }),
            ErrorKind::conflict);
  EXPECT_EQ(kind_of([&] { db->transact_here([](Tx& tx) { tx.execute(insert_t, {2, "b", false}); }); }),
            ErrorKind::unprocessable);
  EXPECT_EQ(kind_of([&] { db->transact_here([](Tx& tx) { tx.query({"bad", "SELECT nothing"}); }); }),
            ErrorKind::internal);
  db->transact_here([](Tx& tx) { tx.execute({"make_part", "CREATE TABLE part (whole integer REFERENCES t)"}); });
  EXPECT_EQ(kind_of([&] { db->transact_here([](Tx& tx) { tx.execute({"part", "INSERT INTO part VALUES (7)"}); }); }),
            ErrorKind::conflict);
  auto config = server->config();
  config.statement_timeout = 50ms;
  Db hasty(config);
  EXPECT_EQ(kind_of([&] { hasty.transact_here([](Tx& tx) { tx.query({"slow", "SELECT pg_sleep(5)"}); }); }),
            ErrorKind::timeout);
  config.host = "/nonexistent";
  Db lost(config);
  EXPECT_EQ(kind_of([&] { lost.transact_here([](Tx&) {}); }), ErrorKind::unavailable);
}

TEST_F(SqlTest, text_that_cannot_be_stored_is_refused_and_never_cut_short) {
  for (const std::string& text : {std::string("admin\0x", 7), std::string("\xff"), std::string("\xc3(")}) {
    EXPECT_EQ(kind_of([&] { db->transact_here([&](Tx& tx) { tx.execute(insert_t, {1, text, true}); }); }),
              ErrorKind::invalid);
  }
  EXPECT_EQ(db->transact_here([](Tx& tx) { return tx.query(select_t).size(); }), 0);
}

TEST_F(SqlTest, a_deadlock_is_run_again) {
  constexpr Query bump{"bump", "UPDATE t SET name = name || 'x' WHERE id = $1"};
  db->transact_here([](Tx& tx) {
    tx.execute(insert_t, {1, "", true});
    tx.execute(insert_t, {2, "", true});
  });
  auto both = [&](int first, int second) {
    db->transact_here([&](Tx& tx) {
      tx.execute(bump, {first});
      std::this_thread::sleep_for(100ms);
      tx.execute(bump, {second});
    });
  };
  std::thread other([&] { both(1, 2); });
  both(2, 1);
  other.join();
  db->transact_here([](Tx& tx) {
    const auto rows = tx.query(select_t);
    EXPECT_EQ(rows[0].text("name"), "xx");
    EXPECT_EQ(rows[1].text("name"), "xx");
  });
}

TEST_F(SqlTest, a_restart_of_the_server_is_not_noticed_by_the_next_transaction) {
  auto config = server->config();
  config.connections = 12;
  db.emplace(config);
  std::barrier all(config.connections);  // each holds a connection while the others take theirs
  std::vector<std::jthread> users;
  for (int i = 0; i < config.connections; ++i) {
    users.emplace_back([&] {
      db->transact_here([&](Tx& tx) {
        tx.query(select_t);
        all.arrive_and_wait();
      });
    });
  }
  users.clear();
  server->stop();
  server->start();
  EXPECT_EQ(db->transact_here([](Tx& tx) { return tx.query(select_t).size(); }), 0);
}

TEST_F(SqlTest, what_a_burst_opened_is_closed_when_nobody_needs_it) {
  auto config = server->config();
  config.application = "burst";
  config.idle_timeout = 50ms;
  Db burst(config);
  std::barrier all(config.connections);  // each holds a connection while the others take theirs
  std::vector<std::jthread> threads;
  for (int i = 0; i < config.connections; ++i) {
    threads.emplace_back(
        [&] { burst.transact_here([&](Tx& tx) { tx.query({"ping", "SELECT 1"}), all.arrive_and_wait(); }); });
  }
  threads.clear();
  auto open = [&] {
    return burst.transact_here([](Tx& tx) {
      return tx
          .query({"count_open", "SELECT count(*) AS n FROM pg_stat_activity WHERE application_name = $1"}, {"burst"})[0]
          .integer("n");
    });
  };
  EXPECT_EQ(open(), config.connections);
  for (int i = 0; i < 1000 && open() > 1; ++i) std::this_thread::sleep_for(10ms);
  EXPECT_EQ(open(), 1);
}

TEST_F(SqlTest, migrations_are_applied_once_and_in_order) {
  db->transact_here([](Tx& tx) { tx.query({"drop_m", "DROP TABLE IF EXISTS m, schema_migrations"}); });
  const std::vector<std::pair<std::string, std::string>> first = {
      {"0001_m", "CREATE TABLE m (x int); INSERT INTO m VALUES (1)"}};
  db->migrate(first);
  auto second = first;
  second.emplace_back("0002_m", "INSERT INTO m VALUES (2)");
  std::thread replica([&] { Db(server->config()).migrate(second); });
  db->migrate(second);
  replica.join();
  EXPECT_EQ(
      db->transact_here([](Tx& tx) { return tx.query({"sum_m", "SELECT sum(x) AS sum FROM m"})[0].integer("sum"); }),
      3);
}

TEST_F(SqlTest, a_commit_wakes_who_listens) {
  std::vector<std::string> heard;
  run_main([&](Executor executor) -> Task<> {
    TaskGroup tasks(executor);
    Notifier news(executor);
    tasks.spawn("listen", db->listen("jobs", [&](const std::string& payload) {
      heard.push_back(payload);
      news.notify_all();
    }));
    while (heard.empty()) co_await news.wait(news.version());  // "": connected
    co_await db->transact([](Tx& tx) { tx.notify("jobs", "42"); });
    while (heard.size() < 2) co_await with_deadline(5s, "nothing heard", news.wait(news.version()));
    co_await tasks.stop();
  });
  EXPECT_EQ(heard, (std::vector<std::string>{"", "42"}));
}

TEST_F(SqlTest, who_listens_and_fails_hears_the_next_one) {
  std::vector<std::string> heard;
  run_main([&](Executor executor) -> Task<> {
    TaskGroup tasks(executor);
    Notifier news(executor);
    tasks.spawn("listen", db->listen("jobs", [&](const std::string& payload) {
      heard.push_back(payload);
      news.notify_all();
      if (payload == "poison") throw 42;
    }));
    while (heard.empty()) co_await news.wait(news.version());
    co_await db->transact([](Tx& tx) { tx.notify("jobs", "poison"); });
    // Connected again: it may have missed some meanwhile.
    while (heard.size() < 3) co_await with_deadline(10s, "nothing heard", news.wait(news.version()));
    co_await db->transact([](Tx& tx) { tx.notify("jobs", "43"); });
    while (heard.size() < 4) co_await with_deadline(10s, "nothing heard", news.wait(news.version()));
    co_await tasks.stop();
  });
  EXPECT_EQ(heard, (std::vector<std::string>{"", "poison", "", "43"}));
}

}  // namespace
}  // namespace workflow::sql
