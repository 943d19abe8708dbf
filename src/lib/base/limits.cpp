#include "lib/base/limits.h"

#include <algorithm>

namespace workflow {

namespace {
std::optional<rlimit> given;
}

void raise_open_files() {
  rlimit now{};
  if (::getrlimit(RLIMIT_NOFILE, &now) != 0) return;
  const rlimit raised{std::max(now.rlim_cur, std::min<rlim_t>(now.rlim_max, 65536)), now.rlim_max};
  if (!given) given = now;
  ::setrlimit(RLIMIT_NOFILE, &raised);
}

std::optional<rlimit> given_open_files() { return given; }

}  // namespace workflow
