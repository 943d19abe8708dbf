// src/cli/limit_value.h: what `limits:set` accepts before it asks the server.
#pragma once
#include <string_view>

namespace workflow::cli {

bool is_limit(std::string_view text);  // "512M", "1.5", "250m", or request/limit: "256M/512M"

}  // namespace workflow::cli
