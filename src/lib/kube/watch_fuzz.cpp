#include <cstdint>

#include "lib/base/error.h"
#include "lib/kube/watch.h"

// A stream of events, cut at arbitrary places, gives the same lines as in one piece.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace workflow::kube;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  LineBuffer whole;
  LineBuffer pieces;
  whole.append(text);
  std::vector<std::string> lines;
  while (auto line = whole.take_line()) lines.push_back(*line);
  std::size_t seen = 0;
  for (const char c : text) {
    pieces.append({&c, 1});
    while (auto line = pieces.take_line()) WF_CHECK(seen < lines.size() && *line == lines[seen++]);
  }
  WF_CHECK(seen == lines.size() && whole.size() == pieces.size());
  for (const auto& line : lines) {
    try {
      watch_event_from(line, resources::pods);
    } catch (const workflow::Error&) {
    }
  }
  return 0;
}
