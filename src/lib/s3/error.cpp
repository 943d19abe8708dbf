#include "lib/s3/error.h"

#include "lib/s3/xml.h"

namespace workflow::s3 {

namespace {

ErrorKind kind_of(int status) {
  switch (status) {
    case 401:
    case 403: return ErrorKind::forbidden;
    case 404: return ErrorKind::not_found;
    case 408: return ErrorKind::timeout;
    case 409:
    case 412: return ErrorKind::conflict;
    case 413: return ErrorKind::too_large;
    case 429: return ErrorKind::unavailable;
    default: return status >= 500 ? ErrorKind::unavailable : ErrorKind::invalid;
  }
}

}  // namespace

std::string render_error(const ErrorDocument& error, std::string_view resource, std::string_view request_id) {
  XmlWriter xml("Error", "");
  xml.text("Code", error.code).text("Message", error.message).text("Resource", resource);
  return xml.text("RequestId", request_id).finish();
}

Error error_from(int status, std::string_view body, const std::string& what) {
  const auto document = parse_xml(body);
  const bool ours = document && document->name == "Error";
  const std::string code = ours ? document->text_of("Code") : "status " + std::to_string(status);
  const std::string message = ours ? ": " + document->text_of("Message") : "";
  return {kind_of(status), "object storage: " + what + " failed (" + code + ")" + message};
}

}  // namespace workflow::s3
