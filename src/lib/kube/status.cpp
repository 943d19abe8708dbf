#include "lib/kube/status.h"

#include "lib/json/json.h"

namespace workflow::kube {

namespace {
ErrorKind kind_of(int http_status) {
  switch (http_status) {
    case 400: return ErrorKind::invalid;
    case 401: return ErrorKind::unauthenticated;
    case 403: return ErrorKind::forbidden;
    case 404: return ErrorKind::not_found;
    case 405: return ErrorKind::unprocessable;
    case 409: return ErrorKind::conflict;
    case 410: return ErrorKind::conflict;
    case 413: return ErrorKind::too_large;
    case 415: return ErrorKind::unprocessable;
    case 422: return ErrorKind::unprocessable;
    case 429: return ErrorKind::unavailable;
    case 502: return ErrorKind::unavailable;
    case 503: return ErrorKind::unavailable;
    case 504: return ErrorKind::timeout;
    default: return ErrorKind::internal;
  }
}
}  // namespace

Error error_from_response(int http_status, std::string_view body) {
  if (http_status == 410) return {ErrorKind::conflict, "resourceVersion too old"};
  if (const auto status = parse_json(body)) {
    if (const auto message = find_string(*status, {"message"}); message && !message->empty()) {
      return {kind_of(http_status), *message};
    }
  }
  std::string text = "the Kubernetes API answered " + std::to_string(http_status);
  if (!body.empty()) text += ": " + std::string(body.substr(0, 200));
  return {kind_of(http_status), text};
}

}  // namespace workflow::kube
