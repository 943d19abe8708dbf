// src/platform/machine.h: what this machine must have before the platform can start, and where our own files are.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "platform/options.h"

namespace workflow::platform {

// Where the running program and what was built or installed with it lie.
struct Installation {
  std::filesystem::path program;   // this executable
  std::filesystem::path images;    // folder of images.json and the archives it names
  std::filesystem::path manifest;  // deploy/single-machine.yaml
};
Installation find_installation();  // beside the build tree, else under /usr/share/workflow; throws not_found

// Throws one Error that names all that is missing, with the package or the command that mends it.
void check_machine();
// Throws unavailable when another program listens on a port that the platform is to serve.
void check_ports(const Options& options);

}  // namespace workflow::platform
