#include "engine/apiserver/api_error.h"

#include "engine/store_rules.h"
#include "lib/base/text.h"

namespace workflow::engine {

namespace {

json::object details_of(const kube::Resource& r, const std::string& name) {
  json::object details;
  if (!name.empty()) details["name"] = name;
  if (!r.group.empty()) details["group"] = r.group;
  details["kind"] = r.plural;
  return details;
}

std::string shown(const json::value& value) {
  if (value.is_string()) return "\"" + std::string(value.get_string()) + "\"";
  return json::serialize(value);
}

}  // namespace

FieldProblem required_field(std::string field, std::string message) {
  return {"FieldValueRequired", std::move(field), message.empty() ? "Required value" : "Required value: " + message};
}
FieldProblem invalid_field(std::string field, const json::value& value, std::string message) {
  return {"FieldValueInvalid", std::move(field), "Invalid value: " + shown(value) + ": " + message};
}
FieldProblem forbidden_field(std::string field, std::string message) {
  return {"FieldValueForbidden", std::move(field), "Forbidden: " + message};
}
FieldProblem unsupported_value(std::string field, const json::value& value, std::vector<std::string> supported) {
  for (auto& v : supported) v = "\"" + v + "\"";
  return {"FieldValueNotSupported", std::move(field),
          "Unsupported value: " + shown(value) + ": supported values: " + join(supported, ", ")};
}

ApiError::ApiError(int code, std::string reason, std::string message, json::object details)
    : code_(code), message_(std::move(message)) {
  status_ = {{"kind", "Status"},    {"apiVersion", "v1"},  {"metadata", json::object()},
             {"status", "Failure"}, {"message", message_}, {"reason", std::move(reason)}};
  if (!details.empty()) status_["details"] = std::move(details);
  status_["code"] = code;
}

ApiError bad_request(std::string message) { return {400, "BadRequest", std::move(message)}; }

ApiError absent(const kube::Resource& r, const std::string& name) {
  return {404, "NotFound", qualified_name(r) + " \"" + name + "\" not found", details_of(r, name)};
}

ApiError forbidden(const kube::Resource& r, const std::string& name, const std::string& why) {
  return {403, "Forbidden", qualified_name(r) + (name.empty() ? "" : " \"" + name + "\"") + " is forbidden: " + why,
          details_of(r, name)};
}

ApiError conflicting(const kube::Resource& r, const std::string& name, const std::string& why) {
  return {409, "Conflict", "Operation cannot be fulfilled on " + qualified_name(r) + " \"" + name + "\": " + why,
          details_of(r, name)};
}

ApiError invalid_object(const kube::Resource& r, const std::string& name, const std::vector<FieldProblem>& problems) {
  auto details = details_of(r, name);
  details["kind"] = r.kind;
  json::array causes;
  std::vector<std::string> sentences;
  for (const auto& p : problems) {
    causes.push_back(json::object{{"reason", p.reason}, {"message", p.message}, {"field", p.field}});
    sentences.push_back(p.field + ": " + p.message);
  }
  details["causes"] = std::move(causes);
  const auto kind = r.group.empty() ? r.kind : r.kind + "." + r.group;
  const auto all = sentences.size() == 1 ? sentences[0] : "[" + join(sentences, ", ") + "]";
  return {422, "Invalid", kind + " \"" + name + "\" is invalid: " + all, std::move(details)};
}

ApiError expired(std::string message) { return {410, "Expired", std::move(message)}; }

ApiError unsupported_media_type(std::string message) { return {415, "UnsupportedMediaType", std::move(message)}; }

ApiError api_error_from(const Error& error, const kube::Resource* r, const std::string& name) {
  const auto details = r != nullptr ? details_of(*r, name) : json::object();
  switch (error.kind()) {
    case ErrorKind::invalid: return {400, "BadRequest", error.message(), details};
    case ErrorKind::unauthenticated: return {401, "Unauthorized", error.message(), details};
    case ErrorKind::forbidden: {
      if (error.detail() != "NamespaceTerminating" || r == nullptr) return {403, "Forbidden", error.message(), details};
      auto with_cause = details;
      with_cause["causes"] = json::array{json::object{
          {"reason", "NamespaceTerminating"}, {"message", error.message()}, {"field", "metadata.namespace"}}};
      return {403, "Forbidden", qualified_name(*r) + " \"" + name + "\" is forbidden: " + error.message(), with_cause};
    }
    case ErrorKind::not_found: return {404, "NotFound", error.message(), details};
    case ErrorKind::conflict:
      return {409, error.detail() == "AlreadyExists" ? "AlreadyExists" : "Conflict", error.message(), details};
    case ErrorKind::unprocessable: return {422, "Invalid", error.message(), details};
    case ErrorKind::too_large: return {413, "RequestEntityTooLarge", error.message(), details};
    case ErrorKind::unavailable: return {503, "ServiceUnavailable", error.message(), details};
    case ErrorKind::timeout: return {504, "Timeout", error.message(), details};
    case ErrorKind::internal: break;
  }
  return {500, "InternalError", "Internal error occurred: " + error.message(), details};
}

json::object success_status(const kube::Resource& r, const std::string& name, const std::string& uid) {
  auto details = details_of(r, name);
  if (!uid.empty()) details["uid"] = uid;
  return {{"kind", "Status"},
          {"apiVersion", "v1"},
          {"metadata", json::object()},
          {"status", "Success"},
          {"details", std::move(details)}};
}

}  // namespace workflow::engine
