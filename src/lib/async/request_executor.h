// src/lib/async/request_executor.h: an executor under which log lines carry a request's id.
//   Whatever runs through it, the coroutine's first step and each resumption alike, sees log::current_request() == *id.
#pragma once
#include <memory>
#include <string>
#include <utility>

#include "lib/async/task.h"
#include "lib/base/log.h"

namespace workflow {

class RequestExecutor {
 public:
  // `id` may change between executions: a connection serves one request after the other.
  RequestExecutor(Executor inner, std::shared_ptr<const std::string> id)
      : inner_(std::move(inner)), id_(std::move(id)) {}

  template <typename F>
  void execute(F f) const {
    inner_.execute([id = id_, f = std::move(f)]() mutable {
      log::RequestScope scope(*id);
      f();
    });
  }
  template <typename Property>
    requires asio::can_query<const Executor&, Property>::value
  decltype(auto) query(const Property& property) const {
    return asio::query(inner_, property);
  }
  template <typename Property>
    requires asio::can_require<const Executor&, Property>::value
  RequestExecutor require(const Property& property) const {
    return {asio::require(inner_, property), id_};
  }
  template <typename Property>
    requires asio::can_prefer<const Executor&, Property>::value
  RequestExecutor prefer(const Property& property) const {
    return {asio::prefer(inner_, property), id_};
  }
  bool operator==(const RequestExecutor&) const = default;

 private:
  Executor inner_;
  std::shared_ptr<const std::string> id_;
};

}  // namespace workflow
