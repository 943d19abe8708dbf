// src/platform/manifest.h: the platform's manifest, fitted to this machine.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "lib/json/json.h"
#include "platform/options.h"

namespace workflow::platform {

// An image archive as tools/images/build leaves it.
struct Image {
  std::string name;  // "platform", "stack"
  std::string ref;   // localhost/workflow/platform:<content hash>
  std::string file;
};
std::vector<Image> images_from_json(const json::value& index);  // throws invalid

// The objects as they are applied here: images by content, the domain, build settings, and an annotation on every pod
// template that changes exactly when one of these does, so that a changed setting restarts what reads it.
std::vector<json::object> fit_manifest(std::vector<json::object> objects, const Options& options,
                                       const std::vector<Image>& images);

}  // namespace workflow::platform
