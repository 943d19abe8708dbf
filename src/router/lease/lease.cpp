#include "router/lease/lease.h"

#include <exception>
#include <memory>

#include "lib/base/encoding.h"
#include "lib/base/log.h"
#include "lib/kube/objects.h"

namespace workflow::router {
namespace {

using namespace std::chrono_literals;
namespace resources = kube::resources;

constexpr auto duration = 15s, renewal = 5s, look = 1s;

}  // namespace

Lease::Lease(kube::Client& client, std::string ns, std::string name)
    : client_(client), ns_(std::move(ns)), name_(std::move(name)), self_("router-" + random_hex(16)) {}

json::object Lease::body(json::object before, const std::string& holder) const {
  if (before.empty()) before = kube::make_object(resources::leases, ns_, name_);
  const auto now = rfc3339_micros(std::chrono::system_clock::now());
  auto& spec = before["spec"].is_object() ? before["spec"].get_object() : before["spec"].emplace_object();
  if (find_string(spec, {"holderIdentity"}).value_or("") != holder) {
    spec["leaseTransitions"] = find_integer(spec, {"leaseTransitions"}).value_or(0) + 1;
    spec["acquireTime"] = now;
  }
  spec["holderIdentity"] = holder;
  spec["leaseDurationSeconds"] = std::chrono::seconds(duration).count();
  spec["renewTime"] = now;
  return before;
}

// False while it is somebody else's, or was taken just before us.
Task<bool> Lease::try_to_acquire() {
  try {
    auto lease = co_await client_.find(resources::leases, ns_, name_);
    if (!lease) {
      co_await client_.create(resources::leases, ns_, body({}, self_));
      co_return true;
    }
    const auto holder = find_string(*lease, {"spec", "holderIdentity"}).value_or("");
    const auto renewed = find_string(*lease, {"spec", "renewTime"}).value_or("");
    if (!holder.empty() && holder != self_) {
      const auto now = std::chrono::steady_clock::now();
      if (seen_.holder != holder || seen_.renewed != renewed) seen_ = {holder, renewed, now};
      if (now - seen_.since < duration) co_return false;
    }
    // The object carries its resourceVersion: of two that try, one gets it.
    co_await client_.replace(resources::leases, ns_, name_, body(std::move(*lease), self_));
    co_return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::conflict) throw;
  }
  co_return false;
}

Task<> Lease::acquire() {
  while (!co_await try_to_acquire()) co_await sleep_for(look);
}

Task<> Lease::keep() {
  auto good_until = std::chrono::steady_clock::now() + duration - renewal;
  while (std::chrono::steady_clock::now() < good_until) {
    co_await sleep_for(renewal);
    try {
      if (!co_await with_deadline(renewal, "the lease is not renewed in time", try_to_acquire())) break;
      good_until = std::chrono::steady_clock::now() + duration - renewal;
    } catch (const Error& error) {
      log::warn("the lease could not be renewed", kv("lease", name_), kv("error", error.message()));
    }
  }
}

Task<> Lease::release() {
  try {
    auto lease = co_await client_.find(resources::leases, ns_, name_);
    if (!lease || find_string(*lease, {"spec", "holderIdentity"}).value_or("") != self_) co_return;
    co_await client_.replace(resources::leases, ns_, name_, body(std::move(*lease), ""));
  } catch (const Error& error) {
    log::warn("the lease could not be given back: it ends by itself", kv("lease", name_), kv("error", error.message()));
  }
}

Task<> Lease::hold(std::function<Task<>()> work) {
  co_await acquire();
  auto stop = std::make_shared<asio::cancellation_signal>();
  auto lost = std::make_shared<bool>(false);
  TaskGroup renewing(client_.executor());
  auto watch = [](Lease* self, std::shared_ptr<asio::cancellation_signal> signal,
                  std::shared_ptr<bool> flag) -> Task<> {
    co_await self->keep();
    *flag = true;
    signal->emit(asio::cancellation_type::terminal);
  };
  renewing.spawn("renew the lease " + name_, watch(this, stop, lost));
  std::exception_ptr failure;
  auto give_back = [&]() -> Task<> {
    co_await renewing.stop();
    co_await with_deadline(renewal, "the lease is not given back in time", release());
  };
  auto guarded = [&]() -> Task<> {
    try {
      co_await cancelled_by(stop, work());
    } catch (...) {
      failure = std::current_exception();
    }
    if (failure && !*lost) std::rethrow_exception(failure);
  };
  co_await with_cleanup(guarded(), give_back);
  if (*lost) throw Error(ErrorKind::unavailable, "the lease " + name_ + " was lost");
}

}  // namespace workflow::router
