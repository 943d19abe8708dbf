#include "database/database.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/local/datagram_protocol.hpp>
#include <cerrno>
#include <filesystem>

#include "database/cluster.h"
#include "lib/async/component.h"
#include "lib/async/process.h"
#include "lib/async/supervisor.h"
#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/http/health.h"

namespace workflow::database {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// PostgreSQL refuses to run as root; as root we run it as the user `postgres`.
struct Account {
  std::optional<int> uid, gid;
};

Account server_account() {
  if (geteuid() != 0) return {};
  const auto* entry = getpwnam("postgres");
  if (!entry) throw Error(ErrorKind::unavailable, "there is no user `postgres`; install postgresql-15");
  return {static_cast<int>(entry->pw_uid), static_cast<int>(entry->pw_gid)};
}

void give_to(const fs::path& path, const Account& account) {
  if (account.uid && ::chown(path.c_str(), static_cast<uid_t>(*account.uid), static_cast<gid_t>(*account.gid)) != 0) {
    throw Error(ErrorKind::internal, "cannot give " + path.string() + " to the user postgres");
  }
}

std::set<std::string> entries_of(const fs::path& folder) {
  std::set<std::string> entries;
  for (const auto& entry : fs::directory_iterator(folder)) entries.insert(entry.path().filename());
  return entries;
}

// The lock is inherited by PostgreSQL and all its processes, so it is free only when the last of them has gone: two
// servers never meet on one cluster, whatever happened to their supervisors.
Fd lock_folder(const fs::path& folder) {
  Fd lock(::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock) throw Error(ErrorKind::internal, "cannot write to " + folder.string());
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      throw Error(ErrorKind::conflict, "another database server uses " + folder.string() + "; stop it first");
    }
    ::usleep(50'000);
  }
  return lock;
}

ProcessSpec as_server(const Account& account, std::vector<std::string> argv) {
  ProcessSpec spec{.argv = std::move(argv), .die_with_parent = true};
  spec.uid = account.uid;
  spec.gid = account.gid;
  spec.env = std::map<std::string, std::string>{{"PATH", "/usr/bin:/bin"}, {"LC_ALL", "C.UTF-8"}, {"TZ", "UTC"}};
  return spec;
}

