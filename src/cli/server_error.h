// src/cli/server_error.h: what an answer of the controller with status 400 and above means to the user.
#pragma once
#include <string>
#include <string_view>

namespace workflow::cli {

// The text after "Error: ". Scripts compare these words; they are the original's.
std::string message_of(int status, std::string_view body);

// The same for an answer that is not the controller's: a router's, a proxy's, or another server's at that URL. Its body
// is a page for browsers, and is not shown.
std::string message_of_stranger(int status, std::string_view url);

}  // namespace workflow::cli
