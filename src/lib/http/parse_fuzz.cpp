// Whatever comes in through a target, a URL, a path, or the head of a message: no crash, and what is accepted is sane.
#include <cstdint>
#include <string_view>

#include "lib/base/error.h"
#include "lib/http/http.h"
#include "lib/http/target.h"
#include "lib/http/wire.h"

using namespace workflow;
using namespace workflow::http;

namespace {

const Router& router() {
  static const Router made = [] {
    Router r;
    for (const char* pattern : {"/v2/apps/{app}/", "/v2/{kind}/{name}", "/files/{path...}", "/{x}/{y}/{z}"}) {
      r.add("GET", pattern, [](Request&) -> Task<Response> { co_return Response::empty(204); });
    }
    return r;
  }();
  return made;
}

void check_target(std::string_view text) {
  const auto target = parse_target(text);
  if (!target) return;
  WF_CHECK(target->path.find('\0') == std::string::npos);
  WF_CHECK(target->path.find("/../") == std::string::npos && !target->path.ends_with("/.."));
  const auto match = router().match("GET", target->raw_path);
  for (const auto& [name, value] : match.params) WF_CHECK(value != "..");
}

void check_url(std::string_view text) {
  const auto url = Url::parse(text);
  if (!url) return;
  const auto again = Url::parse(url->text());
  WF_CHECK(again && again->text() == url->text());
}

void check_heads(std::string_view text) {
  auto parsed = parse_request_head(text);
  if (const auto* head = std::get_if<RequestHead>(&parsed)) {
    // What was accepted can be sent on and is understood in the same way.
    const auto rendered = render_request_head(head->method, head->target, head->headers);
    if (rendered) {
      auto again = parse_request_head(*rendered);
      if (head->minor == 1) WF_CHECK(std::holds_alternative<RequestHead>(again));
    }
  }
  (void)parse_response_head(text, "GET");
}

void check_chunks(std::string_view text) {
  ChunkedDecoder whole, bytewise;
  std::string all, pieces;
  const auto used = whole.feed(text, all, text.size() + 1);
  bool sound = true;
  for (std::size_t i = 0; i < text.size() && sound && !bytewise.finished(); ++i) {
    sound = bytewise.feed(text.substr(i, 1), pieces, 1).has_value();
  }
  WF_CHECK(used.has_value() == sound);
  if (sound) WF_CHECK(all == pieces && whole.finished() == bytewise.finished());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_target(text);
  check_url(text);
  check_heads(text);
  check_chunks(text);
  return 0;
}
