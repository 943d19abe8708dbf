// src/builder/sshd.h: OpenSSH's server as our front door.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/async/process.h"
#include "lib/async/task.h"

namespace workflow::builder {

struct SshdSettings {
  std::uint16_t port = 0;
  std::string user;                    // whom people log in as
  std::vector<std::string> host_keys;  // files
  std::string program;  // workflow-push: paths of letters, digits and / . _ - + only, since sshd splits at spaces
  std::string keys_socket, session_socket;
  bool post_quantum = false;  // offer sntrup761x25519
};
// sshd_config(5): public keys that the controller knows, the forced command, and nothing else.
std::string sshd_config(const SshdSettings& settings);
bool is_plain_path(std::string_view path);

class Sshd {
 public:
  // Writes the configuration to `folder`; throws unavailable when sshd cannot be started.
  Sshd(const SshdSettings& settings, const std::string& folder);
  Task<> run();             // passes on what it logs; throws when it ends
  Task<> stop_listening();  // connections that are open go on
  bool listening() const { return listening_; }

 private:
  Task<> follow_words();
  void take_line(std::string_view line);

  ChildProcess child_;
  bool listening_ = false;
};

}  // namespace workflow::builder
