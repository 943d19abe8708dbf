#include "controller/api.h"

#include <algorithm>

#include "controller/store.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr std::size_t body_limit = 10u << 20;

http::Response with_platform_headers(http::Response response, const http::Request& request, const std::string& allowed) {
  response.headers.set("DEIS_API_VERSION", "2.3");
  response.headers.set("DEIS_PLATFORM_VERSION", "2.3.0");
  response.headers.set("X-Frame-Options", "DENY");
  response.headers.set("X-Content-Type-Options", "nosniff");
  response.headers.set("X-XSS-Protection", "1; mode=block");
  if (!allowed.empty() && !response.headers.find("Allow")) response.headers.set("Allow", allowed);
  if (request.headers.find("Origin")) {
    response.headers.set("Access-Control-Allow-Origin", "*");
    response.headers.set("Access-Control-Expose-Headers", "DEIS_API_VERSION, DEIS_PLATFORM_VERSION");
  }
  return response;
}

http::Response preflight() {
  auto response = nothing(200);
  response.headers.set("Access-Control-Allow-Origin", "*");
  response.headers.set("Access-Control-Allow-Headers", "content-type, accept, origin, Authorization, Host");
  response.headers.set("Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE, OPTIONS");
  response.headers.set("Access-Control-Max-Age", "86400");
  response.headers.set("Access-Control-Expose-Headers", "DEIS_API_VERSION, DEIS_PLATFORM_VERSION");
  return response;
}

Error unauthenticated(std::string message) { return Error(ErrorKind::unauthenticated, std::move(message)); }

// The token of the Authorization header; nullopt when it names none. Throws for a malformed one.
std::optional<std::string> token_of(const http::Request& request, bool lenient = false) {
  const auto header = request.headers.get("Authorization");
  const auto words = split(std::string(trim(header)), ' ');
  if (words.empty() || !equal_ignoring_case(words[0], "token")) return std::nullopt;
  if (lenient && words.size() != 2) return std::nullopt;
  if (words.size() == 1) throw unauthenticated("Invalid token header. No credentials provided.");
  if (words.size() > 2) throw unauthenticated("Invalid token header. Token string should not contain spaces.");
  return words[1];
}

bool accepts_json(const http::Request& request) {
  const auto accept = request.headers.get("Accept");
  if (accept.empty()) return true;
  for (const auto& part : split(accept, ',')) {
    const auto type = lower(trim(std::string_view(part).substr(0, part.find(';'))));
    if (type == "*/*" || type == "application/*" || type == "application/json" || type == "text/plain" || type == "text/*") {
      return true;
    }
  }
  return false;
}

Task<json::object> body_of(http::Request& request) {
  auto text = co_await request.text(body_limit);
  if (trim(text).empty()) co_return json::object{};
  const auto header = request.headers.get("Content-Type");
  const auto type = lower(trim(std::string_view(header).substr(0, header.find(';'))));
  if (type != "application/json") {
    throw Error(ErrorKind::invalid, "unsupported media type").with_detail("415 " + header);
  }
  auto value = parse_json(text);
  if (!value) throw Error(ErrorKind::invalid, "JSON parse error - the body is not valid JSON");
  if (!value->is_object()) {
    const char* kind = value->is_array() ? "list" : value->is_string() ? "str" : value->is_bool() ? "bool" : "int";
    throw Error(Error::Fields{{"non_field_errors", {std::string("Invalid data. Expected a dictionary, but got ") + kind + "."}}});
  }
  co_return std::move(value->get_object());
}

std::string allow_header(std::vector<std::string> methods) {
  std::ranges::sort(methods);
  return join(methods, ", ");
}

bool is_query_miss(const std::string& message) {
  return message.starts_with("No ") && message.ends_with(" matches the given query.");
}

}  // namespace

std::string Call::param(const std::string& name) const {
  const auto found = request.params.find(name);
  return found == request.params.end() ? "" : found->second;
}

http::Response answer(int status, const json::value& body) {
  auto response = http::Response::json(status, print_json(body));
  response.headers.set("Content-Type", "application/json");
  return response;
}

http::Response nothing(int status) { return http::Response::empty(status); }

Error not_found(std::string_view model) {
  return Error(ErrorKind::not_found, "No " + std::string(model) + " matches the given query.");
}
Error forbidden() { return Error(ErrorKind::forbidden, "You do not have permission to perform this action."); }

http::Response render_error(const http::Request& request, const Error& error) {
  json::value body = json::object{{"detail", error.message()}};
  int status = http::status_of(error.kind());
  if (!error.fields().empty()) {
    json::object fields;
    for (const auto& [name, problems] : error.fields()) fields[name] = json::array(problems.begin(), problems.end());
    body = std::move(fields);
  } else if (error.kind() == ErrorKind::not_found && is_query_miss(error.message())) {
    body = json::string(error.message());
  } else if (error.kind() == ErrorKind::timeout) {
    status = 503;
  } else if (error.kind() == ErrorKind::internal) {
    body = json::object{{"detail", "Server Error"}};
  } else if (error.detail().starts_with("415 ")) {
    status = 415;
    body = json::object{{"detail", "Unsupported media type \"" + error.detail().substr(4) + "\" in request."}};
  }
  if (status >= 500) log::warn("request failed", kv("path", request.path), kv("error", error.message()), kv("detail", error.detail()));
  auto response = answer(status, body);
  if (status == 401) response.headers.set("WWW-Authenticate", "Token");
  return response;
}

