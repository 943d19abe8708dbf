#include "engine/node/cri_client.h"

#include <grpcpp/grpcpp.h>

#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/post.hpp>
#include <boost/system/system_error.hpp>
#include <mutex>
#include <thread>

#include "containerd_containers.grpc.pb.h"
#include "containerd_events.grpc.pb.h"
#include "containerd_processes.grpc.pb.h"
#include "containerd_tasks.pb.h"
#include "cri.grpc.pb.h"
#include "lib/base/error.h"

namespace workflow::engine::cri {

namespace rt = runtime::v1;
namespace ev = containerd::services::events::v1;
namespace ct = containerd::services::containers::v1;
namespace ts = containerd::services::tasks::v1;
using namespace std::chrono_literals;

namespace {

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

template <typename Request, typename Response>
struct Call {
  grpc::ClientContext context;
  Request request;
  Response response;
  grpc::Status status;
};

// One unary call: started by `start(context, request, response, callback)` on gRPC's threads, resumed on ours.
template <typename Response, typename Request, typename Start>
Task<Response> unary(Request request, std::chrono::milliseconds limit, Start start) {
  auto executor = co_await asio::this_coro::executor;
  auto call = std::make_shared<Call<Request, Response>>();
  call->request = std::move(request);
  call->context.set_deadline(std::chrono::system_clock::now() + limit);
  auto initiate = [&](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    auto slot = asio::get_associated_cancellation_slot(*shared);
    if (slot.is_connected()) slot.assign([call](asio::cancellation_type) { call->context.TryCancel(); });
    // The work guard keeps run() from returning while only gRPC holds the operation.
    auto work = asio::prefer(executor, asio::execution::outstanding_work.tracked);
    start(&call->context, &call->request, &call->response, [call, shared, work](const grpc::Status& status) {
      call->status = status;
      asio::post(work, [shared] {
        auto slot = asio::get_associated_cancellation_slot(*shared);
        if (slot.is_connected()) slot.clear();
        auto resume = std::move(*shared);
        resume();
      });
    });
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(initiate, asio::use_awaitable);
  const auto& status = call->status;
  if (status.error_code() == grpc::StatusCode::CANCELLED)
    throw boost::system::system_error(asio::error::operation_aborted);
  if (!status.ok()) throw Error{kind_of(status.error_code()), status.error_message()};
  co_return std::move(call->response);
}

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

Time time_of(std::int64_t nanoseconds) { return Time{std::chrono::nanoseconds(nanoseconds)}; }

template <typename ProtoMap>
Labels labels_of(const ProtoMap& map) {
  return Labels(map.begin(), map.end());
}
template <typename ProtoMap>
void fill(ProtoMap* to, const Labels& from) {
  for (const auto& [key, value] : from) (*to)[key] = value;
}

void fill(rt::NamespaceOption* to, const Namespaces& from) {
  to->set_network(static_cast<rt::NamespaceMode>(from.network));
  to->set_pid(static_cast<rt::NamespaceMode>(from.pid));
  to->set_ipc(static_cast<rt::NamespaceMode>(from.ipc));
}

rt::PodSandboxConfig to_proto(const SandboxConfig& config) {
  rt::PodSandboxConfig out;
  auto* metadata = out.mutable_metadata();
  metadata->set_name(config.name);
  metadata->set_uid(config.uid);
  metadata->set_namespace_(config.ns);
  metadata->set_attempt(config.attempt);
  out.set_hostname(config.hostname);
  out.set_log_directory(config.log_directory);
  for (const auto& server : config.dns_servers) out.mutable_dns_config()->add_servers(server);
  for (const auto& search : config.dns_searches) out.mutable_dns_config()->add_searches(search);
  for (const auto& option : config.dns_options) out.mutable_dns_config()->add_options(option);
  fill(out.mutable_labels(), config.labels);
  fill(out.mutable_annotations(), config.annotations);
  auto* linux_config = out.mutable_linux();
  linux_config->set_cgroup_parent(config.cgroup_parent);
  fill(linux_config->mutable_sysctls(), config.sysctls);
  auto* security = linux_config->mutable_security_context();
  security->set_privileged(config.privileged);
  security->mutable_seccomp()->set_profile_type(rt::SecurityProfile::RuntimeDefault);
  fill(security->mutable_namespace_options(), config.namespaces);
  return out;
}

void fill(rt::LinuxContainerSecurityContext* to, const SecurityContext& from) {
  for (const auto& name : from.add_capabilities) to->mutable_capabilities()->add_add_capabilities(name);
  for (const auto& name : from.drop_capabilities) to->mutable_capabilities()->add_drop_capabilities(name);
  to->set_privileged(from.privileged);
  to->set_readonly_rootfs(from.read_only_root);
  to->set_no_new_privs(from.no_new_privileges);
  if (from.user) to->mutable_run_as_user()->set_value(*from.user);
  if (from.group) to->mutable_run_as_group()->set_value(*from.group);
  for (auto group : from.supplemental_groups) to->add_supplemental_groups(group);
  if (from.seccomp) {
    to->mutable_seccomp()->set_profile_type(static_cast<rt::SecurityProfile::ProfileType>(from.seccomp->type));
    to->mutable_seccomp()->set_localhost_ref(from.seccomp->localhost);
  }
  for (const auto& path : from.masked_paths) to->add_masked_paths(path);
  for (const auto& path : from.read_only_paths) to->add_readonly_paths(path);
  fill(to->mutable_namespace_options(), from.namespaces);
}

rt::ContainerConfig to_proto(const ContainerConfig& config) {
  rt::ContainerConfig out;
  out.mutable_metadata()->set_name(config.name);
  out.mutable_metadata()->set_attempt(config.attempt);
  out.mutable_image()->set_image(config.image);
  for (const auto& word : config.command) out.add_command(word);
  for (const auto& word : config.args) out.add_args(word);
  out.set_working_dir(config.working_dir);
  for (const auto& [key, value] : config.env) {
    auto* entry = out.add_envs();
    entry->set_key(key);
    entry->set_value(value);
  }
  for (const auto& mount : config.mounts) {
    auto* entry = out.add_mounts();
    entry->set_container_path(mount.container_path);
    entry->set_host_path(mount.host_path);
    entry->set_readonly(mount.read_only);
    entry->set_propagation(static_cast<rt::MountPropagation>(mount.propagation));
  }
  fill(out.mutable_labels(), config.labels);
  fill(out.mutable_annotations(), config.annotations);
  out.set_log_path(config.log_path);
  out.set_stdin(config.in);
  out.set_stdin_once(config.in_once);
  out.set_tty(config.tty);
  auto* resources = out.mutable_linux()->mutable_resources();
  resources->set_cpu_period(config.resources.cpu_period);
  resources->set_cpu_quota(config.resources.cpu_quota);
  resources->set_cpu_shares(config.resources.cpu_shares);
  resources->set_memory_limit_in_bytes(config.resources.memory_limit);
  resources->set_memory_swap_limit_in_bytes(config.resources.memory_swap_limit);
  resources->set_oom_score_adj(config.resources.oom_score_adj);
  fill(out.mutable_linux()->mutable_security_context(), config.security);
  return out;
}

template <typename Proto>
void read_sandbox(Sandbox& out, const Proto& in) {
  out.id = in.id();
  out.name = in.metadata().name();
  out.uid = in.metadata().uid();
  out.ns = in.metadata().namespace_();
  out.attempt = in.metadata().attempt();
  out.ready = in.state() == rt::SANDBOX_READY;
  out.created = time_of(in.created_at());
  out.labels = labels_of(in.labels());
  out.annotations = labels_of(in.annotations());
}

template <typename Proto>
void read_container(Container& out, const Proto& in) {
  out.id = in.id();
  out.name = in.metadata().name();
  out.attempt = in.metadata().attempt();
  out.state = static_cast<ContainerState>(in.state());
  out.labels = labels_of(in.labels());
  out.annotations = labels_of(in.annotations());
  out.image = in.image().image();
  out.image_ref = in.image_ref();
  out.created = time_of(in.created_at());
}

Image image_from(const rt::Image& in) {
  Image out;
  out.id = in.id();
  out.tags.assign(in.repo_tags().begin(), in.repo_tags().end());
  out.digests.assign(in.repo_digests().begin(), in.repo_digests().end());
  out.size = in.size();
  if (in.has_uid()) out.uid = in.uid().value();
  out.username = in.username();
  return out;
}

std::optional<Event> event_from(const ev::Envelope& envelope) {
  if (envelope.namespace_() != "k8s.io") return std::nullopt;
  const auto& topic = envelope.topic();
  if (topic == "/tasks/exit") {
    containerd::events::TaskExit exit;
    if (!exit.ParseFromString(envelope.event().value()) || exit.id() != exit.container_id()) return std::nullopt;
    auto at = std::chrono::seconds(exit.exited_at().seconds()) + std::chrono::nanoseconds(exit.exited_at().nanos());
    return Event{Event::Type::exited, exit.container_id(), static_cast<int>(exit.exit_status()), Time{at}};
  }
  if (topic == "/tasks/oom") {
    containerd::events::TaskOOM oom;
    if (!oom.ParseFromString(envelope.event().value())) return std::nullopt;
    return Event{.type = Event::Type::out_of_memory, .container_id = oom.container_id()};
  }
  if (topic.starts_with("/images/")) return Event{.type = Event::Type::image_changed, .container_id = ""};
  return std::nullopt;
}

}  // namespace

struct Client::State {
  Executor executor;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<rt::RuntimeService::Stub> runtime;
  std::unique_ptr<rt::ImageService::Stub> images;
  std::unique_ptr<ev::Events::Stub> events;
  std::unique_ptr<ct::Containers::Stub> containers;
  std::unique_ptr<ts::Tasks::Stub> tasks;
};

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

// `stub` and `method` name the generated call; `state` keeps the stub alive while it runs.
#define WF_CRI_CALL(stub, method, request, limit)                                                               \
  unary<rt::method##Response>(request, limit, [state = state_](auto* context, auto* in, auto* out, auto done) { \
    state->stub->async()->method(context, in, out, std::move(done));                                            \
  })

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
  Sandbox out;
  read_sandbox(out, response.status());
  out.ip = response.status().network().ip();
  co_return out;
}

