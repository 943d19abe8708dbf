#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <map>
#include <vector>

#include "lib/async/task.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

namespace workflow {

struct TaskGroup::State {
  struct Entry {
    std::string name;
    asio::cancellation_signal signal;
  };
  explicit State(Executor e) : executor(e), changed(e) {}

  void ended(std::uint64_t id, const std::exception_ptr& error) {
    auto node = running.extract(id);
    if (error && !is_cancelled(error)) {
      log::error("background task failed", kv("task", node.mapped()->name), kv("error", describe(error)));
    }
    if (running.empty()) changed.notify_all();
  }

  Executor executor;
  Notifier changed;
  std::uint64_t next_id = 0;
  std::map<std::uint64_t, std::shared_ptr<Entry>> running;
};

TaskGroup::TaskGroup(Executor executor) : state_(std::make_shared<State>(std::move(executor))) {}

TaskGroup::~TaskGroup() {
  for (const auto& [id, entry] : state_->running) {
    log::error("a task outlives its group: stop() was not awaited", kv("task", entry->name));
  }
  WF_CHECK(state_->running.empty());
}

void TaskGroup::spawn(std::string name, Task<> task) {
  const auto id = state_->next_id++;
  auto entry = std::make_shared<State::Entry>();
  entry->name = std::move(name);
  state_->running.emplace(id, entry);
  auto ended = [state = state_, entry, id](const std::exception_ptr& error) { state->ended(id, error); };
  asio::co_spawn(state_->executor, std::move(task), asio::bind_cancellation_slot(entry->signal.slot(), ended));
}

void TaskGroup::cancel() {
  // A task may end, and leave the map, while its signal is emitted.
  std::vector<std::shared_ptr<State::Entry>> entries;
  for (const auto& [id, entry] : state_->running) entries.push_back(entry);
  for (const auto& entry : entries) entry->signal.emit(asio::cancellation_type::terminal);
}

Task<> TaskGroup::join() {
  auto state = state_;
  while (!state->running.empty()) co_await state->changed.wait(state->changed.version());
}

Task<> TaskGroup::stop() {
  const bool throws = co_await asio::this_coro::throw_if_cancelled();
  co_await keep_waiting();
  cancel();
  co_await join();
  co_await asio::this_coro::throw_if_cancelled(throws);
}

std::size_t TaskGroup::size() const { return state_->running.size(); }

}  // namespace workflow
