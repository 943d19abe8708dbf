#include "builder/builder.h"

#include <filesystem>

#include "builder/cleaner.h"
#include "builder/pushes.h"
#include "builder/sshd.h"
#include "lib/async/accept.h"
#include "lib/async/component.h"
#include "lib/async/supervisor.h"
#include "lib/base/file.h"
#include "lib/http/health.h"

namespace workflow::builder {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

// Those of the host keys that are there.
std::vector<std::string> host_keys(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto* name : {"ssh-host-ed25519-key", "ssh-host-ecdsa-key", "ssh-host-rsa-key"}) {
    const auto file = folder + "/" + name;
    if (fs::exists(file)) files.push_back(file);
  }
  if (files.empty())
    throw Error(ErrorKind::unavailable,
                folder + " holds no host key: it needs ssh-host-ed25519-key, ssh-host-ecdsa-key or ssh-host-rsa-key");
  return files;
}

// sshd refuses host keys that others can read, and a mounted secret may be readable: it gets copies.
std::vector<std::string> private_copies(const std::vector<std::string>& files, const std::string& folder) {
  std::vector<std::string> copies;
  for (const auto& file : files) {
    const auto copy = folder + "/" + fs::path(file).filename().string();
    write_file_atomically(copy, read_file(file), 0600);
    copies.push_back(copy);
  }
  return copies;
}

// What sshd and git start, beside our own program.
std::string client_program() {
  const auto program = (fs::read_symlink("/proc/self/exe").parent_path() / "workflow-push").string();
  if (!fs::exists(program)) throw Error(ErrorKind::unavailable, "there is no " + program);
  if (!is_plain_path(program)) throw Error(ErrorKind::invalid, "sshd cannot start a program at " + program);
  return program;
}

Task<Supervisor::Next> clean_up(Parts& parts) {
  co_await remove_leftovers(parts);
  co_return Supervisor::Next::done;
}

}  // namespace

