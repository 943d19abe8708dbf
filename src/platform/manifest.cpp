#include "platform/manifest.h"

#include "lib/base/encoding.h"
#include "lib/base/text.h"

namespace workflow::platform {
namespace {

// Walks every string of the value: image references may stand in pods and in settings alike.
void replace_strings(json::value& value, const std::map<std::string, std::string>& replacements) {
  if (auto* text = value.if_string()) {
    if (auto found = replacements.find(std::string(*text)); found != replacements.end()) value = found->second;
  } else if (auto* array = value.if_array()) {
    for (auto& item : *array) replace_strings(item, replacements);
  } else if (auto* object = value.if_object()) {
    for (auto& member : *object) replace_strings(member.value(), replacements);
  }
}

std::string text_at(const json::value& value, std::initializer_list<std::string_view> path) {
  return find_string(value, path).value_or("");
}

void add_build_env(json::object& deployment, const std::map<std::string, std::string>& build_env) {
  auto& containers =
      deployment["spec"].as_object()["template"].as_object()["spec"].as_object()["containers"].as_array();
  auto& env = containers.at(0).as_object()["env"].as_array();
  for (const auto& [name, value] : build_env)
    env.push_back(json::object{{"name", "BUILD_ENV_" + name}, {"value", value}});
}

}  // namespace

std::vector<Image> images_from_json(const json::value& index) {
  std::vector<Image> images;
  for (const char* name : {"platform", "stack"}) {
    const auto ref = find_string(index, {name, "ref"});
    const auto file = find_string(index, {name, "file"});
    if (!ref || !file) {
      throw Error(ErrorKind::invalid, "images.json does not tell ref and file of the image \"" + std::string(name) +
                                          "\"; build the images again with tools/images/build");
    }
    images.push_back({name, *ref, *file});
  }
  return images;
}

std::vector<json::object> fit_manifest(std::vector<json::object> objects, const Options& options,
                                       const std::vector<Image>& images) {
  std::map<std::string, std::string> replacements;
  for (const auto& image : images) replacements["localhost/workflow/" + image.name + ":latest"] = image.ref;
  const auto settings =
      to_hex(
          sha256(print_json(json::object{{"domain", options.domain}, {"build-env", to_json(options).at("build-env")}})))
          .substr(0, 16);
  for (auto& object : objects) {
    json::value value = std::move(object);
    replace_strings(value, replacements);
    object = std::move(value.as_object());
    const auto kind = text_at(object, {"kind"});
    const auto name = text_at(object, {"metadata", "name"});
    if (kind == "ConfigMap" && name == "workflow-settings") object["data"].as_object()["domain"] = options.domain;
    if (kind != "Deployment") continue;
    if (name == "deis-builder") add_build_env(object, options.build_env);
    object["spec"]
        .as_object()["template"]
        .as_object()["metadata"]
        .as_object()["annotations"]
        .as_object()["checksum/settings"] = settings;
  }
  return objects;
}

}  // namespace workflow::platform
