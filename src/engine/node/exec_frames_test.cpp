#include "engine/node/exec_frames.h"

#include <gtest/gtest.h>

namespace workflow::engine {
namespace {

using namespace std::string_literals;

// One word for each kind of frame, so that cases are a line.
std::string told(const ExecFrame& frame) {
  if (const auto* input = std::get_if<ExecInput>(&frame)) return "in:" + input->bytes;
  if (std::holds_alternative<ExecInputEnd>(frame)) return "end";
  if (const auto* size = std::get_if<ExecResize>(&frame))
    return std::to_string(size->width) + "x" + std::to_string(size->height);
  return "-";
}

TEST(ExecFrames, of_a_client_are_told_apart_by_their_first_byte) {
  struct Case {
    std::string message, frame;
  };
  const Case cases[] = {
      {"\0abc"s, "in:abc"},
      {"\0"s, "in:"},
      {"\0\xff\0"s, "in:\xff\0"s},
      {"\xff\0"s, "end"},
      {"\xff\x01"s, "-"},
      {"\xff"s, "-"},
      {"\xff\0\0"s, "-"},
      {"\x04{\"Width\":80,\"Height\":24}\n", "80x24"},
      {"\x04{\"Width\":0,\"Height\":65535}", "0x65535"},
      {"\x04{\"Width\":80}", "-"},
      {"\x04{\"Width\":80,\"Height\":65536}", "-"},
      {"\x04{\"Width\":-1,\"Height\":24}", "-"},
      {"\x04[]", "-"},
      {"\x04", "-"},
      {"\x01output is ours", "-"},
      {"\x03{}", "-"},
      {"\x05", "-"},
      {"", "-"},
  };
  for (const auto& [message, frame] : cases) EXPECT_EQ(told(exec_frame(message)), frame) << message;
}

TEST(ExecFrames, to_a_client_begin_with_their_channel) {
  EXPECT_EQ(to_client(ExecChannel::out, "a\0b"s), "\x01"s + "a\0b"s);
  EXPECT_EQ(to_client(ExecChannel::err, ""), "\x02");
  EXPECT_EQ(to_client(ExecChannel::status, "{}"), "\x03{}");
}

TEST(ExecFrames, end_with_a_status_that_kubectl_understands) {
  EXPECT_EQ(print_json(exit_status(0, {"true"})), R"({"metadata":{},"status":"Success"})");
  EXPECT_EQ(
      print_json(exit_status(3, {"sh", "-c", "exit 3"})),
      R"({"metadata":{},"status":"Failure","message":"command terminated with non-zero exit code: error executing )"
      R"(command [sh -c exit 3], exit code 3","reason":"NonZeroExitCode","details":{"causes":[{"reason":"ExitCode",)"
      R"("message":"3"}]}})");
  EXPECT_EQ(
      print_json(failure_status("no such file")),
      R"({"metadata":{},"status":"Failure","message":"Internal error occurred: error executing command in container: )"
      R"(no such file","reason":"InternalError","details":{"causes":[{"message":"error executing command in container: )"
      R"(no such file"}]},"code":500})");
}

constexpr auto container_spec = R"({
  "ociVersion": "1.0.2",
  "process": {
    "terminal": true, "consoleSize": {"height": 1, "width": 2},
    "user": {"uid": 1000, "gid": 1000, "additionalGids": [7]},
    "args": ["server"], "env": ["PATH=/bin", "TERM=dumb", "A=b"], "cwd": "/srv",
    "capabilities": {"bounding": ["CAP_CHOWN"]}, "noNewPrivileges": true, "apparmorProfile": "p", "oomScoreAdj": 985,
    "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 5, "soft": 5}]
  },
  "root": {"path": "rootfs"}
})";

TEST(ExecProcess, is_the_containers_own_but_for_its_command) {
  auto expected = parse_json(container_spec)->at("process").as_object();
  expected["args"] = json::array{"sh", "-c", "a \"b\""};
  expected["terminal"] = false;
  expected.erase("consoleSize");
  const auto process = exec_process(container_spec, {"sh", "-c", "a \"b\""}, false);
  ASSERT_TRUE(process.has_value());
  EXPECT_EQ(*parse_json(*process), json::value(expected));
}

TEST(ExecProcess, on_a_terminal_knows_its_kind) {
  const auto process = exec_process(container_spec, {"sh"}, true);
  ASSERT_TRUE(process.has_value());
  const auto value = *parse_json(*process);
  EXPECT_EQ(value.at("terminal"), json::value(true));
  EXPECT_EQ(print_json(value.at("env")), R"(["PATH=/bin","A=b","TERM=xterm"])");
  EXPECT_EQ(print_json(parse_json(*exec_process(R"({"process": {}})", {"sh"}, true))->at("env")), R"(["TERM=xterm"])");
}

TEST(ExecProcess, needs_a_spec) {
  for (const auto* spec : {"", "[]", "{}", R"({"process": 1})", "{"}) {
    EXPECT_FALSE(exec_process(spec, {"true"}, false).has_value()) << spec;
  }
}

}  // namespace
}  // namespace workflow::engine
