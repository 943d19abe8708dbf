#include "controller/attempts.h"

namespace workflow::controller {
namespace {
constexpr std::chrono::minutes window{1};
constexpr std::size_t most_names = 100'000;
}  // namespace

std::optional<std::chrono::seconds> Attempts::pause(const std::string& name, Time now) const {
  const auto found = failures_.find(name);
  if (allowed_ == 0 || found == failures_.end() || found->second.count < allowed_) return std::nullopt;
  const auto end = found->second.since + window;
  if (now >= end) return std::nullopt;
  return std::chrono::ceil<std::chrono::seconds>(end - now);
}

void Attempts::failed(const std::string& name, Time now) {
  // Whoever tries very many names must not fill the memory: what is over is dropped, then everything.
  if (failures_.size() >= most_names)
    std::erase_if(failures_, [&](const auto& entry) { return now >= entry.second.since + window; });
  if (failures_.size() >= most_names) failures_.clear();
  auto& failures = failures_[name];
  if (failures.count == 0 || now >= failures.since + window) failures = {0, now};
  ++failures.count;
}

}  // namespace workflow::controller