Task<std::vector<Sandbox>> Client::list_sandboxes(Labels labels) {
  rt::ListPodSandboxRequest request;
  fill(request.mutable_filter()->mutable_label_selector(), labels);
  auto response = co_await WF_CRI_CALL(runtime, ListPodSandbox, std::move(request), 30s);
  std::vector<Sandbox> out(static_cast<std::size_t>(response.items_size()));
  for (int i = 0; i < response.items_size(); ++i) read_sandbox(out[static_cast<std::size_t>(i)], response.items(i));
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
  fill(request.mutable_filter()->mutable_label_selector(), labels);
  auto response = co_await WF_CRI_CALL(runtime, ListContainers, std::move(request), 30s);
  std::vector<Container> out(static_cast<std::size_t>(response.containers_size()));
  for (int i = 0; i < response.containers_size(); ++i) {
    auto& container = out[static_cast<std::size_t>(i)];
    read_container(container, response.containers(i));
    container.sandbox_id = response.containers(i).pod_sandbox_id();
  }
  co_return out;
}

Task<ContainerStatus> Client::container_status(std::string id) {
  rt::ContainerStatusRequest request;
  request.set_container_id(id);
  auto response = co_await WF_CRI_CALL(runtime, ContainerStatus, std::move(request), 30s);
  const auto& in = response.status();
  ContainerStatus out;
  read_container(out, in);
  out.started = time_of(in.started_at());
  out.finished = time_of(in.finished_at());
  out.exit_code = in.exit_code();
  out.reason = in.reason();
  out.message = in.message();
  out.log_path = in.log_path();
  co_return out;
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
    to->set_server_address(auth->server);
  }
  auto response = co_await WF_CRI_CALL(images, PullImage, std::move(request), 30min);
  co_return response.image_ref();
}

