#include "cli/controller.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>

#include "cli/server_error.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
#include "lib/base/utf8.h"
#include "lib/http/http.h"

namespace workflow::cli {
namespace {

struct ApiVersion {
  std::int64_t major = 0, minor = 0;
};

std::optional<ApiVersion> parse_version(std::string_view text) {
  const auto parts = split(text, '.');
  if (parts.size() != 2) return std::nullopt;
  const auto major = parse_integer(parts[0]);
  const auto minor = parse_integer(parts[1]);
  if (!major || !minor) return std::nullopt;
  return ApiVersion{*major, *minor};
}

constexpr int most_redirects = 10;

http::Url parse_url(const std::string& text) {
  auto url = http::Url::parse(text);
  if (!url) throw Error(ErrorKind::invalid, "\"" + text + "\" is no URL; log in again");
  return std::move(*url);
}

bool is_redirect(int status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

// The absolute URL that a Location header means, seen from `from`.
http::Url redirect_target(const http::Url& from, const std::string& location) {
  if (location.starts_with('/') && !location.starts_with("//")) {
    auto to = from;
    const auto mark = location.find('?');
    to.path = location.substr(0, mark);
    to.query = mark == std::string::npos ? "" : location.substr(mark + 1);
    return to;
  }
  const auto to = http::Url::parse(location);
  if (!to)
    throw Error(ErrorKind::unavailable, from.authority() + " redirects to \"" + location + "\", which is no URL");
  return *to;
}

}  // namespace

std::optional<std::string> version_warning(std::string_view server) {
  const auto ours = *parse_version(api_version);
  const auto theirs = parse_version(server);
  if (theirs && theirs->major == ours.major && theirs->minor >= ours.minor) return std::nullopt;
  return "!    WARNING: Client and server API versions do not match. Please consider upgrading.\n"
         "!    Client version: " +
         std::string(api_version) +
         "\n"
         "!    Server version: " +
         std::string(server) + "\n";
}

// What may stand in a segment of a path stays (RFC 3986, section 3.3); "*" does not, for servers that are picky about
// it.
std::string escaped(std::string_view segment) { return percent_encode(segment, "$&+,:;=@"); }

std::string app_path(std::string_view app, std::string_view rest) {
  return "/v2/apps/" + escaped(app) + "/" + std::string(rest);
}

bool is_of_controller(const Reply& reply) {
  if (!reply.api_version.empty() || starts_with_ignoring_case(reply.content_type, "application/json")) return true;
  return reply.status < 400 && reply.body.empty();
}

std::string problem_of(const Reply& reply, std::string_view url) {
  return is_of_controller(reply) ? message_of(reply.status, reply.body) : message_of_stranger(reply.status, url);
}

Redirect judge_redirect(const http::Url& from, const http::Url& to) {
  if (from.scheme == "https" && to.scheme != "https") return Redirect::refused;
  const bool same_port = from.port == to.port || (from.scheme == "http" && to.scheme == "https");
  return from.host == to.host && same_port ? Redirect::same_host : Redirect::other_host;
}

struct Controller::State {
  asio::io_context io{1};
  http::Client client;
  // A connection for each request: one that is used again may be closed by the server just then, and a request that
  // must not be done twice cannot be sent again.
  explicit State(const Access& access)
      : client(io.get_executor(), {.tls = {.verify = access.verify},
                                   .max_idle_per_host = 0,
                                   .user_agent = "Hephy Client " + std::string(client_version)}) {}

