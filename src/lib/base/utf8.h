// src/lib/base/utf8.h: text from programs is made valid UTF-8 where it enters.
#pragma once
#include <string>
#include <string_view>

namespace workflow {

bool is_valid_utf8(std::string_view text);
// What is not UTF-8 (RFC 3629: no overlong forms, no surrogates) becomes U+FFFD, once for each maximal broken part, as
// browsers do. Valid text comes back as it is.
std::string valid_utf8(std::string text);

// The same for text that arrives in pieces: a character that is cut by the end of a piece waits for the next one.
class Utf8Stream {
 public:
  std::string add(std::string_view piece);
  std::string end();  // what still waits is broken

 private:
  std::string waiting_;  // at most three bytes: the valid beginning of a character
};

// For one line of a message: valid UTF-8 in which control characters are spelled out (\n, \x1b).
std::string printable(std::string_view text);

}  // namespace workflow
