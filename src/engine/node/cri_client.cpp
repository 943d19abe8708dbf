// The channel to containerd, and CRI's calls.
#include "engine/node/cri_client.h"

#include "engine/node/cri_call.h"
#include "engine/node/cri_mapping.h"

namespace workflow::engine::cri {

using namespace std::chrono_literals;

ErrorKind kind_of(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::NOT_FOUND: return ErrorKind::not_found;
    case grpc::StatusCode::ALREADY_EXISTS: return ErrorKind::conflict;
    case grpc::StatusCode::DEADLINE_EXCEEDED: return ErrorKind::timeout;
    case grpc::StatusCode::UNAVAILABLE: return ErrorKind::unavailable;
    case grpc::StatusCode::INVALID_ARGUMENT: return ErrorKind::invalid;
    default: return ErrorKind::internal;
  }
}

namespace {

// containerd removes or starts for one caller at a time, and goes on for one that has died (an engine that was killed).
// It refuses others meanwhile, and tells nobody when it is done.
template <typename Remove>
Task<> removed_once_free(Remove remove) {
  const auto give_up = std::chrono::steady_clock::now() + 30s;
  for (auto pause = 20ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 1s)) {
    try {
      co_await remove();
      co_return;
    } catch (const Error& error) {
      const bool busy = error.message().find("already in removing state") != std::string::npos ||
                        error.message().find("in starting state, can't be removed") != std::string::npos;
      if (!busy || std::chrono::steady_clock::now() > give_up) throw;
    }
    co_await sleep_for(pause);
  }
}

}  // namespace

Client::Client(Executor executor, std::filesystem::path socket) : state_(std::make_shared<State>()) {
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "localhost");  // a Go server refuses a path as authority
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 250);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  state_->executor = executor;
  state_->channel =
      grpc::CreateCustomChannel("unix://" + socket.string(), grpc::InsecureChannelCredentials(), arguments);
  state_->runtime = rt::RuntimeService::NewStub(state_->channel);
  state_->images = rt::ImageService::NewStub(state_->channel);
  state_->events = ev::Events::NewStub(state_->channel);
  state_->containers = ct::Containers::NewStub(state_->channel);
  state_->tasks = ts::Tasks::NewStub(state_->channel);
  // gRPC 1.51 may abort when a channel goes while its own threads still let go of a call. A process has one client, so
  // its channel simply lives as long as the process.
  static std::vector<std::shared_ptr<State>>& never_freed = *new std::vector<std::shared_ptr<State>>;
  never_freed.push_back(state_);
}
Client::~Client() = default;

Task<std::string> Client::version() {
  rt::VersionRequest request;
  auto response = co_await WF_CRI_CALL(runtime, Version, std::move(request), 5s);
  co_return response.runtime_name() + " " + response.runtime_version();
}

Task<std::string> Client::wait_ready(std::chrono::milliseconds limit) {
  auto give_up = std::chrono::steady_clock::now() + limit;
  for (;;) {
    std::string problem;
    try {
      co_return co_await version();
    } catch (const Error& error) {
      problem = error.message();
    }
    if (std::chrono::steady_clock::now() > give_up)
      throw Error{ErrorKind::timeout, "containerd does not answer on its socket"}.with_detail(problem);
    co_await sleep_for(20ms);
  }
}

Task<std::string> Client::run_sandbox(SandboxConfig config) {
  rt::RunPodSandboxRequest request;
  *request.mutable_config() = to_proto(config);
  auto response = co_await WF_CRI_CALL(runtime, RunPodSandbox, std::move(request), 4min);
  co_return response.pod_sandbox_id();
}

Task<> Client::stop_sandbox(std::string id) {
  rt::StopPodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  co_await WF_CRI_CALL(runtime, StopPodSandbox, std::move(request), 2min);
}

Task<> Client::remove_sandbox(std::string id) {
  rt::RemovePodSandboxRequest request;
  request.set_pod_sandbox_id(id);
  auto remove = [&]() -> Task<> { co_await WF_CRI_CALL(runtime, RemovePodSandbox, request, 2min); };
  co_await removed_once_free(remove);
}

Task<Sandbox> Client::sandbox_status(std::string id) {
  rt::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(id);
  auto response = co_await WF_CRI_CALL(runtime, PodSandboxStatus, std::move(request), 30s);
  co_return sandbox_from(response.status());
}

Task<std::vector<Sandbox>> Client::list_sandboxes(Labels labels) {
  rt::ListPodSandboxRequest request;
  request.mutable_filter()->mutable_label_selector()->insert(labels.begin(), labels.end());
  auto response = co_await WF_CRI_CALL(runtime, ListPodSandbox, std::move(request), 30s);
  std::vector<Sandbox> out;
  for (const auto& sandbox : response.items()) out.push_back(sandbox_from(sandbox));
  co_return out;
}