  // Runs one exchange to its end on this thread.
  Reply run(http::ClientRequest request) {
    std::exception_ptr failure;
    Reply reply;
    auto task = [](http::Client& client, http::ClientRequest sent, Reply& out) -> Task<> {
      auto response = co_await client.send(std::move(sent));
      out.status = response.status;
      out.api_version = response.headers.get("DEIS_API_VERSION");
      out.content_type = response.headers.get("Content-Type");
      out.notice = response.headers.get("Workflow-Notice");
      if (is_redirect(response.status)) out.location = response.headers.get("Location");
      if (out.location.empty()) out.body = co_await response.text(64u << 20, std::chrono::hours(24));
    };
    asio::co_spawn(io, task(client, std::move(request), reply), [&](std::exception_ptr error) {
      failure = error;
      io.stop();
    });
    io.restart();
    io.run();
    if (failure) std::rethrow_exception(failure);
    return reply;
  }
};

Controller::Controller(Access access, std::function<void(std::string)> warn)
    : access_(std::move(access)), warn_(std::move(warn)), state_(std::make_unique<State>(access_)) {}
Controller::~Controller() = default;

Reply Controller::exchange(http::ClientRequest request, Authorization authorization) {
  const auto url = request.url.text();
  request.timeout = std::chrono::milliseconds(0);
  request.headers.set("Accept", "application/json");
  request.headers.set("Connection", "close");
  if (authorization == Authorization::token) {
    request.headers.set("Content-Type", "application/json");
    if (!access_.token.empty()) request.headers.set("Authorization", "token " + access_.token);
  }
  for (int hop = 0; hop < most_redirects; ++hop) {
    const auto proxy = proxy_for(access_.proxies, request.url);
    request.proxy = proxy ? std::optional(parse_proxy(*proxy)) : std::nullopt;
    auto reply = state_->run(request);
    if (reply.location.empty()) return reply;
    const auto from = request.url;
    request.url = redirect_target(from, reply.location);
    const auto verdict = judge_redirect(from, request.url);
    if (verdict == Redirect::refused) {
      throw Error(ErrorKind::unavailable,
                  from.authority() + " redirects from https to " + request.url.text() +
                      ", where everybody on the way could read your token and settings: not followed");
    }
    if (verdict == Redirect::other_host) request.headers.remove("Authorization");  // the token is for one host only
    if (reply.status < 307 && request.method != "GET") {  // RFC 9110, section 15.4: 301 to 303 turn it into a GET
      request.method = "GET";
      request.body = std::string();
    }
  }
  throw Error(ErrorKind::unavailable, url + " redirects more than " + std::to_string(most_redirects) + " times");
}

Reply Controller::send(std::string_view method, std::string_view path, std::string body) {
  const auto host_at = access_.url.find("://");
  if (host_at == std::string::npos) throw Error(ErrorKind::invalid, "host \"\": empty host; log in again");
  const auto origin = access_.url.substr(0, access_.url.find('/', host_at + 3));
  http::ClientRequest request{
      .method = std::string(method), .url = parse_url(origin + std::string(path)), .body = std::move(body)};
  auto reply = exchange(std::move(request), Authorization::token);
  if (!reply.notice.empty()) warn_("!    " + printable(reply.notice) + "\n");
  if (!warned_ && is_of_controller(reply)) {
    if (auto warning = version_warning(reply.api_version)) {
      warned_ = true;
      warn_(std::move(*warning));
    }
  }
  return reply;
}

Reply Controller::probe(std::string_view suffix) {
  auto base = access_.url;
  while (base.ends_with('/')) base.pop_back();
  return exchange({.url = parse_url(base + std::string(suffix))}, Authorization::none);
}

json::value Controller::call(std::string_view method, std::string_view path, const std::optional<json::value>& body) {
  const auto reply = send(method, path, body ? print_json(*body) : "");
  if (reply.status >= 400) throw Error(ErrorKind::invalid, problem_of(reply, access_.url));
  if (reply.body.empty()) return nullptr;
  auto value = parse_json(reply.body);
  if (!value) {
    throw Error(ErrorKind::unavailable,
                access_.url + " answered something that is not JSON; is this the address of a controller?");
  }
  return std::move(*value);
}

json::value Controller::get(std::string_view path) { return call("GET", path, std::nullopt); }
json::value Controller::post(std::string_view path, const std::optional<json::value>& body) {
  return call("POST", path, body);
}
json::value Controller::remove(std::string_view path, const std::optional<json::value>& body) {
  return call("DELETE", path, body);
}

Page Controller::page(std::string_view path, std::int64_t limit) {
  const auto body = get(std::string(path) + "?limit=" + std::to_string(limit));
  Page page;
  if (const auto* results = find_path(body, {"results"}); results && results->is_array())
    page.results = results->get_array();
  page.count = find_integer(body, {"count"}).value_or(static_cast<std::int64_t>(page.results.size()));
  return page;
}

}  // namespace workflow::cli
