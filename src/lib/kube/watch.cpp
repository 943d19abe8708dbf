#include "lib/kube/watch.h"

#include "lib/base/text.h"
#include "lib/kube/status.h"

namespace workflow::kube {

namespace {
constexpr std::size_t event_limit = 64u << 20;

std::optional<WatchEventType> type_from(std::string_view text) {
  if (text == "ADDED") return WatchEventType::added;
  if (text == "MODIFIED") return WatchEventType::modified;
  if (text == "DELETED") return WatchEventType::deleted;
  if (text == "BOOKMARK") return WatchEventType::bookmark;
  return std::nullopt;
}
}  // namespace

std::optional<std::string> LineBuffer::take_line() {
  const auto end = buffer_.find('\n', scanned_);
  if (end == std::string::npos) {
    buffer_.erase(0, begin_);
    begin_ = 0;
    scanned_ = buffer_.size();
    return std::nullopt;
  }
  std::string line = buffer_.substr(begin_, end - begin_);
  begin_ = scanned_ = end + 1;
  return line;
}

std::optional<WatchEvent> watch_event_from(std::string_view line, const Resource& r) {
  auto event = parse_json(line);
  auto* object = event && event->is_object() ? event->get_object().if_contains("object") : nullptr;
  if (object == nullptr || !object->is_object()) {
    throw Error(ErrorKind::unavailable, "the watch of " + r.plural + " sent something that is not an event");
  }
  const auto type = find_string(*event, {"type"}).value_or("");
  if (type == "ERROR") {
    const auto code = find_integer(*object, {"code"}).value_or(500);
    throw error_from_response(static_cast<int>(code), print_json(*object));
  }
  const auto known = type_from(type);
  if (!known) return std::nullopt;
  WatchEvent result{*known, std::move(object->get_object())};
  result.object["apiVersion"] = r.api_version();
  result.object["kind"] = r.kind;
  return result;
}

Task<std::optional<WatchEvent>> WatchStream::next() {
  for (;;) {
    while (auto line = lines_.take_line()) {
      if (trim(*line).empty()) continue;
      if (auto event = watch_event_from(*line, resource_)) co_return event;
    }
    if (lines_.size() > event_limit)
      throw Error(ErrorKind::too_large, "an event of " + resource_.plural + " is too large");
    auto bytes = co_await with_deadline(watch_lifetime + std::chrono::seconds(30),
                                        "the watch of " + resource_.plural + " fell silent", body_->read());
    if (bytes.empty()) co_return std::nullopt;
    lines_.append(bytes);
  }
}

}  // namespace workflow::kube
