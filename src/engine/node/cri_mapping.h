// src/engine/node/cri_mapping.h: our structs as CRI's messages, and back; and which of containerd's events concern us.
// Pure.
#pragma once
#include <optional>

#include "containerd_events.pb.h"
#include "cri.pb.h"
#include "engine/node/cri_client.h"

namespace workflow::engine::cri {

namespace rt = runtime::v1;
namespace ev = containerd::services::events::v1;

rt::PodSandboxConfig to_proto(const SandboxConfig& config);
rt::ContainerConfig to_proto(const ContainerConfig& config);

Sandbox sandbox_from(const rt::PodSandbox& in);
Sandbox sandbox_from(const rt::PodSandboxStatus& in);  // with its address
Container container_from(const rt::Container& in);
ContainerStatus status_from(const rt::ContainerStatus& in);
Image image_from(const rt::Image& in);
std::optional<Event> event_from(const ev::Envelope& envelope);

}  // namespace workflow::engine::cri
