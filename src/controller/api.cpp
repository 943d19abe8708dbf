#include "controller/api.h"

#include <algorithm>

#include "controller/cluster/cluster.h"
#include "controller/repeats.h"
#include "controller/store.h"
#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/text.h"

namespace workflow::controller {
namespace {

constexpr std::size_t body_limit = 10u << 20;

http::Response with_platform_headers(http::Response response, const http::Request& request,
                                     const std::string& allowed) {
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

bool accepts_our_answer(const http::Request& request) {
  const auto accept = request.headers.get("Accept");
  if (accept.empty()) return true;
  const bool is_stream = request.path.ends_with("/events/stream") || request.path.ends_with("/events/stream/");
  for (const auto& part : split(accept, ',')) {
    const auto type = lower(trim(std::string_view(part).substr(0, part.find(';'))));
    if (type == "*/*" || type == "application/*" || type == "application/json" || type == "text/plain" ||
        type == "text/*") {
      return true;
    }
    if (is_stream && type == "text/event-stream") return true;
  }
  return false;
}

bool is_reading(std::string_view method) { return method == "GET" || method == "HEAD"; }

Task<json::object> body_of(http::Request& request) {
  auto text = co_await request.text(body_limit);
  if (trim(text).empty()) co_return json::object{};
  const auto header = request.headers.get("Content-Type");
  const auto type = lower(trim(std::string_view(header).substr(0, header.find(';'))));
  if (type != "application/json") throw with_status(415, "Unsupported media type \"" + header + "\" in request.");
  auto value = parse_json(text);
  if (!value) throw Error(ErrorKind::invalid, "JSON parse error - the body is not valid JSON");
  if (!value->is_object()) {
    const char* kind = value->is_array() ? "list" : value->is_string() ? "str" : value->is_bool() ? "bool" : "int";
    throw Error(Error::Fields{
        {"non_field_errors", {std::string("Invalid data. Expected a dictionary, but got ") + kind + "."}}});
  }
  co_return std::move(value->get_object());
}

// As the original's framework lists them: what the route has, then what comes with it.
std::string allow_header(std::vector<std::string> methods) {
  std::erase(methods, "HEAD");
  if (std::ranges::find(methods, "GET") != methods.end()) methods.emplace_back("HEAD");
  methods.emplace_back("OPTIONS");
  return join(methods, ", ");
}

std::optional<int> status_in(const Error& error) {
  constexpr std::string_view mark = "status ";
  if (!error.detail().starts_with(mark)) return std::nullopt;
  const auto status = parse_integer(std::string_view(error.detail()).substr(mark.size()));
  return status ? std::optional(static_cast<int>(*status)) : std::nullopt;
}

// A reader that has this very answer already is told so.
http::Response with_etag(http::Response response, const http::Request& request) {
  const auto* body = std::get_if<std::string>(&response.body);
  if (!is_reading(request.method) || response.status != 200 || body == nullptr || body->empty()) return response;
  const auto etag = etag_of(*body);
  const auto known = request.headers.get("If-None-Match");
  if (known == "*" || known.find(etag) != std::string::npos) response = nothing(304);
  response.headers.set("ETag", etag);
  return response;
}

// Beside an answer whose work is done but not served everywhere yet.
http::Response with_notice(http::Response response, const Call& call) {
  if (call.late.empty()) return response;
  auto text = "The change is stored, but not served yet: " + call.late + ". It goes on in the background";
  std::ranges::replace_if(text, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  response.headers.set("Workflow-Notice", text);
  return response;
}

bool is_query_miss(const std::string& message) {
  return message.starts_with("No ") && message.ends_with(" matches the given query.");
}

}  // namespace

cluster::Place Parts::place() const { return {kube, settings.cluster, routers}; }

std::string Call::param(const std::string& name) const {
  const auto found = request.params.find(name);
  return found == request.params.end() ? "" : found->second;
}

bool Call::dry_run() const {
  const auto word = lower(request.query.find("dry_run").value_or("false"));
  if (word == "false" || word == "0") return false;
  if (word == "true" || word == "1" || word.empty()) return true;
  throw Error(Error::Fields{{"dry_run", {"Must be a valid boolean."}}});
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
Error with_status(int status, std::string message) {
  return Error(ErrorKind::invalid, std::move(message)).with_detail("status " + std::to_string(status));
}
std::string etag_of(std::string_view body) { return "\"" + to_hex(sha256(body)).substr(0, 32) + "\""; }
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
  } else if (const auto own = status_in(error)) {
    status = *own;
  }
  if (status >= 500)
    log::warn("request failed", kv("path", request.path), kv("error", error.message()), kv("detail", error.detail()));
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
    auto url = std::string(scheme) + "://" + request.headers.get("Host") + request.raw_path +
               "?limit=" + std::to_string(page.limit);
    if (offset > 0) url += "&offset=" + std::to_string(offset);
    return json::string(url);
  };
  json::object body{{"count", count}, {"next", nullptr}, {"previous", nullptr}, {"results", std::move(results)}};
  if (count - page.offset > page.limit) body["next"] = link(page.offset + page.limit);
  if (page.offset > 0) body["previous"] = link(std::max<std::int64_t>(0, page.offset - page.limit));
  return answer(200, body);
}

Task<http::Response> list_rows(Parts& parts, Call& call, ListQueries queries, std::vector<sql::Param> params,
                               std::function<json::object(const sql::Row&)> to) {
  const auto page = Page::of(call.request);
  std::int64_t count = 0;
  auto read = [&](sql::Tx& tx) {
    count = tx.query_all(queries.count, params)[0].integer("n");
    auto sliced = params;
    sliced.emplace_back(page.limit);
    sliced.emplace_back(page.offset);
    const auto rows = tx.query_all(queries.select, sliced);
    json::array found;
    for (int i = 0; i < rows.size(); ++i) found.push_back(to(rows[i]));
    return found;
  };
  auto found = co_await parts.db.transact(read);
  co_return page_answer(call.request, page, count, std::move(found));
}

bool owns(const User& user, const App& app) { return user.is_superuser || user.id == app.owner_id; }

namespace {

// What one transaction finds out before anything else is done.
struct Identity {
  std::optional<User> user;
  TokenPower power;
  std::optional<App> app;
};

Identity identify(sql::Tx& tx, const std::optional<std::string>& token, Who who) {
  Identity found;
  if (!token) return found;
  const bool lenient = who == Who::anyone_leniently;
  auto bearer = bearer_of(tx, *token);
  if (!bearer && !lenient) throw unauthenticated("Invalid token.");
  if (bearer && !bearer->user.is_active) {
    if (!lenient) throw unauthenticated("User inactive or deleted.");
    bearer.reset();
  }
  if (bearer) found = {std::move(bearer->user), std::move(bearer->power), std::nullopt};
  return found;
}

void check_who(const Identity& found, Who who, const http::Request& request, const Secret& builder_key) {
  if (who == Who::builder) {
    // A user's token beside the right key does no harm.
    const auto key = request.headers.get("X-Deis-Builder-Auth");
    if (equal_in_constant_time(sha256(key), sha256(builder_key.reveal()))) return;
    if (found.user) throw forbidden();
    throw unauthenticated("Authentication credentials were not provided.");
  } else if (who == Who::user || who == Who::admin) {
    if (!found.user) throw unauthenticated("Authentication credentials were not provided.");
    if (who == Who::admin && !found.user->is_superuser) throw forbidden();
  }
}

void check_power(const TokenPower& power, const std::string& method, const std::string& app, bool for_any_token) {
  if (power.read_only && !is_reading(method)) throw Error(ErrorKind::forbidden, "This token may only read.");
  if (!power.apps || for_any_token) return;
  if (app.empty()) throw Error(ErrorKind::forbidden, "This token is for single apps only.");
  if (!power.covers(app)) throw Error(ErrorKind::forbidden, "This token is not for the app " + app + ".");
}

}  // namespace

void Api::add_route(std::string method, std::string path, About about, Route route) {
  route.for_any_token = about.for_any_token;
  described_.push_back({method, path, route.who, std::move(about)});
  routes_.push_back(std::make_unique<Route>(std::move(route)));
  const Route* kept = routes_.back().get();
  auto handler = [this, kept](http::Request& request) { return answer_call(*kept, request); };
  const auto bare = path.ends_with('/') && path.size() > 1 ? path.substr(0, path.size() - 1) : path;
  for (const auto& form : bare == path ? std::vector{bare} : std::vector{bare, path}) {
    router_.add(method, form, handler);
    auto& known = paths_[form];
    // Those of one path are for administrators, or for the builder, all or none.
    if (kept->who == Who::admin || kept->who == Who::builder) known.who = kept->who;
    known.methods.push_back(method);
  }
}

void Api::add(std::string method, std::string path, Who who, About about, CallHandler handler) {
  add_route(std::move(method), std::move(path), std::move(about), {.who = who, .handler = std::move(handler)});
}

void Api::add_app(std::string method, std::string path, Access access, About about, AppHandler handler) {
  if (method == "DELETE") access = Access::own;
  add_route(std::move(method), "/v2/apps/{app}" + path, std::move(about),
            {.of_app = access, .app_handler = std::move(handler)});
}

// Who asks, may he, then what: the order of checks is the original's.
Task<http::Response> Api::answer_call(const Route& route, http::Request& request) {
  Call call{.request = request};
  const auto token = route.who == Who::everybody ? std::nullopt : token_of(request, route.who == Who::anyone_leniently);
  const auto app_id = call.param("app");
  std::optional<App> app;
  if (token || route.of_app) {
    auto look_up = [&](sql::Tx& tx) {
      auto found = identify(tx, token, route.who);
      check_who(found, route.who, request, parts_.settings.builder_key);
      check_power(found.power, request.method, app_id, route.for_any_token);
      if (!route.of_app) return found;
      found.app = get_app(tx, app_id);
      if (!(*route.of_app == Access::own ? owns(*found.user, *found.app) : may_use(tx, *found.user, *found.app)))
        throw forbidden();
      return found;
    };
    auto found = co_await parts_.db.transact(look_up);
    call.user = std::move(found.user);
    call.power = std::move(found.power);
    app = std::move(found.app);
  } else {
    check_who({}, route.who, request, parts_.settings.builder_key);
  }
  if (!is_reading(request.method)) call.body = co_await body_of(request);
  if (!app) {
    auto work = [&](Call& its_call) { return route.handler(its_call); };
    auto response = co_await done_once(parts_, call, work);
    co_return with_notice(std::move(response), call);
  }
  AppCall app_call{std::move(call), *std::move(app)};
  auto work = [&](Call&) { return route.app_handler(app_call); };
  auto response = co_await done_once(parts_, app_call, work);
  co_return with_notice(std::move(response), app_call);
}

// Methods that a path lacks, and what OPTIONS tells of it.
Task<http::Response> Api::answer_without_route(http::Request& request, const http::Router::Match& match) {
  const bool is_open = !request.path.starts_with("/v2") || request.path.starts_with("/v2/auth/") ||
                       request.path.starts_with("/v2/openapi");
  const auto& method = match.allowed.empty() ? request.method : match.allowed.front();
  const auto path = paths_.find(router_.match(method, request.raw_path).pattern);
  const auto who = path == paths_.end() ? Who::everybody : path->second.who;
  const auto token = token_of(request);
  if (!token && !is_open && who != Who::builder) throw unauthenticated("Authentication credentials were not provided.");
  Identity found;
  if (token) found = co_await parts_.db.transact([&](sql::Tx& tx) { return identify(tx, token, Who::anyone); });
  check_who(found, who, request,
            parts_.settings.builder_key);  // whoever may do nothing there is not told what others may
  if (request.method != "OPTIONS") {
    co_return answer(405, json::object{{"detail", "Method \"" + request.method + "\" not allowed."}});
  }
  co_return answer(200, json::object{{"name", request.path},
                                     {"description", "GET /v2/openapi.json describes the whole API"},
                                     {"renders", {"application/json"}},
                                     {"parses", {"application/json"}},
                                     {"methods", json::array(match.allowed.begin(), match.allowed.end())}});
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
      response =
          http::Response::text(404, "<h1>Not Found</h1><p>The requested resource was not found on this server.</p>",
                               "text/html; charset=utf-8");
    } else if (is_api && !accepts_our_answer(request)) {
      response = answer(406, json::object{{"detail", "Could not satisfy the request Accept header."}});
    } else if (!match.handler) {
      response = co_await answer_without_route(request, match);
    } else {
      request.params = match.params;
      response = co_await (*match.handler)(request);
    }
  } catch (const Error& error) {
    failure = error;
  }
  if (failure) response = render_error(request, *failure);
  if (is_api) response = with_etag(std::move(response), request);
  metrics_.add(match.pattern.empty() ? "unknown" : match.pattern, request.method, response.status,
               std::chrono::steady_clock::now() - began);
  const auto path = paths_.find(match.pattern);
  const auto& allowed = path == paths_.end() ? match.allowed : path->second.methods;
  co_return with_platform_headers(std::move(response), request,
                                  is_api && !allowed.empty() ? allow_header(allowed) : "");
}

http::Handler Api::handler() {
  return [this](http::Request& request) { return dispatch(request); };
}

}  // namespace workflow::controller
