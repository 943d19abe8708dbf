// src/lib/http/json_text.h: the little JSON that this library itself says. Inside lib/http only.
#pragma once
#include <string>
#include <string_view>

#include "lib/http/http.h"

namespace workflow::http {

std::string json_string(std::string_view text);                // quoted and escaped
Response error_response(int status, std::string_view detail);  // {"detail": …}

}  // namespace workflow::http