Page Page::of(const http::Request& request) {
  Page page;
  const auto limit = parse_integer(request.query.find("limit").value_or(""));
  const auto offset = parse_integer(request.query.find("offset").value_or(""));
  if (limit && *limit > 0) page.limit = *limit;
  if (offset && *offset > 0) page.offset = *offset;
  return page;
}

http::Response page_answer(const http::Request& request, const Page& page, std::int64_t count, json::array results) {
  auto link = [&](std::int64_t offset) -> json::value {
    const auto scheme = equal_ignoring_case(request.headers.get("X-Forwarded-Proto"), "https") ? "https" : "http";
    auto url = std::string(scheme) + "://" + request.headers.get("Host") + request.raw_path + "?limit=" + std::to_string(page.limit);
    if (offset > 0) url += "&offset=" + std::to_string(offset);
    return json::string(url);
  };
  json::object body{{"count", count}, {"next", nullptr}, {"previous", nullptr}, {"results", std::move(results)}};
  if (count - page.offset > page.limit) body["next"] = link(page.offset + page.limit);
  if (page.offset > 0) body["previous"] = link(std::max<std::int64_t>(0, page.offset - page.limit));
  return answer(200, body);
}

bool owns(const User& user, const App& app) { return user.is_superuser || user.id == app.owner_id; }

void Api::add_unread(std::string method, std::string path, Who who, CallHandler handler) {
  routes_.push_back(std::make_unique<Route>(Route{who, std::move(handler)}));
  Route* route = routes_.back().get();
  auto http_handler = [this, route](http::Request& request) -> Task<http::Response> {
    Call call{request, std::nullopt, {}};
    const bool lenient = route->who == Who::anyone_leniently;
    if (auto token = route->who == Who::everybody ? std::nullopt : token_of(request, lenient)) {
      auto look_up = [token = *token](sql::Tx& tx) { return user_of_token(tx, token); };
      call.user = co_await parts_.db.transact(std::move(look_up));
      if (!call.user && !lenient) throw unauthenticated("Invalid token.");
      if (call.user && !call.user->is_active) {
        if (!lenient) throw unauthenticated("User inactive or deleted.");
        call.user.reset();
      }
    }
    if (route->who == Who::builder) {
      if (call.user) throw forbidden();
      const auto key = request.headers.get("X-Deis-Builder-Auth");
      if (!equal_in_constant_time(sha256(key), sha256(parts_.settings.builder_key.reveal()))) {
        throw unauthenticated("Authentication credentials were not provided.");
      }
    } else if (route->who == Who::user || route->who == Who::admin) {
      if (!call.user) throw unauthenticated("Authentication credentials were not provided.");
      if (route->who == Who::admin && !call.user->is_superuser) throw forbidden();
    }
    co_return co_await route->handler(call);
  };
  const auto bare = path.ends_with('/') && path.size() > 1 ? path.substr(0, path.size() - 1) : path;
  router_.add(method, bare, http_handler);
  if (bare != path) router_.add(method, path, http_handler);
}

void Api::add(std::string method, std::string path, Who who, CallHandler handler) {
  auto with_body = [handler = std::move(handler)](Call& call) -> Task<http::Response> {
    call.body = co_await body_of(call.request);
    co_return co_await handler(call);
  };
  add_unread(std::move(method), std::move(path), who, std::move(with_body));
}

void Api::add_app(std::string method, std::string path, Access access, AppHandler handler) {
  if (method == "DELETE") access = Access::own;
  auto with_app = [this, access, handler = std::move(handler)](Call& call) -> Task<http::Response> {
    auto look_up = [id = call.param("app"), user = call.caller(), access](sql::Tx& tx) {
      auto app = get_app(tx, id);
      if (!(access == Access::own ? owns(user, app) : may_use(tx, user, app))) throw forbidden();
      return app;
    };
    auto app = co_await parts_.db.transact(std::move(look_up));
    AppCall app_call{{call.request, call.user, co_await body_of(call.request)}, std::move(app)};
    co_return co_await handler(app_call);
  };
  add_unread(std::move(method), "/v2/apps/{app}" + path, Who::user, std::move(with_app));
}

Task<http::Response> Api::dispatch(http::Request& request) {
  if (request.method == "OPTIONS" && request.headers.find("Access-Control-Request-Method")) co_return preflight();
  const auto began = std::chrono::steady_clock::now();
  const auto match = router_.match(request.method, request.raw_path);
  const bool is_api = request.path.starts_with("/v2/");
  http::Response response;
  std::optional<Error> failure;
  try {
    if (!match.handler && match.allowed.empty()) {
      response = http::Response::text(404, "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>",
                                      "text/html; charset=utf-8");
    } else if (is_api && !accepts_json(request)) {
      response = answer(406, json::object{{"detail", "Could not satisfy the request Accept header."}});
    } else if (!match.handler) {
      const auto token = token_of(request);
      if (!token && is_api && !request.path.starts_with("/v2/auth/")) throw unauthenticated("Authentication credentials were not provided.");
      response = answer(405, json::object{{"detail", "Method \"" + request.method + "\" not allowed."}});
    } else {
      request.params = match.params;
      response = co_await (*match.handler)(request);
    }
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) response = render_error(request, *failure);
  metrics_.add(match.pattern.empty() ? "unknown" : match.pattern, request.method, response.status,
               std::chrono::steady_clock::now() - began);
  co_return with_platform_headers(std::move(response), request, allow_header(match.allowed));
}

http::Handler Api::handler() {
  return [this](http::Request& request) { return dispatch(request); };
}

}  // namespace workflow::controller
