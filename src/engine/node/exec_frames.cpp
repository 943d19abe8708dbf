#include "engine/node/exec_frames.h"

#include <algorithm>
#include <limits>

#include "lib/base/text.h"

namespace workflow::engine {
namespace {

std::optional<std::uint16_t> cells(const json::value& size, std::string_view name) {
  const auto number = find_integer(size, {name});
  if (!number || *number < 0 || *number > std::numeric_limits<std::uint16_t>::max()) return std::nullopt;
  return static_cast<std::uint16_t>(*number);
}

}  // namespace

ExecFrame exec_frame(std::string message) {
  if (message.empty()) return ExecNoise{};
  const auto channel = static_cast<ExecChannel>(static_cast<unsigned char>(message[0]));
  message.erase(0, 1);
  switch (channel) {
    case ExecChannel::in: return ExecInput{std::move(message)};
    case ExecChannel::close:
      if (message == std::string_view("\0", 1)) return ExecInputEnd{};
      return ExecNoise{};
    case ExecChannel::resize: {
      const auto size = parse_json(message);
      const auto width = size ? cells(*size, "Width") : std::nullopt;
      const auto height = size ? cells(*size, "Height") : std::nullopt;
      if (width && height) return ExecResize{*width, *height};
      return ExecNoise{};
    }
    default: return ExecNoise{};
  }
}

std::string to_client(ExecChannel channel, std::string_view bytes) {
  std::string message(1, static_cast<char>(channel));
  message += bytes;
  return message;
}

json::object exit_status(int code, const std::vector<std::string>& command) {
  if (code == 0) return {{"metadata", json::object()}, {"status", "Success"}};
  const auto number = std::to_string(code);
  return {{"metadata", json::object()},
          {"status", "Failure"},
          {"message", "command terminated with non-zero exit code: error executing command [" + join(command, " ") +
                          "], exit code " + number},
          {"reason", "NonZeroExitCode"},
          {"details", {{"causes", json::array{{{"reason", "ExitCode"}, {"message", number}}}}}}};
}

json::object failure_status(std::string_view why) {
  const auto cause = "error executing command in container: " + std::string(why);
  return {{"metadata", json::object()},
          {"status", "Failure"},
          {"message", "Internal error occurred: " + cause},
          {"reason", "InternalError"},
          {"details", {{"causes", json::array{{{"message", cause}}}}}},
          {"code", 500}};
}

std::optional<std::string> exec_process(std::string_view container_spec, const std::vector<std::string>& command,
                                        bool tty) {
  const auto spec = parse_json(container_spec);
  const auto* own = spec ? find_path(*spec, {"process"}) : nullptr;
  if (!own || !own->is_object()) return std::nullopt;
  auto process = own->get_object();
  process["args"] = json::array(command.begin(), command.end());
  process["terminal"] = tty;
  process.erase("consoleSize");
  if (tty) {
    auto& env = process["env"];
    json::array others;
    if (env.is_array()) {
      for (const auto& one : env.get_array()) {
        if (!one.is_string() || !std::string_view(one.get_string()).starts_with("TERM=")) others.push_back(one);
      }
    }
    others.emplace_back("TERM=xterm");
    env = std::move(others);
  }
  return print_json(process);
}

}  // namespace workflow::engine
