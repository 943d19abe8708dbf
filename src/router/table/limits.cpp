#include "router/table/limits.h"

#include <algorithm>

namespace workflow::router::table {

RateLimits::Entry& RateLimits::entry_for(std::uint64_t key) {
  auto& entries = buckets_[key % bucket_count].entries;
  for (auto& entry : entries) {
    if (entry.key.load(std::memory_order_relaxed) == key) return entry;
  }
  auto* idlest = &entries[0];
  for (auto& entry : entries) {
    if (entry.free_at.load(std::memory_order_relaxed) < idlest->free_at.load(std::memory_order_relaxed))
      idlest = &entry;
  }
  idlest->free_at.store(0, std::memory_order_relaxed);
  idlest->key.store(key, std::memory_order_relaxed);
  return *idlest;
}

// Each request costs an interval; who is `burst` intervals ahead of time has to wait (GCRA).
std::uint64_t RateLimits::take(std::uint64_t key, Rate rate, std::uint64_t now) {
  const std::uint64_t interval = std::max<std::uint64_t>(1'000'000 / std::max(rate.per_second, 1u), 1);
  const auto ahead = interval * (std::max(rate.burst, 1u) - 1);
  auto& entry = entry_for(key);
  auto free_at = entry.free_at.load(std::memory_order_relaxed);
  for (;;) {
    const auto begin = std::max(free_at, now);
    if (begin - now > ahead) return begin - now - ahead;
    if (entry.free_at.compare_exchange_weak(free_at, begin + interval, std::memory_order_relaxed)) return 0;
  }
}

}  // namespace workflow::router::table
