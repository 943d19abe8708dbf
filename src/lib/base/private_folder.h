// src/lib/base/private_folder.h: state that nobody but its owner may read.
#pragma once
#include <filesystem>

namespace workflow {

// Makes `folder` when it is not there, and it and what lies directly in it our own alone: folders 0700, files 0600,
// those of earlier versions as well. What this process makes from now on is its own (umask 077), wherever it is. Throws
// unavailable when the folder cannot be made.
void keep_private(const std::filesystem::path& folder);

}  // namespace workflow
