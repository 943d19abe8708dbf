// Processes beside a container's own, by containerd's task service.
#include "engine/node/cri_call.h"

namespace workflow::engine::cri {

using namespace std::chrono_literals;

namespace {

template <typename Request>
Request about(const ExecId& exec) {
  Request request;
  request.set_container_id(exec.container);
  request.set_exec_id(exec.id);
  return request;
}

}  // namespace

Task<std::string> Client::container_spec(std::string id) {
  ct::GetContainerRequest request;
  request.set_id(id);
  auto response = co_await WF_CONTAINERD_CALL(ct::GetContainerResponse, containers, Get, std::move(request), 10s);
  co_return response.container().spec().value();
}

Task<> Client::create_exec(ExecRequest exec) {
  auto request = about<ts::ExecProcessRequest>(exec.exec);
  request.set_stdin(exec.in.string());
  request.set_stdout(exec.out.string());
  request.set_stderr(exec.err.string());
  request.set_terminal(exec.tty);
  request.mutable_spec()->set_type_url("types.containerd.io/opencontainers/runtime-spec/1/Process");
  request.mutable_spec()->set_value(exec.process);
  co_await WF_CONTAINERD_CALL(google::protobuf::Empty, tasks, Exec, std::move(request), 30s);
}

Task<int> Client::start_exec(ExecId exec) {
  auto request = about<ts::StartRequest>(exec);
  auto response = co_await WF_CONTAINERD_CALL(ts::StartResponse, tasks, Start, std::move(request), 30s);
  co_return static_cast<int>(response.pid());
}

Task<int> Client::wait_exec(ExecId exec) {
  constexpr auto as_long_as_it_runs = 24h * 365;
  auto request = about<ts::WaitRequest>(exec);
  auto response = co_await WF_CONTAINERD_CALL(ts::WaitResponse, tasks, Wait, std::move(request), as_long_as_it_runs);
  co_return static_cast<int>(response.exit_status());
}

Task<std::optional<ExecState>> Client::find_exec(ExecId exec) {
  try {
    auto request = about<ts::GetRequest>(exec);
    auto response = co_await WF_CONTAINERD_CALL(ts::GetResponse, tasks, Get, std::move(request), 10s);
    const auto& process = response.process();
    co_return ExecState{static_cast<int>(process.pid()), process.status() == ts::Process::RUNNING};
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
  co_return std::nullopt;
}

Task<> Client::close_exec_input(ExecId exec) {
  auto request = about<ts::CloseIORequest>(exec);
  request.set_stdin(true);
  co_await WF_CONTAINERD_CALL(google::protobuf::Empty, tasks, CloseIO, std::move(request), 10s);
}

Task<> Client::resize_exec(ExecId exec, std::uint16_t width, std::uint16_t height) {
  auto request = about<ts::ResizePtyRequest>(exec);
  request.set_width(width);
  request.set_height(height);
  co_await WF_CONTAINERD_CALL(google::protobuf::Empty, tasks, ResizePty, std::move(request), 10s);
}

Task<> Client::kill_exec(ExecId exec) {
  auto request = about<ts::KillRequest>(exec);
  request.set_signal(9);
  co_await WF_CONTAINERD_CALL(google::protobuf::Empty, tasks, Kill, std::move(request), 10s);
}

Task<> Client::delete_exec(ExecId exec) {
  auto request = about<ts::DeleteProcessRequest>(exec);
  co_await WF_CONTAINERD_CALL(ts::DeleteResponse, tasks, DeleteProcess, std::move(request), 10s);
}

}  // namespace workflow::engine::cri
