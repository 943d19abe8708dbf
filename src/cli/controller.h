// src/cli/controller.h: calls to the controller.
//   Calls block: a command does one thing after another, and Ctrl-C ends the process at once while the server carries
//   on with what it was asked. So they have no deadline of ours either: a deploy takes as long as it takes. Throws
//   Error with the words of server_error.h, or `unavailable` when nobody answers.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/proxy.h"
#include "lib/json/json.h"

namespace workflow::cli {

inline constexpr std::string_view client_version = "v" WF_VERSION;
inline constexpr std::string_view api_version = "2.3";

// The two lines that follow "!    WARNING: …" when the server speaks another API; nullopt when all is well.
std::optional<std::string> version_warning(std::string_view server);

// "/v2/apps/" + app + "/" + rest, with app escaped.
std::string app_path(std::string_view app, std::string_view rest = "");
std::string escaped(std::string_view segment);

struct Page {
  json::array results;
  std::int64_t count = 0;
};

struct Reply {
  int status = 0;
  std::string api_version;  // of the server
  std::string content_type;
  std::string location;  // of a redirect
  std::string notice;    // that a change is not served yet
  std::string body;
};
// False for what a proxy, a router or another server says in place of the controller.
bool is_of_controller(const Reply& reply);
// What is wrong, for an answer with status 400 and above: the controller's words, or who answered in its place.
std::string problem_of(const Reply& reply, std::string_view url);

// What a request that is redirected from one URL to another may take along.
enum class Redirect { same_host, other_host, refused };
Redirect judge_redirect(const http::Url& from, const http::Url& to);

class Controller {
 public:
  struct Access {
    std::string url;
    std::string token = {};  // "" none
    bool verify = true;
    Proxies proxies = {};
  };
  Controller(Access access, std::function<void(std::string)> warn);
  ~Controller();

  json::value get(std::string_view path);
  json::value post(std::string_view path, const std::optional<json::value>& body = std::nullopt);
  json::value remove(std::string_view path, const std::optional<json::value>& body = std::nullopt);
  Page page(std::string_view path, std::int64_t limit);

  // Any status is fine. `path` begins with /v2/, or is added to the whole base URL by probe().
  Reply send(std::string_view method, std::string_view path, std::string body);
  Reply probe(std::string_view suffix);  // without authorization

  const Access& access() const { return access_; }

 private:
  json::value call(std::string_view method, std::string_view path, const std::optional<json::value>& body);
  enum class Authorization { none, token };
  Reply exchange(http::ClientRequest request, Authorization authorization);

  struct State;
  Access access_;
  std::function<void(std::string)> warn_;
  bool warned_ = false;
  std::unique_ptr<State> state_;
};

}  // namespace workflow::cli
