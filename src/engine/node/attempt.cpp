#include "engine/node/attempt.h"

namespace workflow::engine {
namespace {

Error error_of(const std::exception_ptr& failure) {
  if (is_cancelled(failure)) return Error(ErrorKind::unavailable, "it was interrupted");
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error;
  } catch (const std::exception& error) {
    return Error(ErrorKind::internal, error.what());
  } catch (...) {
    return Error(ErrorKind::internal, "an unknown failure");
  }
}

}  // namespace

Task<std::optional<Error>> attempt(Task<> task) {
  std::exception_ptr failure;
  try {
    co_await std::move(task);
  } catch (...) {
    failure = std::current_exception();
  }
  if (!failure) co_return std::nullopt;
  const auto state = co_await asio::this_coro::cancellation_state;
  if (is_cancelled(failure) && state.cancelled() != asio::cancellation_type::none) std::rethrow_exception(failure);
  co_return error_of(failure);
}

}  // namespace workflow::engine
