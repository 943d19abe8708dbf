#include "cli/controller.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <exception>

#include "cli/server_error.h"
#include "lib/base/encoding.h"
#include "lib/base/error.h"
#include "lib/base/text.h"
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

struct Controller::State {
  asio::io_context io{1};
  http::Client client;
  explicit State(bool verify)
      : client(io.get_executor(), {.tls = {.verify = verify},
                                   .max_idle_per_host = 1,
                                   .user_agent = "Workflow Client " + std::string(client_version)}) {}

  // Runs one exchange to its end on this thread.
  Reply run(http::ClientRequest request) {
    std::exception_ptr failure;
    Reply reply;
    auto task = [](http::Client& client, http::ClientRequest sent, Reply& out) -> Task<> {
      auto response = co_await client.send(std::move(sent));
      out.status = response.status;
      out.api_version = response.headers.get("DEIS_API_VERSION");
      if (is_redirect(response.status))
        out.body = response.headers.get("Location");
      else
        out.body = co_await response.text(64u << 20, std::chrono::hours(24));
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
    : access_(std::move(access)), warn_(std::move(warn)), state_(std::make_unique<State>(access_.verify)) {}
Controller::~Controller() = default;

Reply Controller::exchange(std::string_view method, std::string url, std::string body, bool authorized) {
  auto target = http::Url::parse(url);
  if (!target) throw Error(ErrorKind::invalid, "\"" + url + "\" is no URL; log in again");
  const auto origin = target->authority();
  http::ClientRequest request;
  request.method = std::string(method);
  request.url = *target;
  request.body = std::move(body);
  request.timeout = std::chrono::milliseconds(0);
  request.headers.set("Accept", "application/json");
  if (authorized) {
    request.headers.set("Content-Type", "application/json");
    if (!access_.token.empty()) request.headers.set("Authorization", "token " + access_.token);
  }
  for (int hop = 0; hop < most_redirects; ++hop) {
    auto reply = state_->run(request);
    if (!is_redirect(reply.status) || reply.body.empty()) return reply;
    request.url = redirect_target(request.url, reply.body);
    if (reply.status < 307 && request.method != "GET") {  // RFC 9110, section 15.4: 301 to 303 turn it into a GET
      request.method = "GET";
      request.body = std::string();
    }
    if (request.url.authority() != origin) request.headers.remove("Authorization");  // the token is for one host only
  }
  throw Error(ErrorKind::unavailable, url + " redirects more than " + std::to_string(most_redirects) + " times");
}

Reply Controller::send(std::string_view method, std::string_view path, std::string body) {
  const auto host_at = access_.url.find("://");
  if (host_at == std::string::npos) throw Error(ErrorKind::invalid, "host \"\": empty host; log in again");
  const auto origin = access_.url.substr(0, access_.url.find('/', host_at + 3));
  auto reply = exchange(method, origin + std::string(path), std::move(body), true);
  if (!warned_) {
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
  return exchange("GET", base + std::string(suffix), "", false);
}

json::value Controller::call(std::string_view method, std::string_view path, const std::optional<json::value>& body) {
  const auto reply = send(method, path, body ? print_json(*body) : "");
  if (reply.status >= 400) throw Error(ErrorKind::invalid, message_of(reply.status, reply.body));
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
