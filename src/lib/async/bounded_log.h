// src/lib/async/bounded_log.h: a log file that other processes append to stays within bounds while they write.
#pragma once
#include <cstdint>
#include <filesystem>

#include "lib/async/task.h"

namespace workflow {

// Whenever `file` has grown beyond `most` bytes, it becomes `<file>.1` and begins anew, under the descriptors of those
// who write to it: they need to have opened it with O_APPEND, and need to do nothing. So both together hold 2 × `most`,
// and what is written within a fifth of a second. A line that is written in the instant of the change may be lost.
// Where the disk has no room for the copy, the old lines go. Until cancelled; run it through a Supervisor. It waits for
// writes, and costs nothing while there are none.
Task<> bound_log(std::filesystem::path file, std::uint64_t most);

}  // namespace workflow
