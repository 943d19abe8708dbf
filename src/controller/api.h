// src/controller/api.h: what every endpoint shares: who calls, what was sent, how answers look.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "controller/controller.h"
#include "controller/model.h"
#include "lib/http/http.h"
#include "lib/http/metrics.h"
#include "lib/json/json.h"
#include "lib/kube/client.h"
#include "lib/s3/s3.h"
#include "lib/sql/sql.h"

namespace workflow::controller {

class Jobs;

// The parts of the running controller; handlers get it by reference.
struct Parts {
  const Settings& settings;
  sql::Db& db;
  kube::Client& kube;
  s3::Client* store;  // null: no object store is configured
  Jobs& jobs;
  Clock& clock;
};

// One authenticated request.
struct Call {
  http::Request& request;
  std::optional<User> user;
  json::object body;  // {} when there is none
  const User& caller() const { return *user; }
  std::string param(const std::string& name) const;
};
struct AppCall : Call {
  App app;
};

using CallHandler = std::function<Task<http::Response>(Call&)>;
using AppHandler = std::function<Task<http::Response>(AppCall&)>;

// everybody: no token is looked at. anyone_leniently: one that is not valid counts as none.
enum class Who { everybody, anyone_leniently, anyone, user, admin, builder };
// Who may use a route below an app: everybody with access, or its owner (and administrators).
enum class Access { use, own };

// The routing table of the API. A path is registered with and without its last slash.
class Api {
 public:
  explicit Api(Parts& parts) : parts_(parts) {}
  void add(std::string method, std::string path, Who who, CallHandler handler);
  // Access to DELETE is always the owner's.
  void add_app(std::string method, std::string path, Access access, AppHandler handler);
  // The order of checks is the original's: route, user, permission, method, body.
  http::Handler handler();
  Parts& parts() { return parts_; }
  http::RequestMetrics& metrics() { return metrics_; }

 private:
  struct Route {
    Who who;
    CallHandler handler;
  };
  void add_unread(std::string method, std::string path, Who who, CallHandler handler);  // the handler reads the body itself
  Task<http::Response> dispatch(http::Request& request);
  Parts& parts_;
  http::Router router_;
  http::RequestMetrics metrics_;
  std::vector<std::unique_ptr<Route>> routes_;
};

// --- answers
http::Response answer(int status, const json::value& body);
http::Response nothing(int status = 204);
http::Response render_error(const http::Request& request, const Error& error);
Error not_found(std::string_view model);  // "No App matches the given query."
Error forbidden();

// A page of a list (limit, offset), with links to its neighbours.
struct Page {
  std::int64_t limit = 100, offset = 0;
  static Page of(const http::Request& request);
};
http::Response page_answer(const http::Request& request, const Page& page, std::int64_t count, json::array results);

// --- access
std::optional<User> user_of_token(sql::Tx& tx, const std::string& token);
bool may_use(sql::Tx& tx, const User& user, const App& app);
bool owns(const User& user, const App& app);

// Runs work on the cluster; what fails there is the platform's failure: 503 with `prefix` and the reason.
template <typename T>
Task<T> on_platform(std::string prefix, Task<T> work) {
  try {
    if constexpr (std::is_void_v<T>) co_await std::move(work);
    else co_return co_await std::move(work);
  } catch (const Error& error) {
    throw Error(ErrorKind::unavailable, prefix + error.message()).with_detail(error.detail());
  }
}

// Each file of endpoints adds its own.
void add_account_routes(Api& api);
void add_app_routes(Api& api);
void add_key_routes(Api& api);
void add_release_routes(Api& api);
void add_pod_routes(Api& api);
void add_domain_routes(Api& api);
void add_setting_routes(Api& api);
void add_certificate_routes(Api& api);
void add_hook_routes(Api& api);

}  // namespace workflow::controller
