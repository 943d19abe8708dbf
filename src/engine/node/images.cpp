#include "engine/node/images.h"

#include "engine/fields.h"
#include "lib/base/error.h"
#include "lib/base/image_name.h"
#include "lib/base/text.h"

namespace workflow::engine {
namespace {

std::optional<cri::Auth> auth_of(const PodView& pod, const std::string& image) {
  for (const auto& ref : array_at(pod.spec(), {"imagePullSecrets"})) {
    if (!ref.is_object()) continue;
    const auto data = secret_data(pod, text_at(ref.get_object(), {"name"}));
    const auto found = data ? data->find(".dockerconfigjson") : std::map<std::string, std::string>::const_iterator{};
    if (!data || found == data->end()) continue;
    const auto config = parse_json(found->second);
    if (auto auth = config ? auth_for(image, *config) : std::nullopt) return auth;
  }
  return std::nullopt;
}

}  // namespace

std::string pull_policy(const json::object& container, const std::string& image) {
  if (auto policy = text_at(container, {"imagePullPolicy"}); !policy.empty()) return policy;
  return ImageName::split(image).is_fixed() ? "IfNotPresent" : "Always";
}

std::string registry_of(const std::string& image) { return ImageName::split(image).registry(); }

std::optional<cri::Auth> auth_for(const std::string& image, const json::value& docker_config) {
  const auto* auths = find_path(docker_config, {"auths"});
  if (!auths || !auths->is_object()) return std::nullopt;
  const auto full = ImageName::split(image).path();
  std::optional<cri::Auth> best;
  std::size_t longest = 0;
  for (const auto& [key, entry] : auths->get_object()) {
    std::string server(key);
    for (const std::string_view scheme : {"https://", "http://"}) {
      if (server.starts_with(scheme)) server.erase(0, scheme.size());
    }
    while (server.ends_with('/')) server.pop_back();
    // Docker Hub's own entry is named after its oldest API.
    if (server == "index.docker.io/v1" || server == "index.docker.io") server = "docker.io";
    for (const std::string_view version : {"/v1", "/v2"}) {
      if (server.ends_with(version)) server.resize(server.size() - version.size());
    }
    const bool fits = full == server || full.starts_with(server + "/");
    if (!fits || server.size() < longest) continue;
    longest = server.size();
    auto text = [&entry](const char* field) { return find_string(entry, {field}).value_or(""); };
    best = cri::Auth{.username = text("username"),
                     .password = Secret(text("password")),
                     .auth = Secret(text("auth")),
                     .identity_token = Secret(text("identitytoken"))};
  }
  return best;
}

Task<cri::Image> ensure_image(cri::Client& runtime, const PodView& pod, const json::object& container, TellEvent tell) {
  const auto image = text_at(container, {"image"});
  const auto policy = pull_policy(container, image);
  const auto present = co_await runtime.image_status(image);
  // Images of this machine's own builds have no registry to come from.
  const bool local = image.starts_with("localhost/");
  if (present && (policy != "Always" || local)) {
    tell("Normal", "Pulled", "Container image \"" + image + "\" already present on machine");
    co_return *present;
  }
  if (policy == "Never" || local) {
    const auto why =
        local ? "\" is not on this machine; run `workflow up`" : "\" is not present with pull policy of Never";
    throw Error(ErrorKind::not_found, "Container image \"" + image + why).with_detail("ErrImageNeverPull");
  }
  tell("Normal", "Pulling", "Pulling image \"" + image + "\"");
  const auto begun = std::chrono::steady_clock::now();
  std::string trouble;
  try {
    const auto id = co_await runtime.pull_image(image, auth_of(pod, image));
    if (auto pulled = co_await runtime.image_status(id)) {
      const auto took =
          std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
      tell("Normal", "Pulled", "Successfully pulled image \"" + image + "\" in " + std::to_string(took) + "ms");
      co_return *pulled;
    }
    trouble = "it was gone at once";
  } catch (const Error& error) {
    trouble = error.message();
  }
  throw Error(ErrorKind::unavailable, "Failed to pull image \"" + image + "\": " + trouble).with_detail("ErrImagePull");
}

}  // namespace workflow::engine
