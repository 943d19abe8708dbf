#include "platform/machine.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstring>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/text.h"

namespace workflow::platform {
namespace {

namespace fs = std::filesystem;

struct Needed {
  std::string_view program;
  std::string_view package;
};
constexpr Needed needed_programs[] = {
    {"containerd", "containerd"},
    {"containerd-shim-runc-v2", "containerd"},
    {"ctr", "containerd"},
    {"runc", "runc"},
    {"nft", "nftables"},
    {"ip", "iproute2"},
    {"ssh-keygen", "openssh-client"},
};

bool is_installed(std::string_view program) {
  for (const char* folder : {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}) {
    if (access((fs::path(folder) / program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

bool can_listen(int port) {
  Fd socket_fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(socket_fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return ::bind(socket_fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
         ::listen(socket_fd.get(), 1) == 0;
}

}  // namespace

Installation find_installation() {
  Installation found{.program = fs::read_symlink("/proc/self/exe")};
  const auto build = found.program.parent_path().parent_path();
  const fs::path images[] = {build / "images", "/usr/share/workflow/images"};
  const fs::path manifests[] = {build.parent_path() / "deploy", "/usr/share/workflow"};
  for (const auto& folder : images) {
    if (found.images.empty() && fs::exists(folder / "images.json")) found.images = folder;
  }
  for (const auto& folder : manifests) {
    if (found.manifest.empty() && fs::exists(folder / "single-machine.yaml"))
      found.manifest = folder / "single-machine.yaml";
  }
  if (found.images.empty()) {
    throw Error(ErrorKind::not_found, "no container images in " + images[0].string() + " or " + images[1].string() +
                                          "; build them with tools/images/build, or run ./quickstart");
  }
  if (found.manifest.empty()) {
    throw Error(ErrorKind::not_found, "single-machine.yaml is neither in " + manifests[0].string() + " nor in " +
                                          manifests[1].string() + "; install Workflow again");
  }
  return found;
}

void check_machine() {
  if (geteuid() != 0)
    throw Error(ErrorKind::forbidden, "this needs root, for containers and port 80: run it with sudo");
  std::vector<std::string> packages;
  auto missing = [&](std::string_view package) {
    if (std::find(packages.begin(), packages.end(), package) == packages.end()) packages.emplace_back(package);
  };
  for (const auto& needed : needed_programs) {
    if (!is_installed(needed.program)) missing(needed.package);
  }
  if (!fs::exists("/usr/lib/cni/bridge")) missing("containernetworking-plugins");
  if (!packages.empty()) {
    const auto list = join(packages, " ");
    throw Error(ErrorKind::unavailable, "missing on this machine: " + list + "; install with: apt-get install " + list);
  }
}

void check_ports(const Options& options) {
  std::vector<std::string> taken;
  const std::pair<std::string_view, int> ports[] = {{"--http-port", options.http_port},
                                                    {"--https-port", options.https_port},
                                                    {"--ssh-port", options.ssh_port},
                                                    {"--status-port", options.status_port},
                                                    {"--api-port", options.api_port}};
  for (const auto& [option, port] : ports) {
    if (!can_listen(port)) taken.push_back(std::to_string(port) + " (choose another with " + std::string(option) + ")");
  }
  if (!taken.empty()) {
    throw Error(ErrorKind::unavailable,
                "another program listens on port " + join(taken, " and on port ") + "; `ss -ltnp` shows which");
  }
  struct statvfs disk{};
  constexpr std::uint64_t least_bytes = 2ull << 30;
  if (statvfs(options.state.c_str(), &disk) == 0 && disk.f_bavail * disk.f_frsize < least_bytes) {
    throw Error(ErrorKind::unavailable, "less than 2 GiB free under " + options.state.string() +
                                            "; free some, or choose another disk with --state");
  }
}

}  // namespace workflow::platform
