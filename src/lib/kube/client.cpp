#include "lib/kube/client.h"

#include "lib/base/encoding.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/text.h"
#include "lib/kube/status.h"
#include "lib/kube/watch.h"

namespace workflow::kube {

using namespace std::chrono_literals;

namespace {
constexpr std::size_t page_size = 500;
constexpr std::size_t answer_limit = 256u << 20;
constexpr int throttled_tries = 5;

using Parameters = std::vector<std::pair<std::string, std::string>>;

std::string query_text(const Parameters& parameters) {
  std::string text;
  for (const auto& [name, value] : parameters) {
    if (!text.empty()) text += '&';
    text += percent_encode(name) + "=" + percent_encode(value);
  }
  return text;
}

std::string path_of(const Resource& r, const std::string& ns, const std::string& name, const std::string& subresource) {
  std::string path = r.group.empty() ? "/api/" + r.version : "/apis/" + r.group + "/" + r.version;
  if (r.namespaced && !ns.empty()) path += "/namespaces/" + percent_encode(ns);
  path += "/" + r.plural;
  if (!name.empty()) path += "/" + percent_encode(name);
  if (!subresource.empty()) path += "/" + subresource;
  return path;
}

void add_selectors(Parameters& parameters, const ListOptions& options) {
  if (!options.label_selector.empty()) parameters.emplace_back("labelSelector", options.label_selector);
  if (!options.field_selector.empty()) parameters.emplace_back("fieldSelector", options.field_selector);
}

std::string_view content_type(PatchType type) {
  switch (type) {
    case PatchType::json: return "application/json-patch+json";
    case PatchType::merge: return "application/merge-patch+json";
    case PatchType::strategic: return "application/strategic-merge-patch+json";
    case PatchType::apply: return "application/apply-patch+yaml";
  }
  return "application/merge-patch+json";
}

std::string name_of(const json::object& object) {
  const auto name = find_string(object, {"metadata", "name"});
  if (!name || name->empty()) throw Error(ErrorKind::invalid, "the object has no metadata.name");
  return *name;
}

json::object object_from(std::string_view text) {
  auto value = parse_json(text);
  if (!value || !value->is_object()) {
    throw Error(ErrorKind::unavailable, "the Kubernetes API answered with something that is not a JSON object");
  }
  return std::move(value->get_object());
}

// How long a throttled request should wait (RFC 9110, section 10.2.3); nullopt: do not try again.
std::optional<std::chrono::seconds> retry_after(const http::ClientResponse& response) {
  if (response.status != 429 && response.status != 503) return std::nullopt;
  const auto seconds = parse_integer(response.headers.get("Retry-After"));
  if (!seconds || *seconds < 0 || *seconds > 10) return std::nullopt;
  return std::chrono::seconds(*seconds);
}
}  // namespace

struct Client::State {
  State(Executor e, Connection c)
      : executor(e), connection(std::move(c)), http(std::move(e), http::ClientConfig{.tls = connection.tls}) {}

  Executor executor;
  Connection connection;
  http::Client http;
  Secret token;  // of connection.token_file
  std::chrono::steady_clock::time_point token_read{};

  struct Call {
    std::string method = "GET";
    std::string path;
    Parameters parameters;
    std::string body;
    std::string_view type = "application/json";
    std::chrono::milliseconds timeout = 30s;
  };

  // Bound service account tokens expire; the kubelet rewrites the file long before.
  Task<Secret> current_token() {
    if (connection.token_file.empty()) co_return connection.token;
    const auto now = std::chrono::steady_clock::now();
    if (token.empty() || now - token_read >= 60s) {
      auto text = co_await offload([file = connection.token_file] { return read_file(file); });
      token = Secret(std::string(trim(text)));
      token_read = now;
    }
    co_return token;
  }

  Task<http::Headers> headers() {
    http::Headers fields{{"Accept", "application/json"}};
    auto bearer = co_await current_token();
    if (!bearer.empty()) fields.set("Authorization", "Bearer " + bearer.reveal());
    if (!log::current_request().empty()) fields.set("X-Request-Id", log::current_request());
    co_return fields;
  }

  http::Url url(const Call& call) const {
    auto result = connection.server;
    result.path += call.path;
    result.query = query_text(call.parameters);
    return result;
  }