// A new cluster appears under its name only when it is complete and on disk.
void initialise(const Config& config, const fs::path& data, const Account& account) {
  for (const auto& entry : entries_of(config.folder)) {
    if (entry.starts_with("15.new")) fs::remove_all(fs::path(config.folder) / entry);
  }
  const auto fresh = fs::path(config.folder) / ("15.new-" + random_hex(8));
  fs::create_directory(fresh);
  give_to(fresh, account);
  log::info("initialising a new database cluster", kv("folder", data.string()));
  auto spec =
      as_server(account, {config.programs + "/initdb", "-D", fresh.string(), "-U", "postgres", "--encoding=UTF8",
                          "--locale=C.UTF-8", "--data-checksums", "--auth-local=trust", "--auth-host=scram-sha-256"});
  spec.out = spec.err = ProcessSpec::Stream::pipe;
  const auto made = run_process(std::move(spec), 5min);
  if (made.status != 0) throw Error(ErrorKind::internal, "initdb failed: " + made.err);
  fs::rename(fresh, data);
  Fd parent(::open(config.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ::fsync(parent.get());
}

// Where PostgreSQL tells that it accepts connections (the protocol of sd_notify(3)).
class ReadyNote {
 public:
  ReadyNote(const Executor& executor, const fs::path& folder, const Account& account)
      : path_((folder / "notify").string()), socket_(executor, asio::local::datagram_protocol::endpoint(path_)) {
    give_to(path_, account);
  }
  const std::string& path() const { return path_; }
  Task<> wait() {  // returns at once when it has been told already
    char text[512];
    while (!told_) {
      const auto size = co_await socket_.async_receive(asio::buffer(text), asio::use_awaitable);
      told_ = ("\n" + std::string(text, size) + "\n").find("\nREADY=1\n") != std::string::npos;
    }
  }

 private:
  std::string path_;
  asio::local::datagram_protocol::socket socket_;
  bool told_ = false;
};

Task<> set_up(const Config& config, const Account& account, fs::path sockets) {
  auto spec =
      as_server(account, {config.programs + "/psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", sockets.string(), "-p",
                          std::to_string(config.port), "-U", "postgres", "-d", "postgres", "-f", "-"});
  const auto done = co_await run(std::move(spec), 30s, setup_sql(config));
  if (done.status != 0)
    throw Error(ErrorKind::internal, "the role or the database could not be made").with_detail(done.err);
}

Task<> supervise(ChildProcess& child) {
  const int status = co_await exited(child);
  throw Error(ErrorKind::unavailable, "PostgreSQL ended with status " + std::to_string(status) + "; its log says why");
}

// What PostgreSQL still needs from us once it runs.
struct Begun {
  const Config& config;
  const Account& account;
  fs::path sockets;
  ReadyNote note;
  bool ready = false;
};

Task<Supervisor::Next> bring_up(Begun& begun) {
  co_await begun.note.wait();
  co_await set_up(begun.config, begun.account, begun.sockets);
  begun.ready = true;
  log::info("database ready", kv("port", begun.config.port));
  co_return Supervisor::Next::done;
}

}  // namespace

Config Config::from(Env& env) {
  Config config;
  config.folder = env.text("DATABASE_DIR", "/var/lib/workflow/database");
  config.name = env.text("DATABASE_NAME", "workflow");
  config.user = env.secret_or_file("DATABASE_USER").reveal();
  config.password = env.secret_or_file("DATABASE_PASSWORD");
  config.port = static_cast<std::uint16_t>(env.integer("DATABASE_PORT", 5432, 1, 65535));
  config.health_port = static_cast<std::uint16_t>(env.integer("DATABASE_HEALTH_PORT", 8082, 1, 65535));
  config.programs = env.text("DATABASE_PROGRAMS", "/usr/lib/postgresql/15/bin");
  if (config.user == "postgres") env.problem("DATABASE_USER", "must not be the superuser postgres");
  return config;
}

Task<> serve(Executor executor, Config config) {
  const auto account = server_account();
  fs::create_directories(config.folder);
  const auto lock = lock_folder(config.folder);
  const auto data = fs::path(config.folder) / "15";
  if (plan_start({config.folder, entries_of(config.folder), fs::exists(data / "PG_VERSION")}) == Start::initialise) {
    initialise(config, data, account);
  }
  // A process number in it may belong to somebody else by now; the lock above is what counts.
  fs::remove(data / "postmaster.pid");
  write_file_atomically(data / "pg_hba.conf", access_rules(), 0600);
  give_to(data / "pg_hba.conf", account);

  TemporaryFolder sockets;
  give_to(sockets.path(), account);
  Begun begun{config, account, sockets.path(), ReadyNote(executor, sockets.path(), account)};
  auto arguments = server_arguments(config, data, sockets.path());
  arguments.insert(arguments.begin(), config.programs + "/postgres");
  auto spec = as_server(account, std::move(arguments));
  spec.env->emplace("NOTIFY_SOCKET", begun.note.path());
  spec.kept = {lock.get()};
  ChildProcess server(spec);

  Supervisor supervisor(executor);
  auto pages = std::make_shared<http::Router>();
  auto why_not_ready = [&]() {
    return begun.ready ? std::nullopt : std::optional<std::string>("PostgreSQL is starting");
  };
  http::add_health(*pages, {.supervisor = supervisor, .why_not_ready = http::at_once(why_not_ready), .metrics = [&]() {
                              return "workflow_database_ready " + std::string(begun.ready ? "1\n" : "0\n");
                            }});
  auto health = http::health_server(executor, config.health_port, pages);
  TaskGroup tasks(executor);
  tasks.spawn("health", health.serve());
  auto set_up_once = [&] { return bring_up(begun); };
  tasks.spawn("set up", supervisor.until_done("set up", set_up_once));
  auto stop = [&]() -> Task<> {
    begun.ready = false;
    server.signal(SIGINT);  // fast shutdown: sessions end, everything is written
    try {
      co_await with_deadline(50s, "PostgreSQL did not stop in time and is killed", exited(server));
    } catch (const Error& error) {
      log::error("stopping failed", kv("error", error.message()));  // `server` kills it as it goes
    }
    co_await tasks.stop();
  };
  co_await with_cleanup(supervise(server), stop);
}

int database_main(int, char**) { return run_component<Config>("database", serve); }

}  // namespace workflow::database
