#include "builder/client.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace workflow::builder {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// The status that the builder answers with; nullopt when it does not answer.
std::optional<int> call(const std::string& socket_path, const std::string& message) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path || message.size() > longest_call) return std::nullopt;
  socket_path.copy(address.sun_path, socket_path.size());
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);  // closed with the process
  if (socket < 0 || ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return std::nullopt;

  const std::array<int, 3> streams{STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof streams)> control{};
  iovec bytes{const_cast<char*>(message.data()), message.size()};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = control.data();
  header.msg_controllen = control.size();
  auto* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof streams);
  std::memcpy(CMSG_DATA(rights), streams.data(), sizeof streams);
  if (::sendmsg(socket, &header, MSG_NOSIGNAL) < 0) return std::nullopt;

  unsigned char status = 0;
  if (::recv(socket, &status, 1, 0) != 1) return std::nullopt;
  return status;
}

void say(int fd, std::string_view text) { [[maybe_unused]] const auto written = ::write(fd, text.data(), text.size()); }

int run_hook(const std::string& name, const std::vector<std::string>& words) {
  const auto push = variable(push_variable);
  // Git tells of each transaction three times, also of those that are no push's.
  if (name == "reference-transaction" && (push.empty() || words.empty() || words[0] != "prepared")) return 0;
  std::vector<std::string> fields{name, push};
  for (const char* variable_name : {"GIT_QUARANTINE_PATH", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"})
    fields.push_back(variable(variable_name));
  if (const auto status = call(variable(socket_variable), print_call(fields))) return *status;
  say(STDERR_FILENO, "The builder is being restarted: push again in a moment\n");
  return 1;
}

}  // namespace

std::string print_call(const std::vector<std::string>& fields) {
  std::string bytes;
  for (const auto& field : fields) bytes += field + '\0';
  return bytes;
}

std::vector<std::string> parse_call(std::string_view bytes) {
  std::vector<std::string> fields;
  while (!bytes.empty()) {
    const auto end = bytes.find('\0');
    if (end == std::string_view::npos) return {};
    fields.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(end + 1);
  }
  return fields;
}

std::string git_error(std::string_view message) {
  const auto payload = "ERR " + std::string(message.substr(0, 1000)) + "\n";
  char length[5];
  std::snprintf(length, sizeof length, "%04zx", payload.size() + 4);
  return length + payload;
}

int client_main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const std::string_view program = argc > 0 ? argv[0] : "";
  const auto name = program.substr(program.rfind('/') + 1);
  if (name == "pre-receive" || name == "reference-transaction") return run_hook(std::string(name), words);
  if (words.size() < 2) {
    say(STDERR_FILENO, "sshd and git start this for `workflow builder`\n");
    return 2;
  }
  const auto& what = words[0];
  std::vector<std::string> fields{what};
  if (what == "keys") {
    fields.insert(fields.end(), words.begin() + 2, words.end());
  } else {
    for (const char* variable_name : {pusher_variable, "SSH_ORIGINAL_COMMAND", "SSH_CONNECTION"})
      fields.push_back(variable(variable_name));
  }
  if (const auto status = call(words[1], print_call(fields))) return *status;
  if (what == "session") say(STDOUT_FILENO, git_error("The builder is being restarted: push again in a moment"));
  return 1;
}

}  // namespace workflow::builder
