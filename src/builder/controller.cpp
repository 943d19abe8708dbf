#include "builder/controller.h"

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/base/slug_name.h"

namespace workflow::builder {
namespace {

using namespace std::chrono_literals;

constexpr auto quick = 15s;            // for what only reads the database
constexpr auto longest_absence = 60s;  // of a controller that is being restarted during a release
constexpr auto worked_on = 10s;        // longer than it takes to find out that nobody answers

Error error_from(int status, const std::string& text) {
  const auto body = parse_json(text);
  auto said = body ? find_string(*body, {"detail"}).value_or(text) : text;
  if (said.empty() || said.size() > 4000) said = "it answered with status " + std::to_string(status);
  if (status == 401) return Error(ErrorKind::internal, "the controller does not accept our key").with_detail(said);
  if (status == 403) return Error(ErrorKind::forbidden, said);
  if (status == 404) return Error(ErrorKind::not_found, said);
  if (status == 409) return Error(ErrorKind::conflict, said);
  if (status == 502 || status == 503 || status == 504)
    return Error(ErrorKind::unavailable, "the controller is not there now").with_detail(said);
  return Error(ErrorKind::unprocessable, said);
}

// Config values are shown as text, whatever they were set as.
AppConfig config_from(const json::value& body) {
  AppConfig config;
  const auto* values = find_path(body, {"values"});
  if (!values || !values->is_object()) return config;
  for (const auto& [name, value] : values->get_object()) {
    config.values[std::string(name)] = value.is_string() ? std::string(value.get_string()) : print_json(value);
  }
  return config;
}

}  // namespace

bool Patience::goes_on(Time attempt_began, Time now) {
  if (!until_ || now - attempt_began >= worked_on) until_ = now + limit_;
  return now < *until_;
}

Controller::Controller(Executor executor, http::Url url, Secret builder_key, std::chrono::milliseconds release_timeout)
    : client_(executor, {.user_agent = "deis-builder"}),
      url_(std::move(url)),
      builder_key_(std::move(builder_key)),
      release_timeout_(release_timeout) {}

Task<json::value> Controller::send(std::string method, std::string path, json::object body,
                                   std::chrono::milliseconds timeout, std::string key) {
  http::ClientRequest request{.method = method, .url = url_, .timeout = timeout};
  request.url.path = std::move(path);
  request.headers = {{"X-Deis-Builder-Auth", builder_key_.reveal()}, {"Content-Type", "application/json"}};
  if (!key.empty()) request.headers.set("Idempotency-Key", key);
  if (method != "GET") request.body = print_json(body);
  auto response = co_await client_.send(std::move(request));
  auto text = co_await response.text();
  if (response.status / 100 != 2) throw error_from(response.status, text);
  auto answer = parse_json(text);
  if (!answer) throw Error(ErrorKind::unavailable, "the controller's answer is not JSON");
  co_return *std::move(answer);
}

Task<std::optional<UserName>> Controller::find_user(std::string fingerprint) {
  // Keys are asked for while somebody logs in, and all that ssh could tell them is "Permission denied": a controller
  // that is being restarted is worth waiting for.
  const auto until = std::chrono::steady_clock::now() + 8s;
  for (auto pause = 50ms;; pause *= 2) {
    try {
      const auto answer = co_await send("GET", "/v2/hooks/key/" + percent_encode(fingerprint, ":"), {}, quick);
      co_return UserName::parse(find_string(answer, {"username"}).value_or(""));
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::not_found) co_return std::nullopt;
      if (error.kind() != ErrorKind::unavailable || std::chrono::steady_clock::now() + pause > until) throw;
    }
    co_await sleep_for(pause);
  }
}

Task<AppConfig> Controller::get_config(AppName app, UserName user) {
  for (bool again = false;; again = true) {
    try {
      json::object body{{"receive_user", user.text()}, {"receive_repo", app.text()}};
      co_return config_from(co_await send("POST", "/v2/hooks/config/", std::move(body), quick));
    } catch (const Error& error) {
      // A kept connection may have been closed by a controller that was restarted meanwhile; reading twice is harmless.
      if (error.kind() != ErrorKind::unavailable || again) throw;
    }
  }
}

Task<ReleaseVersion> Controller::release(NewBuild build) {
  const json::object body{{"sha", build.commit.brief()},      {"receive_user", build.user.text()},
                          {"receive_repo", build.app.text()}, {"image", build.image},
                          {"procfile", build.procfile},       {"dockerfile", ""}};
  // The deploy belongs to the controller and outlives a connection to it; the key brings us back to it.
  const auto key = random_uuid();
  Patience patience(longest_absence);
  const auto until = std::chrono::steady_clock::now() + release_timeout_;
  for (auto pause = 100ms;; pause = std::min<std::chrono::milliseconds>(pause * 2, 5s)) {
    const auto begin = std::chrono::steady_clock::now();
    try {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - begin);
      const auto answer =
          co_await send("POST", "/v2/hooks/build/", body, std::max<std::chrono::milliseconds>(left, 1s), key);
      const auto version = find_integer(answer, {"release", "version"});
      if (!version) throw Error(ErrorKind::internal, "the controller's answer names no release");
      co_return ReleaseVersion{*version};
    } catch (const Error& error) {
      const auto now = std::chrono::steady_clock::now();
      if (error.kind() != ErrorKind::unavailable || now > until || !patience.goes_on(begin, now)) throw;
      log::warn("the controller is away during a release", kv("app", build.app), kv("error", error.message()),
                kv("detail", error.detail()));
    }
    co_await sleep_for(pause);
  }
}

Task<bool> Controller::app_exists(AppName app) {
  try {
    co_await send("GET", "/v2/hooks/keys/" + app.text(), {}, quick);
    co_return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
  co_return false;
}

Task<std::set<std::string>> Controller::needed_slugs(AppName app) {
  const auto answer = co_await send("GET", "/v2/hooks/images/" + app.text() + "/", {}, quick);
  const auto* images = find_path(answer, {"images"});
  if (!images || !images->is_array()) throw Error(ErrorKind::unavailable, "the controller's answer names no images");
  std::set<std::string> keys;
  for (const auto& image : images->get_array()) {
    if (!image.is_string()) throw Error(ErrorKind::unavailable, "the controller's answer names no images");
    keys.insert(SlugName::parse(image.get_string()).key);
  }
  co_return keys;
}

}  // namespace workflow::builder
