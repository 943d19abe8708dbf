// src/engine/apiserver/api_error.h: refusals as Kubernetes says them: a Status with reason, details and causes.
#pragma once
#include <exception>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/json/json.h"
#include "lib/kube/client.h"

namespace workflow::engine {

// What is wrong with one field of an object.
struct FieldProblem {
  std::string reason;   // FieldValueRequired, FieldValueInvalid, FieldValueForbidden, FieldValueNotSupported, …
  std::string field;    // spec.template.spec.containers[0].name
  std::string message;  // without the field
  bool operator==(const FieldProblem&) const = default;
};
FieldProblem required_field(std::string field, std::string message = "");
FieldProblem invalid_field(std::string field, const json::value& value, std::string message);
FieldProblem forbidden_field(std::string field, std::string message);
FieldProblem unsupported_value(std::string field, const json::value& value, std::vector<std::string> supported);

// Carries the complete Status.
class ApiError : public std::exception {
 public:
  ApiError(int code, std::string reason, std::string message, json::object details = {});
  int code() const { return code_; }
  const json::object& status() const { return status_; }
  const char* what() const noexcept override { return message_.c_str(); }

 private:
  int code_;
  std::string message_;
  json::object status_;
};

ApiError bad_request(std::string message);
ApiError absent(const kube::Resource& r, const std::string& name);
ApiError forbidden(const kube::Resource& r, const std::string& name, const std::string& why);
ApiError conflicting(const kube::Resource& r, const std::string& name, const std::string& why);
ApiError invalid_object(const kube::Resource& r, const std::string& name, const std::vector<FieldProblem>& problems);
ApiError expired(std::string message);
ApiError unsupported_media_type(std::string message);

// An Error of the store or a library, about an object or a whole request.
ApiError api_error_from(const Error& error, const kube::Resource* r, const std::string& name);

json::object success_status(const kube::Resource& r, const std::string& name, const std::string& uid);

}  // namespace workflow::engine
