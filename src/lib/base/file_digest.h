// src/lib/base/file_digest.h: digests of files. Blocks: call it through offload.
#pragma once
#include <string>

#include "lib/base/file.h"

namespace workflow {

// Of all that the open file holds, whatever its position; raw bytes. Throws internal when it cannot be read.
std::string sha256_of_file(const Fd& file);

}  // namespace workflow
