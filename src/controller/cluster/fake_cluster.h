// src/controller/cluster/fake_cluster.h: enough of a cluster to deploy to, in the test's own loop: objects over REST,
// and a
//   Deployment controller whose pods behave as the test says. The real thing is tested in tests/integration.
#pragma once
#include <gtest/gtest.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "lib/base/encoding.h"
#include "lib/base/text.h"
#include "lib/kube/objects.h"
#include "lib/kube/selectors.h"

namespace workflow::controller::cluster {

class FakeCluster {
 public:
  explicit FakeCluster(Executor executor) : changed_(std::move(executor)) {}

  // How pods of `<type>/<version>` behave: "up" (default), "crash", "image", "never" (runs, not ready).
  std::map<std::string, std::string> behaviour;
  std::vector<std::string> writes;              // "PUT /apis/…"
  std::function<void()> on_change;              // after each
  std::map<std::string, json::object> objects;  // by path
  std::string log = "boom: cannot connect\n";   // of each container
  std::string log_before;                       // of its instance before
  std::size_t log_cuts = 0;                     // how often the log's connection breaks, each time a byte later

  // What the app's Service would reach now: names of ready pods.
  std::vector<std::string> served(const std::string& app) const {
    std::vector<std::string> names;
    const auto service = objects.find("/api/v1/namespaces/" + app + "/services/" + app);
    if (service == objects.end()) return names;
    const auto selector = kube::LabelSelector::from_map(find_path(service->second, {"spec", "selector"}));
    for (const auto& [path, pod] : objects) {
      if (path.find("/pods/") == std::string::npos || !kube::is_pod_ready(pod)) continue;
      if (selector.matches(find_path(pod, {"metadata", "labels"}))) names.push_back(kube::name_of(pod));
    }
    return names;
  }

  Task<http::Response> handle(http::Request& request) {
    const auto& path = request.path;
    if (request.method != "GET") writes.push_back(request.method + " " + path);
    const auto body = co_await request.text();
    if (path.ends_with("/log") && cuts_ < log_cuts) co_return broken(log.substr(0, ++cuts_));
    if (path.ends_with("/log"))
      co_return http::Response::text(200, request.query.find("previous") == "true" ? log_before : log);
    const bool is_item = objects.contains(path);
    if (request.method == "GET" && request.query.has("watch")) co_return watch(request);
    if (request.method == "GET" && is_item) co_return ok(objects[path]);
    if (request.method == "GET" && is_collection(path)) co_return list(path, selector_of(request));
    if (request.method == "POST") co_return create(path, parse_json(body)->get_object());
    const bool applies = request.headers.get("Content-Type").starts_with("application/apply-patch");
    if (!is_item && applies) co_return create(path.substr(0, path.rfind('/')), parse_json(body)->get_object());
    if (!is_item) co_return status(404, "NotFound: " + path);
    if (request.method == "PUT") co_return write(path, parse_json(body)->get_object());
    if (request.method == "PATCH") {
      auto object = objects[path];
      merge(object, parse_json(body)->get_object());
      co_return write(path, std::move(object));
    }
    remove(path);
    co_return status(200, "deleted");
  }

 private:
  struct Event {
    std::int64_t version;
    std::string type, collection;
    json::object object;
  };

  // A server that ends while it answers.
  static http::Response broken(std::string begun) {
    http::Response response;
    response.body = [begun](http::BodyWriter& out) -> Task<> {
      co_await out.write(begun);
      throw Error(ErrorKind::unavailable, "the server ends");
    };
    return response;
  }

  static http::Response ok(const json::object& object, int code = 200) {
    return http::Response::json(code, print_json(object));
  }
  static http::Response status(int code, const std::string& message) {
    return http::Response::json(code,
                                print_json(json::object{{"kind", "Status"}, {"code", code}, {"message", message}}));
  }
  static bool is_collection(const std::string& path) {
    const auto last = path.substr(path.rfind('/') + 1);
    for (const auto* r : kube::all_resources()) {
      if (r->plural == last) return true;
    }
    return false;
  }
  static kube::LabelSelector selector_of(const http::Request& request) {
    return *kube::LabelSelector::parse(request.query.find("labelSelector").value_or(""));
  }
  static void merge(json::object& target, const json::object& patch) {
    for (const auto& [key, value] : patch) {
      if (value.is_null()) {
        target.erase(key);
      } else if (value.is_object()) {
        auto& member = target[key];
        if (!member.is_object()) member = json::object{};
        merge(member.get_object(), value.get_object());
      } else {
        target[key] = value;
      }
    }
  }

