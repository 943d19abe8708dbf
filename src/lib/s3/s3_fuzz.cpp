// What a client sends to an S3 server: signatures, aws-chunked bodies, XML.
#include <cstdint>
#include <string_view>

#include "lib/base/error.h"
#include "lib/s3/s3.h"
#include "lib/s3/xml.h"

using namespace workflow;
using namespace workflow::s3;

namespace {

std::string decode(std::string_view text, std::size_t piece, bool& sound) {
  ChunkDecoder decoder({.has_signatures = false, .has_trailer = true});
  std::string out;
  sound = true;
  for (std::size_t at = 0; at < text.size() && sound; at += piece) sound = decoder.feed(text.substr(at, piece), out);
  sound = sound && decoder.finished();
  return out;
}

void check_chunks(std::string_view text) {
  bool whole = false, bytewise = false;
  const auto a = decode(text, text.size() + 1, whole);
  const auto b = decode(text, 1, bytewise);
  WF_CHECK(whole == bytewise);
  if (whole) WF_CHECK(a == b);
  ChunkDecoder with_signatures({.seed_signature = "x", .has_signatures = true});
  std::string out;
  WF_CHECK(!with_signatures.feed(text, out) || !with_signatures.finished());
}

// The first line is the Authorization header, the second the query, the third the path.
void check_verify(std::string_view text) {
  SignInput input{.method = "GET", .payload_hash = std::string(unsigned_payload)};
  const auto first = text.find('\n');
  const auto second = first == std::string_view::npos ? first : text.find('\n', first + 1);
  input.headers = {{"Host", "x"}, {"X-Amz-Date", "20130524T000000Z"}};
  if (first > 0) input.headers.add("Authorization", std::string(text.substr(0, first)));
  if (first != std::string_view::npos) input.raw_query = text.substr(first + 1, second - first - 1);
  if (second != std::string_view::npos) input.raw_path = text.substr(second + 1);
  const auto now = *parse_basic_iso8601("20130524T000000Z");
  const auto result = verify(input, "us-east-1", now, [](const std::string&) { return Secret("unguessable"); });
  WF_CHECK(!result.ok && !result.error_code.empty());
}

void rewrite(XmlWriter& writer, const XmlElement& element) {
  for (const auto& child : element.children) {
    if (child.children.empty()) {
      writer.text(child.name, child.text);
    } else {
      writer.open(child.name);
      rewrite(writer, child);
      writer.close();
    }
  }
}

void check_xml(std::string_view text) {
  const auto document = parse_xml(text);
  if (!document) return;
  XmlWriter writer("Root");
  rewrite(writer, *document);
  WF_CHECK(parse_xml(writer.finish()).has_value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  check_chunks(text);
  check_verify(text);
  check_xml(text);
  return 0;
}