Task<> Client::remove_image(std::string image) {
  rt::RemoveImageRequest request;
  request.mutable_image()->set_image(image);
  co_await WF_CRI_CALL(images, RemoveImage, std::move(request), 2min);
}

#undef WF_CRI_CALL

// The same for containerd's own services, which keep what CRI makes in a namespace of this name.
constexpr auto cri_namespace = "k8s.io";
#define WF_CONTAINERD_CALL(Response, stub, method, request, limit)                                  \
  unary<Response>(request, limit, [state = state_](auto* context, auto* in, auto* out, auto done) { \
    context->AddMetadata("containerd-namespace", cri_namespace);                                    \
    state->stub->async()->method(context, in, out, std::move(done));                                \
  })

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

#undef WF_CONTAINERD_CALL

namespace {

constexpr auto hello_topic = "/workflow/subscribed";

// Reads the event stream on gRPC's threads and hands each event to the loop. Keeps itself alive until the call is done.
struct EventStream : grpc::ClientReadReactor<ev::Envelope> {
  grpc::ClientContext context;
  ev::SubscribeRequest request;
  ev::Envelope envelope;
  Executor executor;
  std::function<void()> hello;
  std::function<void(const Event&)> told;
  std::function<void()> ended;
  bool stopped = false;  // on the loop only: the owner has gone
  std::shared_ptr<EventStream> self;

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (envelope.topic() == hello_topic)
      asio::post(executor, [me = self] {
        if (!me->stopped) me->hello();
      });
    if (auto event = event_from(envelope))
      asio::post(executor, [me = self, e = *event] {
        if (!me->stopped) me->told(e);
      });
    StartRead(&envelope);
  }
  void OnDone(const grpc::Status&) override {
    asio::post(executor, [me = self] {
      me->stopped = true;
      if (auto end = std::exchange(me->ended, nullptr)) end();
    });
    self.reset();
  }
};

}  // namespace

