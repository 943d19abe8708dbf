#include "engine/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

namespace workflow::engine {

void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::size_t share_of_descriptors(std::size_t parts, std::size_t most) {
  constexpr std::size_t usual = 1024;
  rlimit limit{};
  const auto all = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? static_cast<std::size_t>(limit.rlim_cur) : usual;
  return std::clamp<std::size_t>(all / parts, 1, most);
}

}  // namespace workflow::engine
