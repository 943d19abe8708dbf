// src/lib/s3/xml.h: the XML that S3 speaks: small documents, elements and text, no DTD.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace workflow::s3 {

struct XmlElement {
  std::string name;  // without namespace prefix
  std::string text;  // of the element itself, concatenated
  std::vector<XmlElement> children;

  const XmlElement* find(std::string_view child) const;  // the first of that name
  std::string text_of(std::string_view child) const;     // "" when absent
  std::vector<const XmlElement*> all(std::string_view child) const;
};

// nullopt: not well-formed, has a document type declaration, or is nested deeper than 16 levels.
std::optional<XmlElement> parse_xml(std::string_view document);

// Writes a document. Characters that XML 1.0 cannot carry become U+FFFD.
class XmlWriter {
 public:
  explicit XmlWriter(std::string_view root, std::string_view xmlns = "http://s3.amazonaws.com/doc/2006-03-01/");
  XmlWriter& open(std::string_view name);
  XmlWriter& close();
  XmlWriter& text(std::string_view name, std::string_view value);  // <name>value</name>
  std::string finish();

 private:
  std::string out_;
  std::vector<std::string> open_;
};

}  // namespace workflow::s3
