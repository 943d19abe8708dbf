// src/engine/test_support.h: a loop, a clock and a store in a temporary folder, for the engine's unit tests.
#pragma once
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>

#include "engine/fields.h"
#include "engine/store.h"
#include "lib/kube/objects.h"
#include "lib/kube/yaml.h"

namespace workflow::engine {

inline json::object from_yaml(std::string_view text) { return kube::parse_yaml(text).as_object(); }

class StoreFixture {
 public:
  ManualClock clock{Time{} + std::chrono::hours(24 * 365 * 56)};
  TemporaryFolder folder;
  asio::io_context context{1};
  std::unique_ptr<Store> store;

  StoreFixture() { open(); }
  void open() {
    store.reset();
    store = std::make_unique<Store>(context.get_executor(), clock, folder.path() / "state.db");
  }
  // Runs `task` to its end; everything else on the loop as well.
  void run(Task<> task) {
    std::exception_ptr error;
    auto limited = with_deadline(std::chrono::seconds(20), "the test hangs", std::move(task));
    asio::co_spawn(context.get_executor(), std::move(limited), [this, &error](const std::exception_ptr& e) {
      error = e;
      context.stop();
    });
    context.restart();
    context.run();
    if (error) std::rethrow_exception(error);
  }
  ObjectPtr create(const kube::Resource& r, json::object object) {
    ObjectPtr result;
    run([](Store& s, const kube::Resource& resource, json::object o, ObjectPtr& out) -> Task<> {
      out = co_await s.create(resource, std::move(o));
    }(*store, r, std::move(object), result));
    return result;
  }
  ObjectPtr edit(const kube::Resource& r, std::string ns, std::string name, std::function<bool(json::object&)> change) {
    ObjectPtr result;
    run([](Store& s, const kube::Resource& resource, std::string n, std::string m, std::function<bool(json::object&)> c,
           ObjectPtr& out) -> Task<> {
      out = co_await s.edit(resource, std::move(n), std::move(m), std::move(c));
    }(*store, r, std::move(ns), std::move(name), std::move(change), result));
    return result;
  }
  ObjectPtr remove(const kube::Resource& r, std::string ns, std::string name, DeleteOptions options = {}) {
    ObjectPtr result;
    run([](Store& s, const kube::Resource& resource, std::string n, std::string m, DeleteOptions o,
           ObjectPtr& out) -> Task<> {
      out = co_await s.remove(resource, std::move(n), std::move(m), std::move(o));
    }(*store, r, std::move(ns), std::move(name), std::move(options), result));
    return result;
  }
  void namespace_named(std::string name) {
    create(kube::resources::namespaces, kube::make_object(kube::resources::namespaces, "", name));
  }
};

}  // namespace workflow::engine
