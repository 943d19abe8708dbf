#include "lib/async/supervisor.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <list>
#include <thread>

#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/utf8.h"

namespace workflow {

using namespace std::chrono_literals;

namespace {

constexpr int failures_that_count = 3;

// The message alone: it is shown.
std::string problem_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& ours) {
    return valid_utf8(ours.message());
  } catch (...) {
    return valid_utf8(describe(error));
  }
}

std::string label(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

// What one loop has to say.
struct Record {
  std::string name;
  Supervisor::Options options;
  int failures = 0;  // in a row
  std::uint64_t all_failures = 0, runs = 0;
  std::string problem;

  void failed(const std::exception_ptr& error) noexcept {
    ++failures;
    ++all_failures;
    try {
      auto now = problem_of(error);
      if (now == problem) return;
      problem = std::move(now);
      log::warn("a background task failed and is run again", kv("task", name), kv("error", describe(error)),
                kv("failures", failures));
      if (options.report) options.report(problem);
    } catch (...) {  // going on comes before telling
    }
  }

  void works() noexcept {
    if (std::exchange(failures, 0) == 0) return;
    try {
      problem.clear();
      log::info("a background task works again", kv("task", name));
      if (options.report) options.report("");
    } catch (...) {
    }
  }
};

// A run that has begun after a failure may seem to work: only time tells.
void watch_run(const std::shared_ptr<Record>& record, asio::steady_timer& settled) {
  settled.expires_after(record->options.settled_after);
  settled.async_wait([its = std::weak_ptr(record), run = record->runs](const boost::system::error_code& stopped) {
    const auto seen = its.lock();
    if (!stopped && seen && seen->runs == run) seen->works();
  });
}

// The loop itself.
Task<> run_and_run_again(std::shared_ptr<Record> record, const Supervisor::Step& step) {
  auto executor = co_await asio::this_coro::executor;
  asio::steady_timer pause(executor), settled(executor);
  for (;;) {
    std::exception_ptr error;
    auto next = Supervisor::Next::again;
    try {
      if (record->failures > 0) watch_run(record, settled);
      next = co_await step();
      record->works();
      // One that never waits starves nobody.
      if (next == Supervisor::Next::again) co_await asio::post(executor, asio::use_awaitable);
    } catch (...) {
      error = std::current_exception();
    }
    ++record->runs;
    settled.cancel();
    const auto state = co_await asio::this_coro::cancellation_state;
    if (state.cancelled() != asio::cancellation_type::none) {
      if (error) std::rethrow_exception(error);
      throw boost::system::system_error(asio::error::operation_aborted);
    }
    if (!error && next == Supervisor::Next::done) co_return;
    if (!error) continue;
    record->failed(error);
    error = nullptr;
    bool waited = false;
    try {
      pause.expires_after(pause_after(record->failures, record->options));
      co_await pause.async_wait(asio::use_awaitable);
      waited = true;
    } catch (const boost::system::system_error&) {
      throw;  // cancelled
    } catch (...) {
    }
    if (!waited) std::this_thread::sleep_for(10ms);  // not even memory to wait with
  }
}

}  // namespace

struct Supervisor::State {
  explicit State(const Executor& executor) : group(executor) {}

  TaskGroup group;
  std::list<std::shared_ptr<Record>> records;
  std::uint64_t failures_of_ended = 0;
};

std::chrono::milliseconds pause_after(int failures, const Supervisor::Options& options) {
  auto pause = options.first_pause;
  for (int i = 1; i < failures && pause < options.longest_pause; ++i) pause *= 2;
  return std::min(pause, options.longest_pause);
}

Supervisor::Supervisor(Executor executor) : state_(std::make_shared<State>(executor)) {}
Supervisor::~Supervisor() = default;

void Supervisor::keep(std::string name, Body body, Options options) {
  auto task = forever(name, std::move(body), std::move(options));
  state_->group.spawn(std::move(name), std::move(task));
}

Task<> Supervisor::join() { return state_->group.join(); }
Task<> Supervisor::stop() { return state_->group.stop(); }

Task<> Supervisor::forever(std::string name, Body body, Options options) {
  auto step = [](Body its) -> Task<Next> {
    co_await its();
    co_return Next::again;
  };
  return until_done(std::move(name), [step, body = std::move(body)] { return step(body); }, std::move(options));
}

Task<> Supervisor::until_done(std::string name, Step step, Options options) {
  struct Listed {
    explicit Listed(std::shared_ptr<State> s, std::shared_ptr<Record> r)
        : state(std::move(s)), record(std::move(r)), place(state->records.insert(state->records.end(), record)) {}
    ~Listed() {
      state->failures_of_ended += record->all_failures;
      state->records.erase(place);
    }
    std::shared_ptr<State> state;
    std::shared_ptr<Record> record;
    std::list<std::shared_ptr<Record>>::iterator place;
  };
  auto run = [](std::shared_ptr<State> state, std::shared_ptr<Record> record, Step its) -> Task<> {
    const Listed listed(std::move(state), record);
    co_await run_and_run_again(std::move(record), its);
  };
  auto record = std::make_shared<Record>();
  record->name = std::move(name);
  record->options = std::move(options);
  return run(state_, std::move(record), std::move(step));
}

std::optional<std::string> Supervisor::problem() const {
  for (const auto& record : state_->records) {
    if (record->options.role != Role::service || record->failures < failures_that_count) continue;
    return record->name + ": " + record->problem;
  }
  return std::nullopt;
}

std::string Supervisor::metrics() const {
  // Only what has failed: there may be a task for each pod, and names come and go.
  std::string total =
      "workflow_background_failures_total{task=\"\"} " + std::to_string(state_->failures_of_ended) + "\n";
  std::string failing;
  for (const auto& record : state_->records) {
    if (record->all_failures == 0) continue;
    const auto task = "{task=\"" + label(record->name) + "\"} ";
    total += "workflow_background_failures_total" + task + std::to_string(record->all_failures) + "\n";
    failing += "workflow_background_failing" + task + (record->failures > 0 ? "1\n" : "0\n");
  }
  return "# TYPE workflow_background_failures_total counter\n" + total + "# TYPE workflow_background_failing gauge\n" +
         failing;
}

}  // namespace workflow
