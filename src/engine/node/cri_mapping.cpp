#include "engine/node/cri_mapping.h"

#include "containerd_tasks.pb.h"

namespace workflow::engine::cri {

namespace {

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

template <typename Proto>
Sandbox read_sandbox(const Proto& in) {
  Sandbox out;
  out.id = in.id();
  out.name = in.metadata().name();
  out.uid = in.metadata().uid();
  out.ns = in.metadata().namespace_();
  out.attempt = in.metadata().attempt();
  out.ready = in.state() == rt::SANDBOX_READY;
  out.created = time_of(in.created_at());
  out.labels = labels_of(in.labels());
  out.annotations = labels_of(in.annotations());
  return out;
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

}  // namespace

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

Sandbox sandbox_from(const rt::PodSandbox& in) { return read_sandbox(in); }

Sandbox sandbox_from(const rt::PodSandboxStatus& in) {
  auto out = read_sandbox(in);
  out.ip = in.network().ip();
  return out;
}

Container container_from(const rt::Container& in) {
  Container out;
  read_container(out, in);
  out.sandbox_id = in.pod_sandbox_id();
  return out;
}

ContainerStatus status_from(const rt::ContainerStatus& in) {
  ContainerStatus out;
  read_container(out, in);
  out.started = time_of(in.started_at());
  out.finished = time_of(in.finished_at());
  out.exit_code = in.exit_code();
  out.reason = in.reason();
  out.message = in.message();
  out.log_path = in.log_path();
  return out;
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

}  // namespace workflow::engine::cri
