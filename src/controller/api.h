// src/controller/api.h: what every endpoint shares: who calls, what was sent, how answers look.
#pragma once
#include <functional>
#include <map>
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

class Feed;
class Jobs;
namespace cluster {
class Routers;
struct Place;
}  // namespace cluster

// A request that nobody works on any more, and of which that could not be written down.
struct Unanswered {
  std::int64_t user_id;
  std::string repeat_key;
};

// The parts of the running controller; handlers get it by reference.
struct Parts {
  const Settings& settings;
  sql::Db& db;
  kube::Client& kube;
  cluster::Routers& routers;
  s3::Client* store;  // null: no object store is configured
  Jobs& jobs;
  Clock& clock;
  Feed& feed;
  std::string holder;  // this process, to the others: the name of its connections, and of the leases it holds
  std::vector<Unanswered> unanswered{};  // to be given back, so that they are done when they are sent again
  cluster::Place place() const;
};

// One authenticated request.
struct Call {
  http::Request& request;
  std::optional<User> user;
  TokenPower power;
  json::object body;                      // {} when there is none
  std::optional<std::string> repeat_key;  // Idempotency-Key: work that is begun is recorded under it
  std::optional<std::int64_t> begun_job;  // what an earlier sending of this request began, to be waited for
  std::string late;  // why what is done is not served yet ("": it is), which is told beside the answer
  const User& caller() const { return *user; }
  std::string param(const std::string& name) const;
  bool dry_run() const;  // ?dry_run=true: tell what would change
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

// What the API promises of a route. The description that is served and printed is made of these, with the route itself.
struct About {
  std::string id, summary;
  std::string request;                 // schema of the body; "": none is read
  std::map<int, std::string> answers;  // status → schema; "X[]": a page of them; "": no body; "text": plain text
  std::vector<int> errors;             // beyond those that follow from the route
  std::vector<std::string> query;      // limit and offset come with a page by themselves
  bool for_any_token = false;          // also for tokens that are limited to some apps
};

// The routing table of the API. A path is registered with and without its last slash.
class Api {
 public:
  explicit Api(Parts& parts) : parts_(parts) {}
  struct Described {
    std::string method, path;
    Who who;
    About about;
  };
  void add(std::string method, std::string path, Who who, About about, CallHandler handler);
  // Access to DELETE is always the owner's.
  void add_app(std::string method, std::string path, Access access, About about, AppHandler handler);
  const std::vector<Described>& described() const { return described_; }
  // The order of checks is the original's: route, user, permission, method, body.
  http::Handler handler();
  Parts& parts() { return parts_; }
  http::RequestMetrics& metrics() { return metrics_; }

 private:
  struct Route {
    Who who = Who::user;
    std::optional<Access> of_app;
    bool for_any_token = false;
    CallHandler handler;     // the one or
    AppHandler app_handler;  // the other
  };
  void add_route(std::string method, std::string path, About about, Route route);
  Task<http::Response> answer_call(const Route& route, http::Request& request);
  Task<http::Response> answer_without_route(http::Request& request, const http::Router::Match& match);
  Task<http::Response> dispatch(http::Request& request);
  Parts& parts_;
  std::vector<Described> described_;
  struct Path {
    std::vector<std::string> methods;
    Who who = Who::everybody;  // may use all of them
  };
  std::map<std::string, Path, std::less<>> paths_;  // by pattern
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
Error with_status(int status, std::string message);  // for what no ErrorKind stands for: 412, 415, 429
std::string etag_of(std::string_view body);

// A page of a list (limit, offset), with links to its neighbours.
struct Page {
  std::int64_t limit = 100, offset = 0;
  static Page of(const http::Request& request);
};
http::Response page_answer(const http::Request& request, const Page& page, std::int64_t count, json::array results);

// A page of rows. The last two parameters of `select` are limit and offset; those before are `count`'s, too.
struct ListQueries {
  const sql::Query& count;
  const sql::Query& select;
};
Task<http::Response> list_rows(Parts& parts, Call& call, ListQueries queries, std::vector<sql::Param> params,
                               std::function<json::object(const sql::Row&)> to);

// --- access
bool may_use(sql::Tx& tx, const User& user, const App& app);
bool owns(const User& user, const App& app);

// Runs work on the cluster; what fails there is the platform's failure: 503 with `prefix` and the reason.
template <typename T>
Task<T> on_platform(std::string prefix, Task<T> work) {
  try {
    if constexpr (std::is_void_v<T>)
      co_await std::move(work);
    else
      co_return co_await std::move(work);
  } catch (const Error& error) {
    throw Error(ErrorKind::unavailable, prefix + error.message()).with_detail(error.detail());
  }
}

// Each file of endpoints adds its own.
void add_account_routes(Api& api);
void add_app_routes(Api& api);
void add_log_routes(Api& api);
void add_key_routes(Api& api);
void add_release_routes(Api& api);
void add_pod_routes(Api& api);
void add_domain_routes(Api& api);
void add_setting_routes(Api& api);
void add_certificate_routes(Api& api);
void add_hook_routes(Api& api);
void add_token_routes(Api& api);
void add_event_routes(Api& api);
void add_description_route(Api& api);  // last: it describes the others

}  // namespace workflow::controller
