// src/engine/descriptors.h: how many files and sockets the process may have open at once. Whoever serves strangers
// takes a share of them, so that no crowd leaves the others without.
#pragma once
#include <cstddef>

namespace workflow::engine {

// Raises the limit to what the system allows this process.
void raise_descriptor_limit();
// One of `parts` equal parts of the limit, and no more than `most`.
std::size_t share_of_descriptors(std::size_t parts, std::size_t most);

}  // namespace workflow::engine
