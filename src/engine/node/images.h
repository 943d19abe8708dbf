// src/engine/node/images.h: getting a container's image: present already, or pulled with the pod's credentials.
#pragma once
#include <functional>
#include <optional>
#include <string>

#include "engine/node/pod_view.h"

namespace workflow::engine {

// Always, IfNotPresent or Never; without a wish, by the tag. Pure.
std::string pull_policy(const json::object& container, const std::string& image);
// The host of an image's registry: docker.io when it names none. Pure.
std::string registry_of(const std::string& image);
// The entry of a .dockerconfigjson for an image: the longest server that it belongs to. Pure.
std::optional<cri::Auth> auth_for(const std::string& image, const json::value& docker_config);

using TellEvent = std::function<void(std::string type, std::string reason, std::string message)>;
// Throws with the reason that Kubernetes gives it as detail: ErrImagePull, ErrImageNeverPull, InvalidImageName.
Task<cri::Image> ensure_image(cri::Client& runtime, const PodView& pod, const json::object& container, TellEvent tell);

}  // namespace workflow::engine
