// src/lib/base/error.h: the one exception type of the project, and the check for broken invariants.
#pragma once
#include <exception>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace workflow {

enum class ErrorKind {
  invalid,          // bad input; `fields` says where
  unauthenticated,  // who are you?
  forbidden,        // you may not
  not_found,
  conflict,       // somebody else changed it, or it exists already
  unprocessable,  // understood, but cannot be done as things are
  too_large,
  unavailable,  // a part we need is not there now; trying again may help
  timeout,
  internal,  // a bug of ours, or a surprise
};

std::string_view to_string(ErrorKind kind);

// An expected failure. `message` is safe to show and says, when known, what to do next. Each dialect (REST, Kubernetes
// Status, S3 XML, exit code) maps `kind` in one table of its own; this type knows nothing of them.
class Error : public std::exception {
 public:
  using Fields = std::map<std::string, std::vector<std::string>>;

  Error(ErrorKind kind, std::string message) : kind_(kind), message_(std::move(message)) {}
  // Bad input, by field name.
  explicit Error(Fields fields);

  Error with_detail(std::string detail) && {
    detail_ = std::move(detail);
    return std::move(*this);
  }

  const char* what() const noexcept override { return message_.c_str(); }
  ErrorKind kind() const { return kind_; }
  const std::string& message() const { return message_; }
  const Fields& fields() const { return fields_; }
  const std::string& detail() const { return detail_; }  // for our logs only

 private:
  ErrorKind kind_;
  std::string message_;
  Fields fields_;
  std::string detail_;
};

// The text for logs of whatever was thrown: message, and detail if any.
std::string describe(const std::exception_ptr& error);

[[noreturn]] void check_failed(const char* condition, const char* file, int line);

}  // namespace workflow

// A broken invariant of ours is a bug: stop the process, in every build. It is restarted from durable state.
#define WF_CHECK(condition) ((condition) ? void(0) : ::workflow::check_failed(#condition, __FILE__, __LINE__))
