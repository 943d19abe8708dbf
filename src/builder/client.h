// src/builder/client.h: what sshd and git start: it hands its words and its three standard streams to the builder over
// a unix socket, and ends with the status that comes back. It decides nothing.
//   A program of its own (workflow-push), because a push starts it four times and `workflow` takes 20 ms to load. It
//   links nothing but the C++ library.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace workflow::builder {

// workflow-push keys SOCKET TYPE KEY    sshd's AuthorizedKeysCommand
// workflow-push session SOCKET          sshd's forced command
// pre-receive                           git's hooks are links to the program, with the socket in their environment
// reference-transaction prepared
int client_main(int argc, char** argv);

inline constexpr std::size_t longest_call = 64 << 10;
std::string print_call(const std::vector<std::string>& fields);  // fields without NUL, each followed by one
std::vector<std::string> parse_call(std::string_view bytes);     // {} when malformed

// An error as a packet of git's protocol (gitprotocol-pack(5)): git prints "fatal: remote error: <message>".
std::string git_error(std::string_view message);

// The environment variables through which a push finds its way from sshd to the hook.
inline constexpr const char* pusher_variable = "WORKFLOW_PUSHER";  // signed by us, set by sshd
inline constexpr const char* push_variable = "WORKFLOW_PUSH";      // names a push, set by us for git
inline constexpr const char* socket_variable = "WORKFLOW_SOCKET";  // where its hooks find us

}  // namespace workflow::builder