  Task<http::ClientResponse> send_once(const Call& call) {
    http::ClientRequest request;
    request.method = call.method;
    request.url = url(call);
    request.headers = co_await headers();
    if (!call.body.empty()) {
      request.headers.set("Content-Type", std::string(call.type));
      request.body = call.body;
    }
    request.timeout = call.timeout;
    co_return co_await http.send(std::move(request));
  }

  // A server that restarts breaks pooled connections. What may safely be done twice is done twice then.
  Task<http::ClientResponse> send_again_if_broken(const Call& call) {
    if (call.method != "POST") {
      try {
        co_return co_await send_once(call);
      } catch (const Error& error) {
        if (error.kind() != ErrorKind::unavailable) throw;
      }
    }
    co_return co_await send_once(call);
  }

  // The response when it is 2xx; throws its Status otherwise.
  Task<http::ClientResponse> send(Call call) {
    bool fresh_token = false;
    for (int tries = 1;; ++tries) {
      auto response = co_await send_again_if_broken(call);
      if (response.status >= 200 && response.status < 300) co_return response;
      auto text = co_await response.text(1u << 20);
      if (response.status == 401 && !connection.token_file.empty() && !fresh_token) {
        fresh_token = true;
        token = Secret();
        continue;
      }
      const auto wait = retry_after(response);
      if (!wait || tries >= throttled_tries) throw error_from_response(response.status, text);
      co_await sleep_for(*wait);
    }
  }

  Task<json::object> object(Call call) {
    auto response = co_await send(std::move(call));
    auto text = co_await response.text(answer_limit);
    co_return object_from(text);
  }
};

Client::Client(Executor executor, Connection connection)
    : state_(std::make_unique<State>(std::move(executor), std::move(connection))) {}
Client::~Client() = default;

const std::string& Client::namespace_() const { return state_->connection.namespace_; }
Executor Client::executor() const { return state_->executor; }

Task<json::object> Client::get(const Resource& r, std::string ns, std::string name) {
  State::Call call{.path = path_of(r, ns, name, "")};
  co_return co_await state_->object(std::move(call));
}

Task<std::optional<json::object>> Client::find(const Resource& r, std::string ns, std::string name) {
  try {
    co_return co_await get(r, std::move(ns), std::move(name));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
  co_return std::nullopt;
}

Task<List> Client::list(const Resource& r, std::string ns, ListOptions options) {
  List result;
  std::string next;
  bool whole = false;  // after 410 on a later page: everything in one answer, which is always consistent
  for (;;) {
    State::Call call{.path = path_of(r, ns, "", "")};
    add_selectors(call.parameters, options);
    if (!options.resource_version.empty() && next.empty()) {
      call.parameters.emplace_back("resourceVersion", options.resource_version);
    }
    if (!whole) call.parameters.emplace_back("limit", std::to_string(page_size));
    if (!next.empty()) call.parameters.emplace_back("continue", next);
    json::object page;
    bool expired = false;
    try {
      page = co_await state_->object(std::move(call));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::conflict || next.empty()) throw;
      expired = true;
    }
    if (expired) {
      result = {};
      next.clear();
      whole = true;
      continue;
    }
    result.resource_version = find_string(page, {"metadata", "resourceVersion"}).value_or("");
    next = find_string(page, {"metadata", "continue"}).value_or("");
    if (auto* items = page.if_contains("items"); items != nullptr && items->is_array()) {
      for (auto& item : items->get_array()) {
        if (!item.is_object()) continue;
        auto& object = item.get_object();
        object["apiVersion"] = r.api_version();
        object["kind"] = r.kind;
        result.items.push_back(std::move(object));
      }
    }
    if (next.empty()) co_return result;
  }
}

Task<json::object> Client::create(const Resource& r, std::string ns, json::object body) {
  State::Call call{.method = "POST", .path = path_of(r, ns, "", ""), .body = print_json(body)};
  call.parameters.emplace_back("fieldManager", "workflow");
  co_return co_await state_->object(std::move(call));
}

Task<json::object> Client::replace(const Resource& r, std::string ns, std::string name, json::object body,
                                   std::string subresource) {
  State::Call call{.method = "PUT", .path = path_of(r, ns, name, subresource), .body = print_json(body)};
  call.parameters.emplace_back("fieldManager", "workflow");
  co_return co_await state_->object(std::move(call));
}

Task<json::object> Client::patch(const Resource& r, std::string ns, std::string name, PatchType type, json::value body,
                                 std::string subresource) {
  State::Call call{.method = "PATCH",
                   .path = path_of(r, ns, name, subresource),
                   .body = print_json(body),
                   .type = content_type(type)};
  call.parameters.emplace_back("fieldManager", "workflow");
  if (type == PatchType::apply) call.parameters.emplace_back("force", "true");
  co_return co_await state_->object(std::move(call));
}

Task<json::object> Client::apply(const Resource& r, std::string ns, json::object body, std::string manager) {
  body["apiVersion"] = r.api_version();
  body["kind"] = r.kind;
  State::Call call{.method = "PATCH",
                   .path = path_of(r, ns, name_of(body), ""),
                   .body = print_json(body),
                   .type = content_type(PatchType::apply)};
  call.parameters.emplace_back("fieldManager", std::move(manager));
  call.parameters.emplace_back("force", "true");
  co_return co_await state_->object(std::move(call));
}

Task<> Client::remove(const Resource& r, std::string ns, std::string name, DeleteOptions options) {
  json::object body{{"apiVersion", "v1"}, {"kind", "DeleteOptions"}};
  if (options.grace_period_seconds) body["gracePeriodSeconds"] = *options.grace_period_seconds;
  if (!options.propagation.empty()) body["propagationPolicy"] = options.propagation;
  State::Call call{.method = "DELETE", .path = path_of(r, ns, name, ""), .body = print_json(body)};
  try {
    auto response = co_await state_->send(std::move(call));
    co_await response.text(answer_limit);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::not_found) throw;
  }
}