Task<std::string> Client::create_container(std::string sandbox_id, ContainerConfig config, SandboxConfig sandbox) {
  rt::CreateContainerRequest request;
  request.set_pod_sandbox_id(sandbox_id);
  *request.mutable_config() = to_proto(config);
  *request.mutable_sandbox_config() = to_proto(sandbox);
  auto response = co_await WF_CRI_CALL(runtime, CreateContainer, std::move(request), 4min);
  co_return response.container_id();
}

Task<> Client::start_container(std::string id) {
  rt::StartContainerRequest request;
  request.set_container_id(id);
  co_await WF_CRI_CALL(runtime, StartContainer, std::move(request), 2min);
}

Task<> Client::stop_container(std::string id, std::chrono::seconds grace) {
  rt::StopContainerRequest request;
  request.set_container_id(id);
  request.set_timeout(grace.count());
  co_await WF_CRI_CALL(runtime, StopContainer, std::move(request), grace + 2min);
}

Task<> Client::remove_container(std::string id) {
  rt::RemoveContainerRequest request;
  request.set_container_id(id);
  auto remove = [&]() -> Task<> { co_await WF_CRI_CALL(runtime, RemoveContainer, request, 1min); };
  co_await removed_once_free(remove);
}

Task<std::vector<Container>> Client::list_containers(Labels labels) {
  rt::ListContainersRequest request;
  request.mutable_filter()->mutable_label_selector()->insert(labels.begin(), labels.end());
  auto response = co_await WF_CRI_CALL(runtime, ListContainers, std::move(request), 30s);
  std::vector<Container> out;
  for (const auto& container : response.containers()) out.push_back(container_from(container));
  co_return out;
}

Task<ContainerStatus> Client::container_status(std::string id) {
  rt::ContainerStatusRequest request;
  request.set_container_id(id);
  auto response = co_await WF_CRI_CALL(runtime, ContainerStatus, std::move(request), 30s);
  co_return status_from(response.status());
}

Task<> Client::reopen_log(std::string id) {
  rt::ReopenContainerLogRequest request;
  request.set_container_id(id);
  co_await WF_CRI_CALL(runtime, ReopenContainerLog, std::move(request), 30s);
}

Task<ExecResult> Client::exec_sync(std::string id, std::vector<std::string> command, std::chrono::seconds limit) {
  rt::ExecSyncRequest request;
  request.set_container_id(id);
  for (const auto& word : command) request.add_cmd(word);
  request.set_timeout(limit.count());
  auto response = co_await WF_CRI_CALL(runtime, ExecSync, std::move(request), limit + 10s);
  co_return ExecResult{response.stdout(), response.stderr(), response.exit_code()};
}

Task<std::string> Client::attach_url(StreamRequest stream) {
  rt::AttachRequest request;
  request.set_container_id(stream.container);
  request.set_tty(stream.tty);
  request.set_stdin(stream.in);
  request.set_stdout(stream.out);
  request.set_stderr(stream.err);
  auto response = co_await WF_CRI_CALL(runtime, Attach, std::move(request), 30s);
  co_return response.url();
}

Task<std::vector<Image>> Client::list_images() {
  rt::ListImagesRequest request;
  auto response = co_await WF_CRI_CALL(images, ListImages, std::move(request), 30s);
  std::vector<Image> out;
  for (const auto& image : response.images()) out.push_back(image_from(image));
  co_return out;
}

Task<std::optional<Image>> Client::image_status(std::string image) {
  rt::ImageStatusRequest request;
  request.mutable_image()->set_image(image);
  auto response = co_await WF_CRI_CALL(images, ImageStatus, std::move(request), 30s);
  std::optional<Image> out;
  if (response.has_image()) out = image_from(response.image());
  co_return out;
}

Task<std::string> Client::pull_image(std::string image, std::optional<Auth> auth) {
  rt::PullImageRequest request;
  request.mutable_image()->set_image(image);
  if (auth) {
    auto* to = request.mutable_auth();
    to->set_username(auth->username);
    to->set_password(auth->password.reveal());
    to->set_auth(auth->auth.reveal());
    to->set_identity_token(auth->identity_token.reveal());
    // No server_address: these are for this image, and containerd drops them if it is not spelled as its own URL.
  }
  auto response = co_await WF_CRI_CALL(images, PullImage, std::move(request), 30min);
  co_return response.image_ref();
}

Task<> Client::remove_image(std::string image) {
  rt::RemoveImageRequest request;
  request.mutable_image()->set_image(image);
  co_await WF_CRI_CALL(images, RemoveImage, std::move(request), 2min);
}

}  // namespace workflow::engine::cri
