// src/engine/node/exec_frames.h: what an exec's two sides say: the frames of v5.channel.k8s.io, and the process that
// the
//   runtime is asked for. Pure.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "lib/json/json.h"

namespace workflow::engine {

// The first byte of each frame. v4 and v5 differ in one thing only: v5's client can close its input.
enum class ExecChannel : unsigned char { in = 0, out = 1, err = 2, status = 3, resize = 4, close = 255 };

struct ExecInput {
  std::string bytes;
};
struct ExecInputEnd {};
struct ExecResize {
  std::uint16_t width = 0, height = 0;
};
struct ExecNoise {};  // what Kubernetes ignores, too: other channels, broken sizes
using ExecFrame = std::variant<ExecInput, ExecInputEnd, ExecResize, ExecNoise>;
ExecFrame exec_frame(std::string message);  // from the client

std::string to_client(ExecChannel channel, std::string_view bytes);

// The last word to the client: a Status as kubelet writes it. kubectl takes its own exit code from it.
json::object exit_status(int code, const std::vector<std::string>& command);
json::object failure_status(std::string_view why);  // the command could not be run

// The Process (OCI runtime) of a command in a container with this Spec: as the container's own, so with its user,
// environment, folder and rights. nullopt when the Spec is none.
std::optional<std::string> exec_process(std::string_view container_spec, const std::vector<std::string>& command,
                                        bool tty);

}  // namespace workflow::engine
