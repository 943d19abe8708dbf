#include "lib/s3/xml.h"

#include <expat.h>

#include <memory>

#include "lib/base/error.h"

namespace workflow::s3 {

namespace {

constexpr std::size_t depth_limit = 16;
constexpr std::size_t size_limit = 64u << 20;

struct Builder {
  XML_Parser parser = nullptr;
  XmlElement document;            // holds the root as its only child
  std::vector<XmlElement*> path;  // from the document to the open element
  bool refused = false;

  void refuse() {
    refused = true;
    XML_StopParser(parser, XML_FALSE);
  }
};

void on_start(void* data, const XML_Char* name, const XML_Char**) {
  auto& builder = *static_cast<Builder*>(data);
  if (builder.path.size() > depth_limit) return builder.refuse();
  std::string_view local = name;
  if (const auto colon = local.rfind(':'); colon != std::string_view::npos) local.remove_prefix(colon + 1);
  auto& siblings = builder.path.back()->children;
  // Only the innermost open element gets children, so pointers to the open ones stay valid.
  siblings.push_back({.name = std::string(local), .text = {}, .children = {}});
  builder.path.push_back(&siblings.back());
}

void on_end(void* data, const XML_Char*) { static_cast<Builder*>(data)->path.pop_back(); }

void on_text(void* data, const XML_Char* text, int size) {
  static_cast<Builder*>(data)->path.back()->text.append(text, static_cast<std::size_t>(size));
}

void on_doctype(void* data, const XML_Char*, const XML_Char*, const XML_Char*, int) {
  static_cast<Builder*>(data)->refuse();
}

void append_escaped(std::string& out, std::string_view text) {
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\r': out += "&#13;"; break;  // a parser would turn it into a newline
      default:
        if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n')
          out += "\xEF\xBF\xBD";
        else
          out += c;
    }
  }
}

}  // namespace

const XmlElement* XmlElement::find(std::string_view child) const {
  for (const auto& element : children) {
    if (element.name == child) return &element;
  }
  return nullptr;
}

std::string XmlElement::text_of(std::string_view child) const {
  const auto* found = find(child);
  return found == nullptr ? "" : found->text;
}

std::vector<const XmlElement*> XmlElement::all(std::string_view child) const {
  std::vector<const XmlElement*> found;
  for (const auto& element : children) {
    if (element.name == child) found.push_back(&element);
  }
  return found;
}

std::optional<XmlElement> parse_xml(std::string_view document) {
  if (document.size() > size_limit) return std::nullopt;
  const std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser(XML_ParserCreate("UTF-8"), XML_ParserFree);
  WF_CHECK(parser != nullptr);
  Builder builder{.parser = parser.get(), .document = {}, .path = {}};
  builder.path.push_back(&builder.document);
  XML_SetUserData(parser.get(), &builder);
  XML_SetElementHandler(parser.get(), on_start, on_end);
  XML_SetCharacterDataHandler(parser.get(), on_text);
  XML_SetStartDoctypeDeclHandler(parser.get(), on_doctype);
  const auto status = XML_Parse(parser.get(), document.data(), static_cast<int>(document.size()), XML_TRUE);
  if (status != XML_STATUS_OK || builder.refused || builder.document.children.empty()) return std::nullopt;
  return std::move(builder.document.children.front());
}

XmlWriter::XmlWriter(std::string_view root, std::string_view xmlns)
    : out_("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<" + std::string(root)) {
  if (!xmlns.empty()) out_.append(" xmlns=\"").append(xmlns).append("\"");
  out_ += '>';
  open_.emplace_back(root);
}

XmlWriter& XmlWriter::open(std::string_view name) {
  out_.append("<").append(name).append(">");
  open_.emplace_back(name);
  return *this;
}

XmlWriter& XmlWriter::close() {
  out_.append("</").append(open_.back()).append(">");
  open_.pop_back();
  return *this;
}

XmlWriter& XmlWriter::text(std::string_view name, std::string_view value) {
  out_.append("<").append(name).append(">");
  append_escaped(out_, value);
  out_.append("</").append(name).append(">");
  return *this;
}

std::string XmlWriter::finish() {
  while (!open_.empty()) close();
  return std::move(out_);
}

}  // namespace workflow::s3
