// Frames of a client that runs a command: no crash, and input arrives as it was sent.
#include <cstdint>
#include <string>

#include "engine/node/exec_frames.h"
#include "lib/base/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::engine;
  const std::string message(reinterpret_cast<const char*>(data), size);
  const auto frame = exec_frame(message);
  if (const auto* input = std::get_if<ExecInput>(&frame)) {
    WF_CHECK(to_client(ExecChannel::in, input->bytes) == message);
  } else if (std::holds_alternative<ExecInputEnd>(frame)) {
    WF_CHECK(size == 2 && data[0] == 255 && data[1] == 0);
  } else if (std::holds_alternative<ExecResize>(frame)) {
    WF_CHECK(data[0] == 4);
  }
  // A container's specification comes from containerd; a process is made of one or not at all.
  if (const auto process = exec_process(message, {"true"}, true))
    WF_CHECK(exec_process("{\"process\":" + *process + "}", {"true"}, true) == process);
  return 0;
}
