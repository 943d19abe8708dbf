// src/lib/base/limits.h: how many files this process may have open.
#pragma once
#include <sys/resource.h>

#include <optional>

namespace workflow {

// Up to what the system allows (and 65,536). Once, in main: a server's connections are its business, not its caller's.
void raise_open_files();
// What it was before: programs that we start get that, since some of them take a high limit badly.
std::optional<rlimit> given_open_files();

}  // namespace workflow
