// src/lib/async/task_inl.h: the template bodies of task.h; include that one.
#pragma once
#include <deque>
#include <type_traits>

namespace workflow {

namespace detail {
Task<> run_on_pool(std::move_only_function<void()> work);
Task<> run_with_deadline(std::chrono::nanoseconds limit, std::string message, Task<> task);

template <typename T>
Task<> store_result(Task<T> task, std::shared_ptr<std::optional<T>> result) {
  result->emplace(co_await std::move(task));
}
}  // namespace detail

template <typename F>
auto offload(F work) -> Task<std::invoke_result_t<F>> {
  using Result = std::invoke_result_t<F>;
  if constexpr (std::is_void_v<Result>) {
    co_await detail::run_on_pool(std::move(work));
  } else {
    auto result = std::make_shared<std::optional<Result>>();
    co_await detail::run_on_pool([work = std::move(work), result]() mutable { result->emplace(work()); });
    co_return std::move(**result);
  }
}

template <typename T>
Task<T> with_deadline(std::chrono::nanoseconds limit, std::string message, Task<T> task) {
  if constexpr (std::is_void_v<T>) {
    co_await detail::run_with_deadline(limit, std::move(message), std::move(task));
  } else {
    auto result = std::make_shared<std::optional<T>>();
    co_await detail::run_with_deadline(limit, std::move(message), detail::store_result(std::move(task), result));
    co_return std::move(**result);
  }
}

template <typename T>
class Channel {
 public:
  Channel(Executor executor, std::size_t capacity) : capacity_(capacity), readable_(executor), writable_(executor) {}

  bool try_push(T value) {
    if (closed_ || items_.size() >= capacity_) return false;
    items_.push_back(std::move(value));
    readable_.notify_all();
    return true;
  }
  Task<bool> push(T value) {
    while (!closed_ && items_.size() >= capacity_) co_await writable_.wait(writable_.version());
    co_return try_push(std::move(value));
  }
  std::optional<T> try_pop() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> value(std::move(items_.front()));
    items_.pop_front();
    writable_.notify_all();
    return value;
  }
  Task<std::optional<T>> pop() {
    while (!closed_ && items_.empty()) co_await readable_.wait(readable_.version());
    co_return try_pop();
  }
  void close() {
    closed_ = true;
    readable_.notify_all();
    writable_.notify_all();
  }
  bool closed() const { return closed_; }
  std::size_t size() const { return items_.size(); }

 private:
  std::size_t capacity_;
  std::deque<T> items_;
  bool closed_ = false;
  Notifier readable_, writable_;
};

}  // namespace workflow
