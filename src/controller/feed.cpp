#include "controller/feed.h"

namespace workflow::controller {

Task<> Feed::run() {
  co_await db_.listen("workflow", [this](const std::string& payload) { take(payload); });
}

void Feed::take(const std::string& payload) {
  constexpr std::size_t kept = 1000;
  json::object message;
  if (auto value = parse_json(payload); value && value->is_object()) message = std::move(value->get_object());
  if (const auto line = find_string(message, {"progress"})) {
    progress_.push_back({++told_, find_string(message, {"app"}).value_or(""), *line});
    if (progress_.size() > kept) progress_.pop_front();
  }
  for (const auto& listener : listeners_) listener(message);
  changes_.notify_all();
}

std::vector<Feed::Progress> Feed::progress_since(std::uint64_t number, const std::string& app_uuid) const {
  std::vector<Progress> found;
  for (const auto& progress : progress_) {
    if (progress.number > number && progress.app_uuid == app_uuid) found.push_back(progress);
  }
  return found;
}

}  // namespace workflow::controller
