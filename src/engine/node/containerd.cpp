#include "engine/node/containerd.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdlib>
#include <fstream>
#include <map>
#include <vector>

#include "engine/node/attempt.h"
#include "engine/node/pause_image.h"
#include "lib/async/process.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/json/json.h"

namespace workflow::engine {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

std::string quoted(const std::string& text) { return json::serialize(json::value(text)); }

// The kernel forbids lowering without CAP_SYS_RESOURCE; runc would fail on it, so containerd must be told.
bool may_lower_oom_score() {
  const auto before = find_file("/proc/self/oom_score_adj").value_or("0");
  const auto current = parse_integer(trim(before)).value_or(0);
  auto write = [](std::int64_t score) {
    std::ofstream file("/proc/self/oom_score_adj");
    file << score;
    file.close();
    return !file.fail();
  };
  const bool lowered = write(std::max<std::int64_t>(current - 1, -1000));
  if (lowered) write(current);
  return lowered;
}

// The MTU of the way out; pods must not send more.
int uplink_mtu() {
  const auto routes = find_file("/proc/net/route").value_or("");
  for (const auto& line : split(routes, '\n')) {
    const auto fields = split(replace_all(line, "\t", " "), ' ');
    std::vector<std::string> words;
    for (const auto& field : fields) {
      if (!field.empty()) words.push_back(field);
    }
    if (words.size() < 2 || words[1] != "00000000") continue;
    const auto text = find_file("/sys/class/net/" + words[0] + "/mtu").value_or("1500");
    return static_cast<int>(parse_integer(trim(text)).value_or(1500));
  }
  return 1500;
}

bool program_exists(const fs::path& program) {
  if (program.has_parent_path()) return ::access(program.c_str(), X_OK) == 0;
  for (const char* folder : {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
    if (::access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

Task<bool> answers(fs::path socket_path) {
  asio::local::stream_protocol::socket socket(co_await asio::this_coro::executor);
  boost::system::error_code error;
  socket.connect(asio::local::stream_protocol::endpoint(socket_path.string()), error);
  co_return !error;
}

fs::path pid_file(const NodeConfig& config) { return containerd_folder(config) / "containerd.pid"; }

bool is_our_containerd(const NodeConfig& config, std::int64_t pid) {
  const auto command = find_file("/proc/" + std::to_string(pid) + "/cmdline").value_or("");
  return command.find("--config") != std::string::npos &&
         command.find((containerd_folder(config) / "config.toml").string()) != std::string::npos;
}

// The containerd of this state folder, if it runs. On a full disk it may have no file that names it.
std::optional<int> running_containerd(const NodeConfig& config) {
  const auto text = find_file(pid_file(config));
  if (const auto pid = text ? parse_integer(trim(*text)) : std::nullopt; pid && is_our_containerd(config, *pid))
    return static_cast<int>(*pid);
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const auto pid = parse_integer(entry.path().filename().string());
    if (pid && is_our_containerd(config, *pid)) return static_cast<int>(*pid);
  }
  return std::nullopt;
}

// What is right already needs no space on the disk.
void write_setting(const fs::path& file, const std::string& text) {
  if (find_file(file) != text) write_file_atomically(file, text);
}

// Ours, and how far the heap of containerd and of its shims, which inherit this, may grow between two collections: by
// half, not to twice what is in use. What an operator has set for the engine counts instead.
std::map<std::string, std::string> environment_of_containerd() {
  std::map<std::string, std::string> all{{"GOGC", "50"}};
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view variable = *each;
    const auto end = variable.find('=');
    if (end != std::string_view::npos) all[std::string(variable.substr(0, end))] = variable.substr(end + 1);
  }
  return all;
}

// It outlives us, as its pods do.
void start(const NodeConfig& config) {
  ChildProcess daemon(
      {.argv = {config.containerd.string(), "--config", (containerd_folder(config) / "config.toml").string()},
       .env = environment_of_containerd(),
       .out = ProcessSpec::Stream::log,
       .err = ProcessSpec::Stream::log,
       .log = containerd_log(config).string(),
       .new_session = true,
       .umask = 022});  // what images hold has the modes that they say, whatever ours is
  const int pid = daemon.pid();
  daemon.detach();
  try {
    write_file_atomically(pid_file(config), std::to_string(pid) + "\n");
  } catch (const Error& error) {
    log::warn("containerd runs, but the file of its process number is not written", kv("error", error.message()));
  }
}

Task<> gone(int pid) {
  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  if (!pidfd) co_return;
  asio::posix::stream_descriptor descriptor(co_await asio::this_coro::executor, pidfd.release());
  co_await descriptor.async_wait(asio::posix::stream_descriptor::wait_read, asio::use_awaitable);
  ::waitpid(pid, nullptr, WNOHANG);
}

}  // namespace

fs::path containerd_folder(const NodeConfig& config) { return config.state / "containerd"; }
fs::path containerd_log(const NodeConfig& config) { return config.state / "log" / "containerd.log"; }
fs::path containerd_socket(const NodeConfig& config) { return containerd_folder(config) / "containerd.sock"; }

std::string containerd_toml(const NodeConfig& config, bool lower_oom_score) {
  const auto folder = containerd_folder(config);
  std::string out = "version = 2\n";
  out += "root = " + quoted((folder / "root").string()) + "\n";
  out += "state = " + quoted((folder / "run").string()) + "\n";
  out += "oom_score = 0\n";
  out +=
      "disabled_plugins = [\"io.containerd.snapshotter.v1.aufs\", \"io.containerd.snapshotter.v1.btrfs\", "
      "\"io.containerd.snapshotter.v1.devmapper\", \"io.containerd.snapshotter.v1.zfs\", "
      "\"io.containerd.internal.v1.opt\", "
      "\"io.containerd.internal.v1.tracing\", \"io.containerd.tracing.processor.v1.otlp\"]\n";
  out += "[grpc]\naddress = " + quoted(containerd_socket(config).string()) + "\n";
  out += "[plugins.\"io.containerd.grpc.v1.cri\"]\n";
  out += "sandbox_image = " + quoted(pause_image) + "\n";
  // Not /run/netns: whoever runs `ip netns add` on this machine mounts over that.
  out += "netns_mounts_under_state_dir = true\n";
  out += "disable_tcp_service = true\nstream_server_address = \"127.0.0.1\"\nstream_server_port = \"0\"\n";
  out += "tolerate_missing_hugetlb_controller = true\n";
  out += std::string("restrict_oom_score_adj = ") + (lower_oom_score ? "false" : "true") + "\n";
  out +=
      "[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"overlayfs\"\ndefault_runtime_name = "
      "\"runc\"\n";
  out += "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n";
  out += "[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nBinaryName = " +
         quoted(config.runc.string()) + "\nSystemdCgroup = false\n";
  out += "[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = " + quoted(config.cni_bin.string()) +
         "\nconf_dir = " + quoted((folder / "cni").string()) + "\n";
  out +=
      "[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = " + quoted((folder / "certs.d").string()) + "\n";
  return out;
}

std::string cni_conflist(const NodeConfig& config, int mtu) {
  const auto& network = config.network;
  json::object ipam{{"type", "host-local"},
                    {"dataDir", (config.state / "cni").string()},
                    {"ranges", {{{{"subnet", network.pod_cidr.text()}, {"gateway", network.gateway.text()}}}}},
                    {"routes", {{{"dst", "0.0.0.0/0"}}}}};
  json::object bridge{{"type", "bridge"},       {"bridge", network.bridge}, {"isGateway", false},
                      {"ipMasq", false},        {"hairpinMode", true},      {"mtu", mtu},
                      {"ipam", std::move(ipam)}};
  return print_json_pretty(
      json::object{{"cniVersion", "0.4.0"}, {"name", network.bridge}, {"plugins", json::array{std::move(bridge)}}});
}

void check_programs(const NodeConfig& config) {
  std::vector<std::string> missing;
  const std::pair<fs::path, std::string> needed[] = {{config.containerd, "containerd"},
                                                     {config.ctr, "containerd"},
                                                     {config.runc, "runc"},
                                                     {"nft", "nftables"},
                                                     {"ip", "iproute2"},
                                                     {config.cni_bin / "bridge", "containernetworking-plugins"}};
  for (const auto& [program, package] : needed) {
    if (!program_exists(program) && std::ranges::find(missing, package) == missing.end()) missing.push_back(package);
  }
  if (missing.empty()) return;
  const auto list = join(missing, " ");
  throw Error(ErrorKind::unavailable, "missing on this machine: " + list + "; install with: apt-get install " + list);
}

void write_registry_hosts(const NodeConfig& config, const std::string& url) {
  const auto folder = containerd_folder(config) / "certs.d" / config.registry_host;
  fs::create_directories(folder);
  const auto text =
      "server = " + quoted(url) + "\n[host." + quoted(url) + "]\ncapabilities = [\"pull\", \"resolve\"]\n";
  write_setting(folder / "hosts.toml", text);
}

Task<> ensure_containerd(const NodeConfig& config) {
  const auto folder = containerd_folder(config);
  for (const auto& path :
       {folder / "root", folder / "run", folder / "cni", config.state / "cni", config.state / "log"}) {
    fs::create_directories(path);
  }
  if (!fs::exists(folder / "certs.d" / config.registry_host / "hosts.toml"))
    write_registry_hosts(config, "http://" + config.registry_host);
  write_setting(folder / "config.toml", containerd_toml(config, may_lower_oom_score()));
  write_setting(folder / "cni" / "10-workflow.conflist", cni_conflist(config, uplink_mtu()));
  if (co_await answers(containerd_socket(config))) co_return;
  if (!running_containerd(config)) start(config);
  auto wait = [](fs::path socket) -> Task<> {
    while (!co_await answers(socket)) co_await sleep_for(10ms);  // nothing tells when a socket begins to listen
  };
  co_await with_deadline(30s, "containerd does not answer; see " + containerd_log(config).string(),
                         wait(containerd_socket(config)));
}

Task<> watch_containerd(const NodeConfig& config) {
  for (;;) {
    if (const auto pid = running_containerd(config)) co_await gone(*pid);
    log::warn("containerd has ended; starting it again");
    if (const auto trouble = co_await attempt(ensure_containerd(config))) {
      log::error("containerd could not be started", kv("error", trouble->message()));
      co_await sleep_for(2s);
    }
  }
}

Task<> renew_containerd(const NodeConfig& config) {
  const auto before = running_containerd(config);
  if (before) ::kill(*before, SIGTERM);
  auto wait = [](const NodeConfig& its, std::optional<int> old) -> Task<> {
    for (;; co_await sleep_for(50ms)) {
      const auto now = running_containerd(its);
      if (now && now != old && co_await answers(containerd_socket(its))) co_return;
    }
  };
  co_await with_deadline(60s, "containerd does not answer; see " + containerd_log(config).string(),
                         wait(config, before));
}

Task<> stop_containerd(const NodeConfig& config) {
  const auto pid = running_containerd(config);
  if (!pid) co_return;
  ::kill(*pid, SIGTERM);
  bool stubborn = false;
  try {
    co_await with_deadline(10s, "containerd ignores SIGTERM", gone(*pid));
  } catch (const Error&) {
    stubborn = true;
  }
  if (stubborn) {
    ::kill(*pid, SIGKILL);
    co_await gone(*pid);
  }
  fs::remove(pid_file(config));
}

Task<std::string> ctr(const NodeConfig& config, std::vector<std::string> arguments, std::chrono::seconds limit) {
  std::vector<std::string> argv{config.ctr.string(), "-a", containerd_socket(config).string(), "-n", "k8s.io"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  auto done = co_await workflow::run(ProcessSpec{.argv = std::move(argv)}, limit);
  if (done.status != 0) {
    throw Error(ErrorKind::internal,
                "containerd refused `" + join(arguments, " ") + "`: " + std::string(trim(done.err)));
  }
  co_return done.out;
}

Task<> ensure_pause_image(const NodeConfig& config) {
  const auto present = co_await ctr(config, {"images", "ls", "-q"}, 30s);
  if (("\n" + present).find(std::string("\n") + pause_image + "\n") != std::string::npos) co_return;
  TemporaryFolder folder;
  const auto file = folder.path() / "pause.tar";
  write_file_atomically(file, pause_image_archive(pause_image));
  co_await ctr(config, {"images", "import", file.string()}, 60s);
}

}  // namespace workflow::engine
