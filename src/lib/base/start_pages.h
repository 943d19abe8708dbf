// src/lib/base/start_pages.h: memory of a process that has started and from now on only waits.
#pragma once

namespace workflow {

// Unmaps the pages of our program and its libraries that the start has read: relocations, initialisers of everything in
// the program. They are on the disk, and what is needed again is mapped again; nothing that was written goes.
void release_start_pages();

}  // namespace workflow
