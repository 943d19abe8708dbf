#include "controller/openapi.h"

#include <algorithm>
#include <set>

#include "lib/base/text.h"

namespace workflow::controller {
namespace {

json::object reference(const std::string& schema) { return {{"$ref", "#/components/schemas/" + schema}}; }

json::object page_of(const std::string& schema) {
  return {{"type", "object"},
          {"properties",
           {{"count", {{"type", "integer"}}},
            {"next", {{"type", {"string", "null"}}}},
            {"previous", {{"type", {"string", "null"}}}},
            {"results", {{"type", "array"}, {"items", reference(schema)}}}}},
          {"required", {"count", "next", "previous", "results"}}};
}

bool is_page(const std::string& schema) { return schema.ends_with("[]"); }

json::object content_of(const std::string& schema) {
  const json::object text{{"schema", {{"type", "string"}}}};
  if (schema == "stream") return {{"text/event-stream", text}};
  if (schema == "text") return {{"text/plain", text}, {"text/html", text}};
  return {{"application/json",
           {{"schema", is_page(schema) ? page_of(schema.substr(0, schema.size() - 2)) : reference(schema)}}}};
}

std::string_view words_for(int status) {
  switch (status) {
    case 200: return "Done";
    case 201: return "Made";
    case 204: return "Done; there is nothing to say";
    case 304: return "As the ETag of If-None-Match says";
    case 400: return "The request is wrong; by field where one is";
    case 401: return "No token, or one that is not good";
    case 403: return "The caller may not";
    case 404: return "There is no such thing";
    case 405: return "The path lacks the method";
    case 406: return "Accept excludes JSON";
    case 409: return "Nothing changed, or other work on the app is under way";
    case 412: return "It has changed since the ETag of If-Match";
    case 413: return "The body is too large";
    case 415: return "The body is not JSON";
    case 422: return "Understood, but not possible as things are";
    case 429: return "Too many attempts; Retry-After says when again";
    case 500: return "The logs cannot be read";
    case 503: return "The cluster or the database failed, or cannot be reached";
    default: return "An error";
  }
}

json::object error_answer(int status) {
  json::object content;
  if (status == 400)
    content = {{"application/json", {{"schema", {{"anyOf", {reference("FieldErrors"), reference("Detail")}}}}}}};
  else if (status == 404)
    content = {{"application/json", {{"schema", {{"anyOf", {reference("Missing"), reference("Detail")}}}}}},
               {"text/html", {{"schema", {{"type", "string"}}}}}};
  else if (status == 503 || status == 500)
    content = {{"application/json", {{"schema", reference("Detail")}}},
               {"text/plain", {{"schema", {{"type", "string"}}}}}};
  else if (status != 304)
    content = {{"application/json", {{"schema", reference("Detail")}}}};
  json::object response{{"description", words_for(status)}};
  if (!content.empty()) response["content"] = std::move(content);
  return response;
}

bool reads(const Api::Described& route) { return route.method == "GET"; }

// What a route may say besides its own: each follows from who may call it, and from what it reads.
std::set<int> errors_of(const Api::Described& route) {
  std::set<int> errors(route.about.errors.begin(), route.about.errors.end());
  const bool is_api = route.path.starts_with("/v2/");
  if (is_api) errors.insert({400, 406});
  if (route.who == Who::user || route.who == Who::admin || route.who == Who::builder) errors.insert({401, 403});
  if (route.path.find('{') != std::string::npos) errors.insert(404);
  if (!reads(route)) errors.insert({413, 415, 422});
  const bool has_json =
      std::ranges::any_of(route.about.answers, [](const auto& a) { return a.first == 200 && a.second != "stream"; });
  if (reads(route) && is_api && has_json) errors.insert(304);
  if (is_api || route.path == "/readiness") errors.insert(503);
  return errors;
}

json::object parameter(std::string_view name, std::string_view in, json::object schema, std::string_view description) {
  return {{"name", name},
          {"in", in},
          {"required", in == "path"},
          {"schema", std::move(schema)},
          {"description", description}};
}

// "/v2/keys/{id...}" is "/v2/keys/{id}" to a reader.
std::string shown_path(std::string path) { return replace_all(std::move(path), "...}", "}"); }

json::array parameters_of(const Api::Described& route) {
  json::array out;
  const auto path = shown_path(route.path);
  for (std::size_t at = 0; (at = path.find('{', at)) != std::string::npos;) {
    const auto end = path.find('}', at);
    const auto name = path.substr(at + 1, end - at - 1);
    json::object schema{{"type", "string"}, {"minLength", 1}};
    if (name == "app") schema["pattern"] = "^[a-z0-9-]+$";
    if (name == "version") schema["pattern"] = "^v[0-9]+$";
    if (name == "job" || name == "id") schema["maxLength"] = 128;
    out.push_back(parameter(name, "path", std::move(schema), name == "app" ? "Name of the app" : ""));
    at = end;
  }
  const json::object number{{"type", "integer"}, {"minimum", 0}};
  const bool pages = std::ranges::any_of(route.about.answers, [](const auto& a) { return is_page(a.second); });
  if (pages) {
    out.push_back(parameter("limit", "query", number, "How many; 0 means 100"));
    out.push_back(parameter("offset", "query", number, "How many to leave out first"));
  }
  for (const auto& name : route.about.query) {
    if (name == "dry_run")
      out.push_back(parameter(name, "query", {{"type", "boolean"}}, "Tell what would change, and change nothing"));
    else
      out.push_back(parameter(name, "query", number, ""));
  }
  if (!reads(route) && route.who != Who::builder && route.path.starts_with("/v2/")) {
    out.push_back(parameter("Idempotency-Key", "header",
                            {{"type", "string"}, {"minLength", 1}, {"maxLength", 255}, {"pattern", "^[!-~]+$"}},
                            "The request is done once, however often it is sent with this key"));
  }
  return out;
}

json::object operation_of(const Api::Described& route) {
  const auto& about = route.about;
  json::object responses;
  std::map<int, json::object> sorted;
  for (const int status : errors_of(route)) sorted[status] = error_answer(status);
  for (const auto& [status, schema] : about.answers) {
    json::object response{{"description", words_for(status)}};
    if (!schema.empty()) response["content"] = content_of(schema);
    sorted[status] = std::move(response);
  }
  for (auto& [status, response] : sorted) responses[std::to_string(status)] = std::move(response);
  json::object operation{{"operationId", about.id}, {"summary", about.summary}};
  if (route.path.starts_with("/v2/apps/{app}/")) operation["tags"] = json::array{"app"};
  if (auto parameters = parameters_of(route); !parameters.empty()) operation["parameters"] = std::move(parameters);
  if (!about.request.empty()) {
    operation["requestBody"] = {{"required", false},
                                {"content", {{"application/json", {{"schema", reference(about.request)}}}}}};
  }
  operation["responses"] = std::move(responses);
  if (route.who == Who::builder)
    operation["security"] = json::array{json::object{{"builder", json::array()}}};
  else if (route.who == Who::user || route.who == Who::admin)
    operation["security"] = json::array{json::object{{"token", json::array()}}};
  else
    operation["security"] = json::array();
  return operation;
}

}  // namespace

json::object describe_api(const std::vector<Api::Described>& routes) {
  json::object paths;
  for (const auto& route : routes) {
    auto& path = paths[shown_path(route.path)];
    if (!path.is_object()) path = json::object();
    path.get_object()[lower(route.method)] = operation_of(route);
  }
  return {
      {"openapi", "3.1.0"},
      {"info",
       {{"title", "Workflow controller"},
        {"version", "2.3"},
        {"description", "Apps, builds, releases and processes. Every path works with and without its last slash."},
        {"license", {{"name", "Apache-2.0"}, {"identifier", "Apache-2.0"}}}}},
      {"paths", std::move(paths)},
      {"components",
       {{"schemas", api_schemas()},
        {"securitySchemes",
         {{"token",
           {{"type", "apiKey"}, {"in", "header"}, {"name", "Authorization"}, {"description", "token <40 hex digits>"}}},
          {"builder", {{"type", "apiKey"}, {"in", "header"}, {"name", "X-Deis-Builder-Auth"}}}}}}}};
}

void add_description_route(Api& api) {
  // The route describes itself, too; all others are there by now.
  auto text = std::make_shared<std::string>();
  api.add("GET", "/v2/openapi.json", Who::everybody, {"describe", "This description", "", {{200, "Nothing"}}},
          [text](Call&) -> Task<http::Response> {
            auto response = http::Response::json(200, *text);
            response.headers.set("Content-Type", "application/json");
            co_return response;
          });
  *text = print_json(describe_api(api.described()));
}

}  // namespace workflow::controller
