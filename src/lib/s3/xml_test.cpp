#include "lib/s3/xml.h"

#include <gtest/gtest.h>

#include "lib/s3/error.h"

namespace workflow::s3 {
namespace {

TEST(Xml, reads_what_it_writes) {
  const std::string odd = "a<b>&\"c'\r\n\t ü";
  XmlWriter writer("Delete");
  writer.text("Quiet", "true").open("Object").text("Key", odd).close().open("Object").text("Key", "").close();
  const auto document = parse_xml(writer.finish());
  ASSERT_TRUE(document);
  EXPECT_EQ(document->name, "Delete");
  EXPECT_EQ(document->text_of("Quiet"), "true");
  ASSERT_EQ(document->all("Object").size(), 2u);
  EXPECT_EQ(document->all("Object")[0]->text_of("Key"), odd);
}

TEST(Xml, refuses_what_is_malformed_or_dangerous) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<a>";
  for (int i = 0; i < 100; ++i) deep += "</a>";
  const std::string cases[] = {"",         "text",
                               "<a>",      "<a></b>",
                               "<a/><b/>", "<a>&unknown;</a>",
                               deep,       "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>",
                               "<a b=c/>", std::string("<a>\0</a>", 8)};
  for (const auto& text : cases) EXPECT_FALSE(parse_xml(text)) << text;
}

TEST(S3Error, becomes_an_error_of_the_right_kind) {
  const auto body = render_error({"NoSuchKey", "The key does not exist."}, "/b/k", "id");
  const auto error = error_from(404, body, "GET b/k");
  EXPECT_EQ(error.kind(), ErrorKind::not_found);
  EXPECT_EQ(error.message(), "object storage: GET b/k failed (NoSuchKey): The key does not exist.");
  EXPECT_EQ(error_from(503, "<html>", "x").kind(), ErrorKind::unavailable);
}

}  // namespace
}  // namespace workflow::s3