  http::Response list(const std::string& path, const kube::LabelSelector& selector) const {
    json::array items;
    for (const auto& [name, object] : objects) {
      if (name.substr(0, name.rfind('/')) != path) continue;
      if (selector.matches(find_path(object, {"metadata", "labels"}))) items.push_back(object);
    }
    return ok({{"metadata", {{"resourceVersion", std::to_string(version_)}}}, {"items", std::move(items)}});
  }

  http::Response watch(const http::Request& request) {
    http::Response response;
    response.endless = true;
    response.body = [this, path = request.path, selector = selector_of(request),
                     since = std::stoll(request.query.find("resourceVersion").value_or("0"))](http::BodyWriter& out) {
      return stream(out, path, selector, since);
    };
    return response;
  }
  Task<> stream(http::BodyWriter& out, std::string path, kube::LabelSelector selector, std::int64_t since) {
    for (;;) {
      const auto seen = changed_.version();
      const auto events = events_;
      for (const auto& e : events) {
        if (e.version <= since || e.collection != path) continue;
        since = e.version;
        if (!selector.matches(find_path(e.object, {"metadata", "labels"}))) continue;
        co_await out.write(print_json(json::object{{"type", e.type}, {"object", e.object}}) + "\n");
      }
      co_await changed_.wait(seen);
    }
  }

  void record(const std::string& type, const std::string& path, json::object object) {
    object["metadata"].get_object()["resourceVersion"] = std::to_string(++version_);
    events_.push_back({version_, type, path.substr(0, path.rfind('/')), object});
    if (type == "DELETED") {
      objects.erase(path);
    } else {
      objects[path] = std::move(object);
    }
    changed_.notify_all();
    if (on_change) on_change();
  }

  http::Response create(const std::string& collection, json::object object) {
    const auto path = collection + "/" + kube::name_of(object);
    if (objects.contains(path)) return status(409, "AlreadyExists");
    auto& metadata = object["metadata"].get_object();
    metadata["uid"] = random_uuid();
    metadata["generation"] = 1;
    if (collection.ends_with("/pods")) object["status"] = one_off_status(kube::label_of(object, "version"));
    record("ADDED", path, std::move(object));
    settle(path);
    return ok(objects[path], 201);
  }
  http::Response write(const std::string& path, json::object object) {
    const auto& before = objects[path];
    auto& metadata = object["metadata"].get_object();
    metadata["uid"] = kube::uid_of(before);
    const auto spec_of = [](const json::object& o) { return o.contains("spec") ? o.at("spec") : json::value(); };
    const bool changed = spec_of(before) != spec_of(object);
    metadata["generation"] = find_integer(before, {"metadata", "generation"}).value_or(1) + (changed ? 1 : 0);
    if (const auto* old_status = find_path(before, {"status"})) object["status"] = *old_status;
    record("MODIFIED", path, std::move(object));
    const auto answer = objects[path];
    settle(path);
    return ok(answer);
  }
  void remove(const std::string& path) {
    record("DELETED", path, objects[path]);
    const auto below = path + "/";
    std::vector<std::string> children;
    const bool is_namespace = path.starts_with("/api/v1/namespaces/") && std::count(path.begin(), path.end(), '/') == 4;
    for (const auto& [name, object] : objects) {
      const bool inside =
          is_namespace && (name.find("/namespaces/" + path.substr(path.rfind('/') + 1) + "/") != std::string::npos);
      const bool owned = path.find("/deployments/") != std::string::npos &&
                         kube::name_of(object).starts_with(path.substr(path.rfind('/') + 1) + "-") &&
                         name.find("/pods/") != std::string::npos;
      if (inside || owned) children.push_back(name);
    }
    for (const auto& child : children) record("DELETED", child, objects[child]);
  }

