// src/builder/command.h: what somebody who logged in asks for.
#pragma once
#include <string>
#include <string_view>
#include <variant>

#include "lib/base/domain.h"

namespace workflow::builder {

struct Ping {
  bool operator==(const Ping&) const = default;
};
struct ReceivePack {
  AppName app;
  bool operator==(const ReceivePack&) const = default;
};
struct UploadPack {  // clone and fetch: what git calls upload is the way to the user
  AppName app;
  bool operator==(const UploadPack&) const = default;
};
struct RefusedCommand {
  std::string message;
  bool is_git = false;  // git shows the message when it comes as a packet of its protocol
  bool operator==(const RefusedCommand&) const = default;
};
using Command = std::variant<Ping, ReceivePack, UploadPack, RefusedCommand>;

// SSH_ORIGINAL_COMMAND: `git-receive-pack '/app.git'` or `git-upload-pack '/app.git'` as git writes it, or `ping`.
// Everything else is refused.
Command parse_command(std::string_view text);

// Text from outside, fit to be shown: printable ASCII, cut at 80 characters.
std::string shown(std::string_view text);

}  // namespace workflow::builder
