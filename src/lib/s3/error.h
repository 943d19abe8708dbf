// src/lib/s3/error.h: S3's error documents, both directions.
#pragma once
#include <string>
#include <string_view>

#include "lib/base/error.h"

namespace workflow::s3 {

struct ErrorDocument {
  std::string code, message;
};
std::string render_error(const ErrorDocument& error, std::string_view resource, std::string_view request_id);
// What a client makes of an answer that is not 2xx; `what` names the operation and the object.
Error error_from(int status, std::string_view body, const std::string& what);

}  // namespace workflow::s3
