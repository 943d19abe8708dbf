#include "controller/turns.h"

#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <string>
#include <vector>

#include "lib/base/error.h"

namespace workflow::controller {
namespace {

// One place. Who came when; work takes no time, as only the order matters.
struct Scene {
  asio::io_context context{1};
  Turns turns{context.get_executor(), 1};
  std::vector<std::string> order;
  int refused = 0;

  void ask(const std::string& address) {
    auto asking = [this](std::string from) -> Task<> {
      try {
        order.push_back(co_await turns.run(from, [from] { return from; }));
      } catch (const Error& error) {
        refused += error.kind() == ErrorKind::unavailable ? 1 : 0;
      }
    };
    asio::co_spawn(context.get_executor(), asking(address), [](const std::exception_ptr&) {});
  }
};

TEST(Turns, addresses_take_turns_however_much_one_asks_for) {
  Scene scene;
  for (int i = 0; i < 5; ++i) scene.ask("10.0.0.1");
  for (int i = 0; i < 2; ++i) scene.ask("10.0.0.2");
  scene.ask("10.0.0.3");
  scene.context.run();
  const std::string a = "10.0.0.1", b = "10.0.0.2", c = "10.0.0.3";
  EXPECT_EQ(scene.order, (std::vector<std::string>{a, b, c, a, b, a, a, a}));
}

TEST(Turns, one_address_has_a_limit_and_all_have_one) {
  Scene scene;
  for (int i = 0; i < 28; ++i) scene.ask("10.0.0.1");
  scene.ask("10.0.0.2");
  scene.context.run();
  EXPECT_EQ(scene.order.size(), 26u);
  EXPECT_EQ(scene.refused, 3);
  scene.context.restart();
  for (int i = 0; i < 1003; ++i) scene.ask("10.1.0." + std::to_string(i));
  scene.context.run();
  EXPECT_EQ(scene.order.size(), 1026u);
  EXPECT_EQ(scene.refused, 6);
}

TEST(Turns, whoever_goes_away_gives_up_the_turn_and_failures_are_the_callers) {
  Scene scene;
  asio::cancellation_signal leave;
  int done = 0;
  bool failed = false;
  auto leaving = [&]() -> Task<> {
    co_await scene.turns.run("10.0.0.2", [] {});
    ++done;
  };
  auto failing = [&]() -> Task<> {
    try {
      co_await scene.turns.run("10.0.0.3", [] { throw Error(ErrorKind::invalid, "no"); });
    } catch (const Error& error) {
      failed = error.kind() == ErrorKind::invalid;
    }
  };
  scene.ask("10.0.0.1");
  asio::co_spawn(scene.context.get_executor(), leaving(),
                 asio::bind_cancellation_slot(leave.slot(), [](const std::exception_ptr&) {}));
  // After all have begun, and before the first has ended: that takes a turn of the loop.
  asio::post(scene.context, [&] { leave.emit(asio::cancellation_type::all); });
  asio::co_spawn(scene.context.get_executor(), failing(), [](const std::exception_ptr&) {});
  scene.ask("10.0.0.1");
  scene.context.run();
  EXPECT_TRUE(failed);
  EXPECT_EQ(scene.order.size(), 2u);
  EXPECT_LE(done, 1);
  scene.context.restart();
  scene.ask("10.0.0.4");
  scene.context.run();
  EXPECT_EQ(scene.order.size(), 3u) << "no place is lost";
}

}  // namespace
}  // namespace workflow::controller
