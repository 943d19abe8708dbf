// src/builder/client.h: what sshd and git start: it hands its words and its three standard streams to the builder over a
// unix socket, and ends with the status that comes back. It decides nothing.
#pragma once
#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::builder {

// `keys` (sshd's AuthorizedKeysCommand), `session` (its forced command), `pre-receive` (git's hook); argv[1] is one of them.
int client_main(int argc, char** argv);
bool is_client_command(std::string_view word);

inline constexpr std::size_t longest_call = 64 << 10;
std::string print_call(const std::vector<std::string>& fields);          // fields without NUL, each followed by one
std::vector<std::string> parse_call(std::string_view bytes);             // {} when malformed

// The environment variables through which a push finds its way from sshd to the hook.
inline constexpr const char* pusher_variable = "WORKFLOW_PUSHER";  // signed by us, set by sshd
inline constexpr const char* push_variable = "WORKFLOW_PUSH";      // names a push, set by us for git

}  // namespace workflow::builder
