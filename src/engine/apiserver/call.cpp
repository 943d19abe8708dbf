// Reading a request's options and body, and writing its answer.
#include <algorithm>

#include "engine/apiserver/api_error.h"
#include "engine/apiserver/context.h"
#include "engine/apiserver/decode.h"
#include "engine/apiserver/printers.h"
#include "engine/apiserver/protobuf_body.h"
#include "engine/fields.h"
#include "engine/object_bytes.h"
#include "engine/turns.h"
#include "lib/base/text.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {

namespace {

std::string media_type(std::string_view header) { return lower(trim(header.substr(0, header.find(';')))); }

}  // namespace

bool Call::flag(std::string_view name) const {
  const auto value = option(name);
  if (value.empty() || value == "false" || value == "0") return false;
  if (value == "true" || value == "1") return true;
  throw bad_request("the query parameter " + std::string(name) + " must be true or false, not \"" + value + "\"");
}

Persist Call::persist() const {
  const auto value = option("dryRun");
  if (value.empty()) return Persist::yes;
  if (value == "All") return Persist::dry_run;
  throw bad_request("dryRun: Unsupported value: \"" + value + "\": supported values: \"All\"");
}

std::string Call::manager() const {
  auto name = option("fieldManager");
  if (!name.empty()) return name.substr(0, 128);
  name = request.headers.get("User-Agent");
  name = name.substr(0, std::min(name.find('/'), name.find(' '))).substr(0, 128);
  return name.empty() ? "unknown" : name;
}

Negotiated negotiate(std::string_view accept) {
  if (trim(accept).empty()) return {};
  for (const auto& choice : split(accept, ',')) {
    const auto parts = split(choice, ';');
    if (parts.empty()) continue;
    const auto type = lower(trim(parts[0]));
    Negotiated result;
    std::string as, group, version;
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const auto part = trim(parts[i]);
      if (part.starts_with("as=")) as = part.substr(3);
      if (part.starts_with("g=")) group = part.substr(2);
      if (part.starts_with("v=")) version = part.substr(2);
    }
    result.yaml = type == "application/yaml";
    if (type != "application/json" && type != "*/*" && type != "application/*" && !result.yaml) continue;
    if (!as.empty()) {
      if (group != "meta.k8s.io" || (version != "v1" && version != "v1beta1")) continue;
      result.meta_version = version;
      if (as == "Table") {
        result.form = Form::table;
      } else if (as == "PartialObjectMetadata" || as == "PartialObjectMetadataList") {
        result.form = Form::metadata;
      } else {
        continue;
      }
    }
    return result;
  }
  throw ApiError(406, "NotAcceptable",
                 "only the following media types are accepted: application/json, application/yaml");
}

http::Response json_response(int status, const json::object& body) {
  return http::Response::json(status, json::serialize(body));
}

json::object served(const ResourceType& type, const json::object& stored) {
  return type.to_served == nullptr ? stored : type.to_served(stored);
}

std::string served_text(const ResourceType& type, const Negotiated& form, const json::object& stored) {
  if (form.form == Form::metadata) return json::serialize(metadata_of(served(type, stored), form.meta_version));
  return type.to_served == nullptr ? json::serialize(stored) : json::serialize(type.to_served(stored));
}

Task<http::Response> object_response(const Call& call, int status, ObjectPtr object) {
  const auto form = negotiate(call.request.headers.get("Accept"));
  const auto options = table_options(call, form.meta_version);
  const auto& type = *call.type;
  auto written = [&] {
    if (form.form == Form::object && !form.yaml && type.to_served == nullptr) return json_response(status, *object);
    const auto shown = served(type, *object);
    if (form.form == Form::table) return json_response(status, table_of(type, shown, options));
    const auto body = form.form == Form::metadata ? metadata_of(shown, form.meta_version) : shown;
    if (form.yaml) return http::Response::text(status, kube::print_yaml(body), "application/yaml");
    return json_response(status, body);
  };
  co_return co_await worked_on(bytes_of(*object), written);
}

namespace {

// What is wrong with the fields of a body, each as the answer names it. As fieldValidation says, it is refused (all of
// it in one answer), warned about or ignored.
void report(Call& call, const std::vector<std::string>& faults) {
  if (faults.empty()) return;
  const auto mode = call.option("fieldValidation");
  if (mode == "Strict") throw bad_request("strict decoding error: " + join(faults, ", "));
  if (!mode.empty() && mode != "Warn" && mode != "Ignore") {
    throw bad_request("fieldValidation: Unsupported value: \"" + mode +
                      "\": supported values: \"Ignore\", \"Strict\", \"Warn\"");
  }
  if (mode != "Ignore") call.warnings.insert(call.warnings.end(), faults.begin(), faults.end());
}

void note(std::vector<std::string>& faults, std::string_view what, const std::vector<std::string>& fields) {
  for (const auto& field : fields) faults.push_back(std::string(what) + " field \"" + field + "\"");
}

// A body as JSON, whatever it came as.
json::object object_from(const Call& call, const TypeSchema& type, const std::string& text,
                         std::vector<std::string>& faults) {
  const auto media = media_type(call.request.headers.get("Content-Type"));
  if (media == "application/vnd.kubernetes.protobuf") return object_from_protobuf(type, text);
  std::optional<json::value> value;
  if (media == "application/yaml") {
    value = kube::parse_yaml(text);
  } else if (media.empty() || media == "application/json" || media == "application/x-www-form-urlencoded" ||
             media == "text/plain") {
    value = parse_json(text);
    if (!value) throw bad_request("the request body is not valid JSON");
    note(faults, "duplicate", duplicate_fields(text));
  } else {
    throw unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf");
  }
  if (!value->is_object()) throw bad_request("the request body must be a JSON object");
  return std::move(value->get_object());
}

json::object checked(Call& call, const TypeSchema& type, const json::object& body, std::vector<std::string> faults) {
  std::vector<std::string> unknown;
  auto result = checked_against(type, body, unknown);
  note(faults, "unknown", unknown);
  report(call, faults);
  return result;
}

}  // namespace

Task<std::optional<json::object>> read_object(Call& call, const TypeSchema& type) {
  const auto text = co_await call.request.text(body_limit);
  if (text.empty()) co_return std::nullopt;
  auto read = [&] {
    std::vector<std::string> faults;
    auto object = object_from(call, type, text, faults);
    return checked(call, type, object, std::move(faults));
  };
  co_return co_await worked_on(text.size(), read);
}

json::object checked_body(Call& call, const TypeSchema& type, const json::object& body) {
  return checked(call, type, body, {});
}

}  // namespace workflow::engine
