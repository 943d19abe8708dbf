#include "lib/base/error.h"

#include <cstdio>
#include <cstdlib>

namespace workflow {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::unauthenticated: return "unauthenticated";
    case ErrorKind::forbidden: return "forbidden";
    case ErrorKind::not_found: return "not_found";
    case ErrorKind::conflict: return "conflict";
    case ErrorKind::unprocessable: return "unprocessable";
    case ErrorKind::too_large: return "too_large";
    case ErrorKind::unavailable: return "unavailable";
    case ErrorKind::timeout: return "timeout";
    case ErrorKind::internal: return "internal";
  }
  return "internal";
}

namespace {
// "domain: must be a host name; port: must be a number, must be positive"
std::string message_of(const Error::Fields& fields) {
  std::string text;
  for (const auto& [name, problems] : fields) {
    if (!text.empty()) text += "; ";
    text += name + ": ";
    for (std::size_t i = 0; i < problems.size(); ++i) {
      if (i > 0) text += ", ";
      text += problems[i];
    }
  }
  return text;
}
}  // namespace

Error::Error(Fields fields) : kind_(ErrorKind::invalid), message_(message_of(fields)), fields_(std::move(fields)) {}

std::string describe(const std::exception_ptr& error) {
  if (!error) return "no error";
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    std::string text = std::string(to_string(e.kind())) + ": " + e.message();
    if (!e.detail().empty()) text += " (" + e.detail() + ")";
    return text;
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

void check_failed(const char* condition, const char* file, int line) {
  std::fflush(stdout);
  std::fprintf(stderr, "level=error msg=\"broken invariant\" check=\"%s\" at=%s:%d\n", condition, file, line);
  std::abort();
}

}  // namespace workflow
