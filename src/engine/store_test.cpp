#include "engine/store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/test_support.h"

namespace workflow::engine {
namespace {

using kube::make_object;
namespace resources = kube::resources;

class StoreTest : public testing::Test, public StoreFixture {
 protected:
  StoreTest() { namespace_named("shop"); }
  json::object config(std::string name) { return make_object(resources::config_maps, "shop", name); }
  json::object pod(std::string name) {
    return from_yaml("{metadata: {name: " + name +
                     ", namespace: shop}, spec: {nodeName: here, terminationGracePeriodSeconds: 5}}");
  }
};

ErrorKind kind_of_failure(const std::function<void()>& action, std::string* detail = nullptr) {
  try {
    action();
  } catch (const Error& error) {
    if (detail != nullptr) *detail = error.detail();
    return error.kind();
  }
  return ErrorKind::internal;
}

TEST_F(StoreTest, creating_fills_in_what_the_server_owns) {
  const auto made = create(resources::deployments, make_object(resources::deployments, "shop", "web"));
  EXPECT_EQ(text_at(*made, {"metadata", "uid"}).size(), 36u);
  EXPECT_EQ(text_at(*made, {"metadata", "creationTimestamp"}), rfc3339(clock.now()));
  EXPECT_EQ(integer_at(*made, {"metadata", "generation"}), 1);
  EXPECT_EQ(text_at(*made, {"metadata", "resourceVersion"}), std::to_string(store->resource_version()));
  EXPECT_EQ(*store->find(resources::deployments, "shop", "web"), *made);
}

TEST_F(StoreTest, a_generated_name_is_the_prefix_and_five_letters) {
  auto object = from_yaml("{metadata: {generateName: web-, namespace: shop}}");
  const auto name = kube::name_of(*create(resources::pods, object));
  EXPECT_TRUE(name.starts_with("web-"));
  EXPECT_EQ(name.size(), 9u);
}

TEST_F(StoreTest, refuses_duplicates_and_missing_namespaces) {
  create(resources::config_maps, config("a"));
  std::string reason;
  EXPECT_EQ(kind_of_failure([&] { create(resources::config_maps, config("a")); }, &reason), ErrorKind::conflict);
  EXPECT_EQ(reason, "AlreadyExists");
  EXPECT_EQ(kind_of_failure([&] { create(resources::config_maps, make_object(resources::config_maps, "none", "a")); }),
            ErrorKind::not_found);
}

TEST_F(StoreTest, lists_what_was_there_at_a_version) {
  const auto names = [](const std::optional<std::vector<ObjectPtr>>& objects) {
    std::string text;
    for (const auto& o : *objects) text += kube::name_of(*o) + kube::label_of(*o, "n") + " ";
    return text;
  };
  const auto label = [this](std::string name, std::string value) {
    edit(resources::config_maps, "shop", std::move(name), [value](json::object& o) {
      child(child(o, "metadata"), "labels")["n"] = value;
      return true;
    });
  };
  namespace_named("blog");
  for (const auto* name : {"b", "d", "f"}) create(resources::config_maps, config(name));
  const auto then = store->resource_version();
  create(resources::config_maps, config("a"));
  label("b", "1");
  label("b", "2");
  remove(resources::config_maps, "shop", "d");
  remove(resources::config_maps, "shop", "f");
  create(resources::config_maps, config("f"));
  remove(resources::config_maps, "shop", "a");
  create(resources::config_maps, make_object(resources::config_maps, "blog", "c"));
  EXPECT_EQ(names(store->list_at(resources::config_maps, "", then)), "b d f ");
  EXPECT_EQ(names(store->list_at(resources::config_maps, "shop", then)), "b d f ");
  EXPECT_EQ(names(store->list_at(resources::config_maps, "blog", then)), "");
  EXPECT_EQ(names(store->list_at(resources::config_maps, "shop", then + 2)), "a b1 d f ");
  EXPECT_EQ(names(store->list_at(resources::config_maps, "", store->resource_version())), "c b2 f ");
  EXPECT_FALSE(store->list_at(resources::config_maps, "", store->resource_version() + 1));
  open();
  EXPECT_FALSE(store->list_at(resources::config_maps, "", then));
}

TEST_F(StoreTest, generation_counts_changes_of_the_spec_only) {
  create(resources::deployments, make_object(resources::deployments, "shop", "web"));
  const auto generation_after = [&](std::function<void(json::object&)> change) {
    const auto result = edit(resources::deployments, "shop", "web", [&](json::object& d) {
      change(d);
      return true;
    });
    return *integer_at(*result, {"metadata", "generation"});
  };
  EXPECT_EQ(generation_after([](json::object& d) { child(d, "spec")["replicas"] = 2; }), 2);
  EXPECT_EQ(generation_after([](json::object& d) { child(d, "status")["replicas"] = 2; }), 2);
  EXPECT_EQ(generation_after([](json::object& d) { child(child(d, "metadata"), "labels")["a"] = "b"; }), 2);
  EXPECT_EQ(generation_after([](json::object& d) { child(d, "metadata")["generation"] = 77; }), 2);
}

TEST_F(StoreTest, an_edit_that_changes_nothing_writes_nothing) {
  create(resources::config_maps, config("a"));
  const auto before = store->resource_version();
  edit(resources::config_maps, "shop", "a", [](json::object& c) {
    child(c, "metadata")["name"] = "a";
    return true;
  });
  EXPECT_EQ(store->resource_version(), before);
  EXPECT_EQ(edit(resources::config_maps, "shop", "none", [](json::object&) { return true; }), nullptr);
}

TEST_F(StoreTest, an_update_needs_the_current_version) {
  const auto first = create(resources::config_maps, config("a"));
  edit(resources::config_maps, "shop", "a", [](json::object& c) {
    child(c, "data")["k"] = "v";
    return true;
  });
  const auto update = [&](json::object object) {
    run([](Store& s, json::object o) -> Task<> { co_await s.update(resources::config_maps, std::move(o)); }(
                                         *store, std::move(object)));
  };
  EXPECT_EQ(kind_of_failure([&] { update(*first); }), ErrorKind::conflict);
  auto unconditional = *first;
  child(unconditional, "metadata").erase("resourceVersion");
  update(unconditional);
  EXPECT_EQ(value_at(*store->find(resources::config_maps, "shop", "a"), {"data"}), nullptr);
}

TEST_F(StoreTest, finalizers_hold_an_object_until_the_last_is_gone) {
  auto object = config("a");
  child(object, "metadata")["finalizers"] = json::array{"example.com/one"};
  create(resources::config_maps, object);
  EXPECT_TRUE(kube::is_being_deleted(*remove(resources::config_maps, "shop", "a")));
  EXPECT_NE(store->find(resources::config_maps, "shop", "a"), nullptr);
  edit(resources::config_maps, "shop", "a", [](json::object& c) {
    child(c, "metadata").erase("finalizers");
    return true;
  });
  EXPECT_EQ(store->find(resources::config_maps, "shop", "a"), nullptr);
}

TEST_F(StoreTest, a_bound_pod_gets_its_grace_period) {
  create(resources::pods, pod("a"));
  const auto marked = remove(resources::pods, "shop", "a");
  EXPECT_EQ(text_at(*marked, {"metadata", "deletionTimestamp"}), rfc3339(clock.now() + std::chrono::seconds(5)));
  EXPECT_EQ(integer_at(*marked, {"metadata", "deletionGracePeriodSeconds"}), 5);
  // Asking again changes nothing; asking for less shortens it; zero removes it.
  EXPECT_EQ(*remove(resources::pods, "shop", "a"), *marked);
  EXPECT_EQ(integer_at(*remove(resources::pods, "shop", "a", {.grace_period_seconds = 2}),
                       {"metadata", "deletionGracePeriodSeconds"}),
            2);
  remove(resources::pods, "shop", "a", {.grace_period_seconds = 0});
  EXPECT_EQ(store->find(resources::pods, "shop", "a"), nullptr);
}

TEST_F(StoreTest, preconditions_of_a_deletion_are_checked) {
  create(resources::config_maps, config("a"));
  EXPECT_EQ(kind_of_failure([&] { remove(resources::config_maps, "shop", "a", {.uid = "other"}); }),
            ErrorKind::conflict);
  EXPECT_EQ(kind_of_failure([&] { remove(resources::config_maps, "shop", "a", {.resource_version = "1"}); }),
            ErrorKind::conflict);
  EXPECT_EQ(kind_of_failure([&] { remove(resources::config_maps, "shop", "none"); }), ErrorKind::not_found);
}

TEST_F(StoreTest, a_terminating_namespace_takes_nothing_new) {
  EXPECT_EQ(text_at(*remove(resources::namespaces, "", "shop"), {"status", "phase"}), "Terminating");
  std::string reason;
  EXPECT_EQ(kind_of_failure([&] { create(resources::config_maps, config("a")); }, &reason), ErrorKind::forbidden);
  EXPECT_EQ(reason, "NamespaceTerminating");
  edit(resources::namespaces, "", "shop", [](json::object& n) {
    child(n, "spec").erase("finalizers");
    return true;
  });
  EXPECT_EQ(store->find(resources::namespaces, "", "shop"), nullptr);
}

TEST_F(StoreTest, subscribers_see_every_change_in_order_once_it_is_readable) {
  std::vector<std::string> seen;
  auto subscription = store->subscribe(resources::config_maps, [&](const StoreEvent& event) {
    const bool readable = store->find(resources::config_maps, "shop", kube::name_of(*event.object)) != nullptr;
    EXPECT_EQ(readable, event.type != StoreEvent::Type::deleted);
    EXPECT_EQ(store->resource_version(), event.resource_version);
    seen.push_back((event.type == StoreEvent::Type::added     ? "+"
                    : event.type == StoreEvent::Type::deleted ? "-"
                                                              : "~") +
                   kube::name_of(*event.object));
  });
  const auto start = store->resource_version();
  create(resources::config_maps, config("a"));
  edit(resources::config_maps, "shop", "a", [](json::object& c) {
    c["data"] = json::object{{"k", "v"}};
    return true;
  });
  remove(resources::config_maps, "shop", "a");
  EXPECT_EQ(seen, (std::vector<std::string>{"+a", "~a", "-a"}));
  EXPECT_EQ(store->events_since(resources::config_maps, start)->size(), 3u);
  EXPECT_EQ(store->events_since(resources::config_maps, start + 1)->size(), 2u);
  EXPECT_FALSE(store->events_since(resources::config_maps, store->resource_version() + 1));
  subscription.reset();
  create(resources::config_maps, config("b"));
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(StoreTest, events_are_remembered_as_far_as_their_bytes_allow) {
  create(resources::config_maps, config("large"));
  create(resources::secrets, make_object(resources::secrets, "shop", "untouched"));
  const auto start = store->resource_version();
  const std::string text(900'000, 'x');
  for (int i = 0; i < 30; ++i) {
    edit(resources::config_maps, "shop", "large", [&](json::object& o) {
      child(o, "data")["text"] = text + std::to_string(i);
      return true;
    });
    EXPECT_LE(store->remembered_bytes(resources::config_maps), Store::most_remembered_bytes);
  }
  EXPECT_FALSE(store->events_since(resources::config_maps, start));
  EXPECT_EQ(store->events_since(resources::config_maps, store->resource_version() - 2)->size(), 2u);
  EXPECT_TRUE(store->events_since(resources::secrets, start)) << "each resource has its own bound";
  // Small ones reach far back.
  const auto then = store->resource_version();
  for (int i = 0; i < 500; ++i) {
    edit(resources::config_maps, "shop", "large", [&](json::object& o) {
      child(o, "data")["text"] = std::to_string(i);
      return true;
    });
  }
  EXPECT_EQ(store->events_since(resources::config_maps, then)->size(), 500u);
}

TEST_F(StoreTest, a_dry_run_keeps_nothing) {
  run([](Store& s, json::object o) -> Task<> {
    const auto made = co_await s.create(resources::config_maps, std::move(o), Persist::dry_run);
    EXPECT_FALSE(text_at(*made, {"metadata", "uid"}).empty());
  }(*store, config("a")));
  EXPECT_EQ(store->find(resources::config_maps, "shop", "a"), nullptr);
}

TEST_F(StoreTest, everything_is_there_after_reopening) {
  const auto made = create(resources::config_maps, config("a"));
  create(resources::config_maps, config("b"));
  remove(resources::config_maps, "shop", "b");
  const auto version = store->resource_version();
  open();
  EXPECT_EQ(*store->find(resources::config_maps, "shop", "a"), *made);
  EXPECT_EQ(store->find(resources::config_maps, "shop", "b"), nullptr);
  EXPECT_EQ(store->resource_version(), version);
  EXPECT_FALSE(store->events_since(resources::config_maps, version - 1));
  EXPECT_TRUE(store->events_since(resources::config_maps, version));
}

// A process that creates objects as fast as it can and reports each acknowledged one is killed at a random moment.
TEST(StoreDurability, kill_9_loses_no_acknowledged_write) {
  TemporaryFolder folder;
  const auto file = folder.path() / "state.db";
  int acknowledged = -1;
  for (int round = 0; round < 5; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const int child_pid = ::fork();
    if (child_pid == 0) {
      SystemClock clock;
      asio::io_context context(1);
      Store store(context.get_executor(), clock, file);
      asio::co_spawn(
          context,
          [](Store& s, int out, int next) -> Task<> {
            if (next == 0) co_await s.create(resources::namespaces, make_object(resources::namespaces, "", "shop"));
            for (;; ++next) {
              co_await s.create(resources::config_maps,
                                make_object(resources::config_maps, "shop", "c" + std::to_string(next)));
              if (::write(out, &next, sizeof(next)) < 0) ::_exit(1);
            }
          }(store, pipe[1], acknowledged + 1),
          [](const std::exception_ptr&) { ::_exit(2); });
      context.run();
      ::_exit(3);
    }
    ::close(pipe[1]);
    const int enough = acknowledged + 5 + 7 * round;
    while (acknowledged < enough && ::read(pipe[0], &acknowledged, sizeof(acknowledged)) > 0) {
    }
    ::kill(child_pid, SIGKILL);
    while (::read(pipe[0], &acknowledged, sizeof(acknowledged)) > 0) {
    }
    ::close(pipe[0]);
    int status = 0;
    ::waitpid(child_pid, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;

    SystemClock clock;
    asio::io_context context(1);
    Store store(context.get_executor(), clock, file);
    for (int i = 0; i <= acknowledged; ++i) {
      ASSERT_NE(store.find(resources::config_maps, "shop", "c" + std::to_string(i)), nullptr) << i;
    }
    // What was on its way may be there, too; the next round goes on behind it.
    while (store.find(resources::config_maps, "shop", "c" + std::to_string(acknowledged + 1))) ++acknowledged;
  }
}

TEST_F(StoreTest, repeated_events_are_counted_in_one_object) {
  const auto about = create(resources::pods, pod("a"));
  for (int i = 0; i < 3; ++i) run(record_event(*store, clock, about, "Warning", "BackOff", "restarting", "node"));
  const auto events = store->list(resources::events, "shop");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(integer_at(*events[0], {"count"}), 3);
  EXPECT_EQ(text_at(*events[0], {"involvedObject", "uid"}), kube::uid_of(*about));
}

TEST_F(StoreTest, a_long_message_of_an_event_is_cut_between_characters) {
  const auto about = create(resources::pods, pod("a"));
  std::string message(1023, 'x');
  message += "\u00e9 and more";
  run(record_event(*store, clock, about, "Warning", "Failed", message, "node"));
  const auto events = store->list(resources::events, "shop");
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(text_at(*events[0], {"message"}), std::string(1023, 'x'));
}

}  // namespace
}  // namespace workflow::engine