Task<> Client::events(std::function<void()> on_open, std::function<void(const Event&)> on_event) {
  auto executor = co_await asio::this_coro::executor;
  auto stream = std::make_shared<EventStream>();
  stream->executor = asio::prefer(executor, asio::execution::outstanding_work.tracked);
  auto open = std::make_shared<bool>(false);
  stream->hello = [open, on_open = std::move(on_open)] {
    if (!std::exchange(*open, true)) on_open();
  };
  stream->told = std::move(on_event);
  stream->context.AddMetadata("containerd-namespace", cri_namespace);
  stream->request.add_filters(R"(topic~="^/tasks/(exit|oom)$")");
  stream->request.add_filters(R"(topic~="^/images/")");
  stream->request.add_filters(std::string("topic==\"") + hello_topic + "\"");
  stream->self = stream;

  // containerd says nothing until there is an event, so we publish one of our own until it comes back.
  TaskGroup greeter(executor);
  auto greet = [](std::shared_ptr<State> state, std::shared_ptr<bool> heard) -> Task<> {
    for (auto pause = 5ms; !*heard; pause = std::min<std::chrono::milliseconds>(pause * 2, 500ms)) {
      ev::PublishRequest request;
      request.set_topic(hello_topic);
      request.mutable_event()->set_type_url("types.workflow.dev/subscribed");
      try {
        co_await unary<ev::PublishResponse>(request, 5s, [state](auto* context, auto* in, auto* out, auto done) {
          context->AddMetadata("containerd-namespace", cri_namespace);
          state->events->async()->Publish(context, in, out, std::move(done));
        });
      } catch (const Error&) {
        // Not there yet or gone again: the stream itself will say so.
      }
      co_await sleep_for(pause);
    }
  };
  greeter.spawn("containerd events", greet(state_, open));

  auto initiate = [&](auto handler) {
    auto shared = std::make_shared<decltype(handler)>(std::move(handler));
    auto slot = asio::get_associated_cancellation_slot(*shared);
    if (slot.is_connected()) slot.assign([stream](asio::cancellation_type) { stream->context.TryCancel(); });
    stream->ended = [shared] {
      auto own_slot = asio::get_associated_cancellation_slot(*shared);
      if (own_slot.is_connected()) own_slot.clear();
      auto resume = std::move(*shared);
      resume();
    };
    state_->events->async()->Subscribe(&stream->context, &stream->request, stream.get());
    stream->StartRead(&stream->envelope);
    stream->StartCall();
  };
  co_await asio::async_initiate<const asio::use_awaitable_t<>, void()>(initiate, asio::use_awaitable);
  auto cancelled = (co_await asio::this_coro::cancellation_state).cancelled();
  co_await asio::this_coro::reset_cancellation_state();
  co_await greeter.stop();
  if (cancelled != asio::cancellation_type::none) throw boost::system::system_error(asio::error::operation_aborted);
}

}  // namespace workflow::engine::cri