Task<std::unique_ptr<Watch>> Client::watch(const Resource& r, std::string ns, ListOptions options) {
  State::Call call{.path = path_of(r, ns, "", "")};
  add_selectors(call.parameters, options);
  call.parameters.emplace_back("watch", "true");
  call.parameters.emplace_back("allowWatchBookmarks", "true");
  call.parameters.emplace_back("timeoutSeconds", std::to_string(watch_lifetime.count()));
  if (!options.resource_version.empty()) call.parameters.emplace_back("resourceVersion", options.resource_version);
  auto response = co_await state_->send(std::move(call));
  co_return std::make_unique<WatchStream>(std::move(response.body), r);
}

Task<std::shared_ptr<http::BodyReader>> Client::log(std::string ns, std::string pod, LogOptions options) {
  State::Call call{.path = path_of(resources::pods, ns, pod, "log")};
  auto& p = call.parameters;
  if (!options.container.empty()) p.emplace_back("container", options.container);
  if (options.follow) p.emplace_back("follow", "true");
  if (options.previous) p.emplace_back("previous", "true");
  if (options.timestamps) p.emplace_back("timestamps", "true");
  if (options.tail_lines) p.emplace_back("tailLines", std::to_string(*options.tail_lines));
  if (options.since_seconds) p.emplace_back("sinceSeconds", std::to_string(*options.since_seconds));
  auto response = co_await state_->send(std::move(call));
  co_return response.body;
}

Task<std::unique_ptr<http::WebSocket>> Client::exec(std::string ns, std::string pod, std::string container,
                                                    std::vector<std::string> command, bool stdin_, bool tty) {
  State::Call call{.path = path_of(resources::pods, ns, pod, "exec")};
  auto& p = call.parameters;
  for (auto& word : command) p.emplace_back("command", std::move(word));
  if (!container.empty()) p.emplace_back("container", std::move(container));
  p.emplace_back("stdin", stdin_ ? "true" : "false");
  p.emplace_back("stdout", "true");
  p.emplace_back("stderr", tty ? "false" : "true");
  p.emplace_back("tty", tty ? "true" : "false");
  auto fields = co_await state_->headers();
  std::vector<std::string> protocols{"v5.channel.k8s.io", "v4.channel.k8s.io"};
  co_return co_await state_->http.websocket(state_->url(call), std::move(fields), std::move(protocols), 30s);
}

Task<std::string> Client::server_version() {
  State::Call call{.path = "/version"};
  const auto answer = co_await state_->object(std::move(call));
  co_return find_string(answer, {"gitVersion"}).value_or("");
}

}  // namespace workflow::kube
