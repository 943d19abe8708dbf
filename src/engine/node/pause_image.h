// src/engine/node/pause_image.h: the sandbox image as an OCI archive.
#pragma once
#include <string>

namespace workflow::engine {

// A tar of an OCI image layout with one layer: /pause. Equal for equal names.
std::string pause_image_archive(const std::string& name);

}  // namespace workflow::engine