  // The Deployment controller: new pods first; old ones go when all new ones are ready.
  void settle(const std::string& path) {
    if (path.find("/deployments/") == std::string::npos) return;
    auto deployment = objects[path];
    const auto ns = kube::namespace_of(deployment);
    const auto name = kube::name_of(deployment);
    const auto replicas = find_integer(deployment, {"spec", "replicas"}).value_or(1);
    const auto& tmpl = deployment.at("spec").at("template").get_object();
    const auto hash = to_hex(sha256(print_json(tmpl))).substr(0, 8);
    const bool held = find_integer(deployment, {"spec", "minReadySeconds"}).value_or(0) > 0;
    const auto number = [&](const char* name) {
      return find_integer(deployment, {"spec", "strategy", "rollingUpdate", name}).value_or(0);
    };
    const auto how = behaviour[kube::label_of(tmpl, "type") + "/" + kube::label_of(tmpl, "version")];
    const bool good = how.empty() || how == "up";
    std::multimap<std::int64_t, std::string> old, fresh;  // by what their deletion costs
    for (const auto& [pod_path, pod] : objects) {
      const auto pod_name = kube::name_of(pod);
      if (pod_path.find("/pods/") == std::string::npos || !pod_name.starts_with(name + "-")) continue;
      const auto cost =
          parse_integer(kube::annotation_of(pod, "controller.kubernetes.io/pod-deletion-cost")).value_or(0);
      (pod_name.starts_with(name + "-" + hash + "-") ? fresh : old).emplace(cost, pod_path);
    }
    const auto shrink = [this](auto& pods, std::int64_t to) {
      while (static_cast<std::int64_t>(pods.size()) > std::max<std::int64_t>(to, 0)) {
        record("DELETED", pods.begin()->second, objects[pods.begin()->second]);
        pods.erase(pods.begin());
      }
    };
    const auto kept = held ? replicas - number("maxUnavailable") : good ? 0 : replicas;
    const auto room = replicas + number("maxSurge");
    const auto has = static_cast<std::int64_t>(fresh.size());
    if (held || replicas == 0) shrink(old, kept);
    const auto count =
        held ? std::clamp(room - static_cast<std::int64_t>(old.size()), has, std::max(has, replicas)) : replicas;
    shrink(fresh, count);
    for (std::int64_t i = 0; static_cast<std::int64_t>(fresh.size()) < count; ++i) {
      const auto pod_name = name + "-" + hash + "-" + std::to_string(i);
      const auto pod_path = "/api/v1/namespaces/" + ns + "/pods/" + pod_name;
      if (objects.contains(pod_path)) continue;
      record("ADDED", pod_path, pod_of(tmpl, ns, pod_name, name, how));
      fresh.emplace(0, pod_path);
    }
    if (!held) shrink(old, kept);
    json::object state{{"observedGeneration", *find_integer(deployment, {"metadata", "generation"})}};
    const auto total = static_cast<std::int64_t>(fresh.size() + old.size());
    if (total > 0) state["replicas"] = total;
    if (!fresh.empty()) state["updatedReplicas"] = fresh.size();
    if (good && !held && replicas > 0) state["availableReplicas"] = replicas;
    deployment["status"] = std::move(state);
    record("MODIFIED", path, std::move(deployment));
  }

  // A one-off pod ends at once, with status 3.
  json::object one_off_status(const std::string& version) {
    json::object container{{"name", "shop-run"}, {"image", "shop:1"}, {"restartCount", 0}};
    const bool ends = behaviour["run/" + version] != "image";
    container["state"] = ends ? json::object{{"terminated", {{"exitCode", 3}}}}
                              : json::object{{"waiting", {{"reason", "ErrImagePull"}, {"message", "not found"}}}};
    return {{"phase", ends ? "Failed" : "Pending"}, {"containerStatuses", json::array{std::move(container)}}};
  }

  json::object pod_of(const json::object& tmpl, const std::string& ns, const std::string& name,
                      const std::string& container, const std::string& how) {
    json::object status{
        {"name", container}, {"ready", how.empty() || how == "up"}, {"image", "shop:1"}, {"restartCount", 0}};
    if (how == "crash") {
      status["restartCount"] = 2;
      status["state"] = {{"waiting", {{"reason", "CrashLoopBackOff"}}}};
      status["lastState"] = {{"terminated", {{"exitCode", 1}}}};
    } else if (how == "image") {
      status["state"] = {{"waiting", {{"reason", "ErrImagePull"}, {"message", "not found"}}}};
    } else {
      status["state"] = {{"running", json::object{}}};
    }
    auto pod = kube::make_object(kube::resources::pods, ns, name, string_map(find_path(tmpl, {"metadata", "labels"})));
    pod["metadata"].get_object()["uid"] = random_uuid();
    pod["spec"] = tmpl.at("spec");
    ++addresses_;
    const auto address = "10.0." + std::to_string(addresses_ / 250) + "." + std::to_string(addresses_ % 250 + 1);
    const bool ready = how.empty() || how == "up";
    pod["status"] = {{"phase", how == "image" ? "Pending" : "Running"},
                     {"podIP", address},
                     {"conditions", json::array{json::object{{"type", "Ready"}, {"status", ready ? "True" : "False"}}}},
                     {"containerStatuses", json::array{std::move(status)}}};
    return pod;
  }

  std::vector<Event> events_;
  std::size_t cuts_ = 0;
  std::int64_t version_ = 100;
  int addresses_ = 0;
  Notifier changed_;
};

}  // namespace workflow::controller::cluster
