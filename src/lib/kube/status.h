// src/lib/kube/status.h: what an API server's refusal means. The table of docs "HTTP Status codes", api-conventions.md.
#pragma once
#include <string_view>

#include "lib/base/error.h"

namespace workflow::kube {

// From a response that is not 2xx. The message of a Status body is kept; another body is quoted in part.
Error error_from_response(int http_status, std::string_view body);

}  // namespace workflow::kube
