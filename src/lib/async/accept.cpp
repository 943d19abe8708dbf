#include "lib/async/accept.h"

#include <boost/asio/error.hpp>
#include <map>

#include "lib/base/error.h"

namespace workflow {

using namespace std::chrono_literals;

struct Connections::State {
  State(const Executor& executor, Options o) : options(o), tasks(executor), changed(executor) {}

  Options options;
  TaskGroup tasks;
  Notifier changed;
  std::size_t open = 0;
  std::uint64_t next = 0;
  std::map<std::uint64_t, std::shared_ptr<asio::cancellation_signal>> oldest_first;  // with `close_oldest`
};

namespace {

// One connection's place, from before its first step to its end.
template <typename State>
struct Place {
  explicit Place(std::shared_ptr<State> s) : state(std::move(s)), number(state->next++) { ++state->open; }
  Place(Place&& other) noexcept : state(std::move(other.state)), number(other.number) {}
  ~Place() {
    if (!state) return;
    --state->open;
    state->oldest_first.erase(number);
    state->changed.notify_all();
  }
  std::shared_ptr<State> state;
  std::uint64_t number;
};

}  // namespace

Connections::Connections(Executor executor, Options options)
    : state_(std::make_shared<State>(std::move(executor), options)) {}
Connections::~Connections() = default;

Task<> Connections::room() {
  auto state = state_;
  while (state->open >= state->options.most) {
    const auto seen = state->changed.version();
    if (!state->oldest_first.empty()) {
      const auto signal = state->oldest_first.extract(state->oldest_first.begin()).mapped();
      signal->emit(asio::cancellation_type::terminal);
    }
    co_await state->changed.wait(seen);
  }
}

void Connections::serve(Task<> task) {
  auto run = [](Place<State> place, Task<> its) -> Task<> {
    const auto held = std::move(place);
    co_await std::move(its);
  };
  Place<State> place(state_);
  if (state_->options.when_full == WhenFull::close_oldest) {
    auto signal = std::make_shared<asio::cancellation_signal>();
    state_->oldest_first.emplace(place.number, signal);
    task = cancelled_by(std::move(signal), std::move(task));
  }
  state_->tasks.spawn("connection", run(std::move(place), std::move(task)));
}

std::size_t Connections::size() const { return state_->open; }
Task<> Connections::join() { return state_->tasks.join(); }
Task<> Connections::stop() { return state_->tasks.stop(); }

Supervisor::Options accept_pauses() { return {.first_pause = 50ms, .longest_pause = 1s, .settled_after = 1s}; }

void check_accepted(const boost::system::error_code& error) {
  if (!error) return;
  namespace codes = boost::system::errc;
  if (error == asio::error::operation_aborted) throw boost::system::system_error(error);
  // accept(2): what was wrong with the connection, not with the socket that accepts.
  for (const auto code :
       {codes::connection_aborted, codes::connection_reset, codes::protocol_error, codes::network_down,
        codes::no_protocol_option, codes::host_unreachable, codes::operation_not_supported, codes::network_unreachable,
        codes::operation_not_permitted, codes::timed_out, codes::interrupted, codes::operation_would_block}) {
    if (error == code) return;
  }
  throw Error(ErrorKind::unavailable, "cannot accept connections: " + error.message());
}

}  // namespace workflow
