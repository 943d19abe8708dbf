// src/lib/kube/test_api.h: a small API server of one resource (pods of namespace x), for the protocol tests of this
// library.
#pragma once
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <deque>
#include <functional>

#include "lib/async/test_support.h"
#include "lib/kube/client.h"

namespace workflow::kube {

inline Connection connection_to(std::uint16_t port) {
  Connection connection;
  connection.server = *http::Url::parse("http://127.0.0.1:" + std::to_string(port));
  connection.server.path.clear();
  return connection;
}

inline http::ServerConfig local_server(std::uint16_t port = 0) {
  http::ServerConfig config;
  config.address = "127.0.0.1";
  config.port = port;
  config.drain_timeout = std::chrono::milliseconds(10);
  return config;
}

// Objects, a version counter and the events since `oldest_`; lists and watches them as Kubernetes does.
class PodApi {
 public:
  explicit PodApi(Executor executor) : changed_(std::move(executor)) {}

  void put(const std::string& name, const std::string& phase, const std::string& uid = "1") {
    const bool is_new = !pods_.contains(name);
    pods_[name] = {{"metadata", {{"name", name}, {"namespace", "x"}, {"uid", uid}, {"resourceVersion", next()}}},
                   {"status", {{"phase", phase}}}};
    record(is_new ? "ADDED" : "MODIFIED", pods_[name]);
  }
  void remove(const std::string& name) {
    auto pod = pods_[name];
    pods_.erase(name);
    pod["metadata"].get_object()["resourceVersion"] = next();
    record("DELETED", pod);
  }
  void bookmark() { record("BOOKMARK", {{"metadata", {{"resourceVersion", next()}}}}); }
  // Forgets the past: watches that begin before now get 410.
  void compact() {
    events_.clear();
    oldest_ = version_;
  }
  void break_watches() {
    ++breaks_;
    changed_.notify_all();
  }

  Task<http::Response> handle(http::Request& request) {
    requests.push_back(request.method + " " + request.target);
    if (fail_next > 0) {
      --fail_next;
      co_return http::Response::json(500, R"({"kind":"Status","message":"out of order","code":500})");
    }
    if (!request.query.has("watch")) co_return http::Response::json(200, print_json(list()));
    const auto since = std::stoll(request.query.find("resourceVersion").value_or("0"));
    if (since < oldest_) co_return http::Response::json(410, R"({"kind":"Status","message":"too old","code":410})");
    http::Response response;
    response.body = [this, since](http::BodyWriter& out) { return stream(out, since); };
    co_return response;
  }

  std::vector<std::string> requests;
  int fail_next = 0;
  std::int64_t version_ = 100;

 private:
  struct Event {
    std::int64_t version;
    std::string line;
  };
  std::string next() { return std::to_string(++version_); }
  void record(const char* type, const json::object& object) {
    events_.push_back({version_, print_json(json::object{{"type", type}, {"object", object}}) + "\n"});
    changed_.notify_all();
  }
  json::object list() const {
    json::array items;
    for (const auto& [name, pod] : pods_) items.push_back(pod);
    return {{"kind", "PodList"}, {"metadata", {{"resourceVersion", std::to_string(version_)}}}, {"items", items}};
  }
  Task<> stream(http::BodyWriter& out, std::int64_t since) {
    const int breaks = breaks_;
    for (;;) {
      const auto seen = changed_.version();
      for (const auto& event : std::deque<Event>(events_)) {
        if (event.version <= since) continue;
        since = event.version;
        co_await out.write(event.line.substr(0, 10));  // lines do not come in one piece
        co_await out.write(event.line.substr(10));
      }
      if (breaks_ != breaks) throw Error(ErrorKind::unavailable, "the connection breaks");
      co_await changed_.wait(seen);
    }
  }

  std::map<std::string, json::object> pods_;
  std::deque<Event> events_;
  std::int64_t oldest_ = 0;
  int breaks_ = 0;
  Notifier changed_;
};

}  // namespace workflow::kube
