// src/builder/controller.h: the controller's hooks (spec/controller-api.md, section 2.17).
//   Throws  Error: forbidden, not_found, unavailable, timeout; unprocessable with the controller's own words for the
//   rest.
#pragma once
#include <chrono>
#include <optional>
#include <set>
#include <string>

#include "builder/build_pod.h"
#include "builder/refs.h"
#include "lib/http/http.h"

namespace workflow::builder {

struct NewBuild {
  AppName app;
  UserName user;
  ObjectId commit;
  std::string image;
  json::object procfile;
};

// How long a controller that is away is waited for.
class Patience {
 public:
  using Time = std::chrono::steady_clock::time_point;
  explicit Patience(std::chrono::milliseconds limit) : limit_(limit) {}
  // Whether to ask again after an attempt that failed. One that it worked on for a while shows that it was there until
  // then: a controller that goes away a second time is waited for as long as the first time.
  bool goes_on(Time attempt_began, Time now);

 private:
  std::chrono::milliseconds limit_;
  std::optional<Time> until_;
};

class Controller {
 public:
  Controller(Executor executor, http::Url url, Secret builder_key, std::chrono::milliseconds release_timeout);
  // Whose key this is; nullopt when nobody's. While the controller is away, it is asked again for some seconds.
  Task<std::optional<UserName>> find_user(std::string fingerprint);
  // Whether the user may push to the app is decided here: forbidden and not_found are the refusals.
  Task<AppConfig> get_config(AppName app, UserName user);
  // Returns when the release serves. A controller that goes away meanwhile is asked again for a minute, each time.
  Task<ReleaseVersion> release(NewBuild build);
  Task<bool> app_exists(AppName app);
  // Keys of the slugs that releases of the app run, or may run again. Throws not_found without the app.
  Task<std::set<std::string>> needed_slugs(AppName app);

 private:
  Task<json::value> send(std::string method, std::string path, json::object body, std::chrono::milliseconds timeout,
                         std::string key = "");

  http::Client client_;
  http::Url url_;
  Secret builder_key_;
  std::chrono::milliseconds release_timeout_;
};

}  // namespace workflow::builder