Config Config::from(Env& env) {
  Config config;
  const auto port = [&env](const char* name, std::uint16_t fallback) {
    return static_cast<std::uint16_t>(env.integer(name, fallback, 1, 65535));
  };
  config.ns = env.text("POD_NAMESPACE", "deis");
  config.controller_url = env.text("DEIS_CONTROLLER_URL", "http://deis-controller.deis");
  if (!http::Url::parse(config.controller_url)) env.problem("DEIS_CONTROLLER_URL", "must be a URL");
  config.builder_key = env.secret_or_file("BUILDER_KEY");
  config.build = BuildSettings::from(env);
  config.store = s3::Endpoint::from(env);
  config.bucket = env.text("BUILDER_BUCKET", "builder");
  config.host_keys_dir = env.text("BUILDER_SSH_HOST_KEYS_DIR", "/var/run/secrets/deis/builder/ssh");
  config.repos_dir = env.text("BUILDER_REPOS_DIR", "/home/git");
  config.run_dir = env.text("BUILDER_RUN_DIR", "/run/workflow-builder");
  if (!is_plain_path(config.run_dir)) env.problem("BUILDER_RUN_DIR", "must be a path of letters, digits and / . _ - +");
  config.git_user = env.text("BUILDER_GIT_USER", "git");
  if (!UserName::parse(config.git_user)) env.problem("BUILDER_GIT_USER", "must be a user's name");
  config.ssh_port = port("BUILDER_SSH_PORT", 2223);
  config.ssh_post_quantum = env.flag("BUILDER_SSH_POST_QUANTUM", false);
  config.health_port = port("BUILDER_HEALTH_PORT", 8092);
  config.build_timeout = env.duration("BUILDER_BUILD_TIMEOUT", 30min);
  config.release_timeout = env.duration("BUILDER_RELEASE_TIMEOUT", 30min);
  config.receive_timeout = env.duration("BUILDER_RECEIVE_TIMEOUT", 5min);
  config.heartbeat = std::chrono::milliseconds(env.integer("SESSION_IDLE_INTERVAL", 10'000, 100, 3'600'000));
  config.drain_timeout = env.duration("BUILDER_DRAIN_TIMEOUT", 45s);
  config.max_push_bytes =
      static_cast<std::uint64_t>(env.integer("BUILDER_MAX_PUSH_BYTES", 2LL << 30, 1 << 20, 1LL << 40));
  config.environment = env.all();
  return config;
}

Task<> serve(Executor executor, Config config) {
  const auto git_user = get_user(config.git_user), keys_user = get_user("nobody");
  const auto program = client_program();
  fs::create_directories(config.run_dir);
  fs::permissions(config.run_dir, fs::perms(0711));
  const auto keys_path = config.run_dir + "/keys.socket", git_path = config.run_dir + "/git.socket";

  Git git({.user = git_user,
           .repos = config.repos_dir,
           .hooks = config.run_dir + "/hooks",
           .program = program,
           .socket = git_path,
           .max_push_bytes = config.max_push_bytes});
  git.prepare();
  Controller controller(executor, *http::Url::parse(config.controller_url), config.builder_key, config.release_timeout);
  kube::Client kube(executor, kube::Connection::from_env(config.environment));
  kube::Informer build_pods(kube, kube::resources::pods, config.ns, {.label_selector = std::string(build_label)});
  Channel<AppName> destroyed(executor, 100'000);
  kube::Informer namespaces(kube, kube::resources::namespaces, "", {.label_selector = "heritage=deis"},
                            {.deleted = [&destroyed](const kube::Informer::Object& ns) {
                              if (const auto app = AppName::parse(kube::name_of(*ns))) destroyed.try_push(*app);
                            }});
  SystemClock clock;
  s3::Client store(executor, config.store, clock);
  http::Metrics metrics;
  Parts parts{executor, config, git, controller, kube, build_pods, namespaces, store, metrics};

  TaskGroup background(executor), calls(executor);
  Supervisor supervisor(executor);
  Pushes pushes(parts, background);
  Cleaner cleaner(parts, pushes, destroyed);
  metrics.gauge("builder_pushes_under_way", "Pushes being received, built or released",
                [&] { return static_cast<double>(pushes.size()); });
  ControlSocket keys_socket(executor, keys_path, keys_user.uid, calls, [&](Call call) -> Task<int> {
    if (call.fields[0] == "keys") co_return co_await pushes.keys(std::move(call));
    co_return 2;
  });
  ControlSocket git_socket(executor, git_path, git_user.uid, calls, [&](Call call) -> Task<int> {
    if (call.fields[0] == "session") co_return co_await pushes.session(std::move(call));
    if (call.fields[0] == "pre-receive") co_return co_await pushes.pre_receive(std::move(call));
    if (call.fields[0] == "reference-transaction") co_return co_await pushes.reference_transaction(std::move(call));
    co_return 2;
  });
  Sshd sshd({.port = config.ssh_port,
             .user = config.git_user,
             .host_keys = private_copies(host_keys(config.host_keys_dir), config.run_dir),
             .program = program,
             .keys_socket = keys_path,
             .session_socket = git_path,
             .post_quantum = config.ssh_post_quantum},
            config.run_dir);

  auto routes = std::make_shared<http::Router>();
  auto why_not_ready = [&]() -> std::optional<std::string> {
    if (!sshd.listening()) return "sshd does not listen yet";
    if (!build_pods.synced()) return "the Kubernetes API has not answered yet";
    return std::nullopt;
  };
  http::add_health(*routes, {.supervisor = supervisor, .why_not_ready = http::at_once(why_not_ready), .metrics = [&] {
                               return metrics.text();
                             }});
  http::Server health(executor, {.port = config.health_port, .drain_timeout = 1s}, http::handler_of(routes));

  background.spawn("health", health.serve());
  const Supervisor::Options housekeeping{.role = Supervisor::Role::housekeeping};
  supervisor.keep("watch build pods", [&] { return build_pods.run(); });
  supervisor.keep("watch namespaces", [&] { return namespaces.run(); });
  supervisor.keep("clean up after apps", [&] { return cleaner.run(); }, housekeeping);
  background.spawn("clean up", supervisor.until_done("clean up", [&] { return clean_up(parts); }, housekeeping));
  supervisor.keep("hear sshd", [&] { return keys_socket.serve(); }, accept_pauses());
  supervisor.keep("hear git", [&] { return git_socket.serve(); }, accept_pauses());
  log::info("builder started", kv("ssh", config.ssh_port), kv("repositories", config.repos_dir));
  // What was begun is finished, as long as we may.
  auto stop = [&]() -> Task<> {
    pushes.refuse_new();
    co_await sshd.stop_listening();
    if (pushes.size() > 0) log::info("waiting for pushes under way", kv("pushes", pushes.size()));
    try {
      co_await with_deadline(config.drain_timeout, "pushes still under way", pushes.finished());
    } catch (const Error& error) {
      log::warn("pushes are broken off", kv("pushes", pushes.size()));
    }
    co_await supervisor.stop();
    co_await calls.stop();
    co_await background.stop();
  };
  co_await with_cleanup(sshd.run(), stop);
}

int builder_main(int, char**) { return run_component<Config>("builder", serve); }

}  // namespace workflow::builder
